"""The browsing widget in a real browser: what is seen, and what keys and mouse do.

A page is opened from a file and without a network, as somebody does who was sent it.
"""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import qghelpers as qg
from qghelpers import pictures, widgets

WAIT = 120_000  # milliseconds; only a failing test takes as long


@pytest.fixture(scope="module")
def some(jets):
    return jets[:40]


@pytest.fixture
def visit(chromium, tmp_path):
    """Open a browser's page, offline; the console has to stay empty."""
    contexts, said = [], []

    def opened(browser, width=1280, height=800, ratio=1, scripts=True):
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><meta charset='utf-8'><title>jets</title>{browser.html}")
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=ratio,
            java_script_enabled=scripts,
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        if scripts:
            page.wait_for_selector(".qg-live[data-jet]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def jet_shown(page) -> int:
    return int(page.get_attribute(".qg-live", "data-jet"))


def readout(page) -> str:
    return page.inner_text(".qg-readout")


def seen(page, panel: int) -> np.ndarray:
    """The colours on a canvas, uint8 with shape `(side, side, 3)`, first row on top."""
    script = "(all, i) => all[i].toDataURL('image/png')"
    url = page.eval_on_selector_all("canvas", script, panel)
    content = base64.b64decode(url.partition(",")[2])
    picture = np.asarray(Image.open(io.BytesIO(content)))
    return np.where(picture[..., 3:] == 0, 255, picture[..., :3])


def levels_seen(page, panel: int, palette=pictures.ENERGY) -> np.ndarray:
    """The level that each colour stands for, with shape `(eta, phi)`."""
    colours = seen(page, panel).astype(int)
    distance = abs(colours[:, :, None] - palette[None, None].astype(int)).sum(axis=-1)
    assert (distance.min(axis=-1) == 0).all()  # no colour that is not in the palette
    return distance.argmin(axis=-1)[::-1].T


def data_of(browser) -> dict:
    return json.loads(re.search(r"json\">(.*?)</script>", browser.html, re.S)[1])


def expected_levels(browser, jets, jet: int, channel: int, half: int) -> np.ndarray:
    scale = data_of(browser)["channels"][channel]
    centre = slice(62 - half, 63 + half)
    energies = 100 * jets.images([jet])[0, channel, centre, centre].numpy()
    return pictures.Scale(scale["floor"], scale["top"]).levels(energies)


def test_the_pictures_are_those_of_the_jet_that_is_named(visit, some):
    browser = qg.browse(some)
    page = visit(browser)
    for jet in (0, 7):
        page.fill("input[type=number]", str(jet))
        page.keyboard.press("Enter")
        for channel in range(3):
            shown = levels_seen(page, channel).astype(int)
            levels = expected_levels(browser, some, jet, channel, half=34).astype(int)
            np.testing.assert_array_equal(shown > 0, levels > 0)
            assert abs(shown - levels).max() <= 1  # both are rounded
        kind = {0: "gluon", 1: "quark"}[some.labels[jet]]
        lit = some.pixel_counts()[jet] // [1, 1, 25]
        assert readout(page) == (
            f"jet {jet} · {kind} · pT {some.pt[jet]:.4g} GeV · mass {some.mass[jet]:.4g} GeV"
            f" · lit {lit[0]} / {lit[1]} / {lit[2]} ({jet + 1} of 40)"
        )
        assert page.get_attribute("input[type=range]", "aria-valuetext") == readout(page)


def test_keys_move_it_also_after_a_click(visit, some):
    page = visit(qg.browse(some))
    page.locator("canvas").first.click()
    steps = (("ArrowRight", 1), ("PageUp", 11), ("PageDown", 1), ("ArrowLeft", 0), ("End", 39))
    for key, jet in (*steps, ("ArrowRight", 39), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert jet_shown(page) == jet
    box = page.locator("input[type=range]").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    middle = jet_shown(page)
    assert 18 <= middle <= 21
    page.keyboard.press("ArrowRight")
    assert jet_shown(page) == middle + 1
    page.locator("canvas").first.click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    assert jet_shown(page) == middle + 2


def test_the_notebook_around_it_gets_no_key_and_no_click(visit, some):
    page = visit(qg.browse(some))
    page.evaluate(
        "['keydown', 'keypress', 'keyup', 'mousedown', 'focusin'].forEach(kind =>"
        "document.body.addEventListener(kind, () => { document.title += ' ' + kind; }))"
    )
    page.click("input[type=range]")
    page.keyboard.press("d")
    page.keyboard.press("ArrowRight")
    page.click("button >> nth=0")
    assert page.title() == "jets"
    assert page.locator(".qg-browser[data-lm-suppress-shortcuts=true]").count() == 1


def test_the_picture_follows_the_drag_and_ends_where_it_ends(visit, some):
    page = visit(qg.browse(some))
    box = page.locator("input[type=range]").bounding_box()
    y, followed = box["y"] + box["height"] / 2, []
    page.mouse.move(box["x"] + 8, y)
    page.mouse.down()
    for share in np.linspace(0, 1, 21):
        page.mouse.move(box["x"] + 8 + share * (box["width"] - 16), y)
        followed.append(jet_shown(page))
    page.mouse.up()
    assert followed == sorted(followed)
    assert len(set(followed)) >= 19
    assert jet_shown(page) == followed[-1] == 39
    assert int(page.input_value("input[type=number]")) == 39


def test_buttons_step_and_play(visit, some):
    page = visit(qg.browse(some, 3))
    page.get_by_role("button", name="next jet").click()
    assert jet_shown(page) == 1
    page.get_by_role("button", name="previous jet").click()
    assert jet_shown(page) == 0
    play = page.get_by_role("button", name="play")
    play.click()
    for jet in (1, 2, 0):
        page.wait_for_selector(f".qg-live[data-jet='{jet}']")
    page.get_by_role("button", name="pause").click()
    stopped = jet_shown(page)
    assert play.inner_text() == "play"
    page.wait_for_timeout(900)
    assert jet_shown(page) == stopped


def test_a_number_that_is_not_there_is_a_short_message(visit, some):
    page = visit(qg.browse(some))
    box, message = page.locator("input[type=number]"), page.locator(".qg-message")
    for wrong in ("40", "-1", "1.5", ""):
        box.fill(wrong)
        box.press("Enter")
        assert message.inner_text() == f"there is no jet {wrong}: 0 to 39"
        assert jet_shown(page) == 0
        assert box.input_value() == "0"
    box.fill("39")
    box.press("Enter")
    assert (jet_shown(page), message.inner_text()) == (39, "")
    gluon = int(np.flatnonzero(some.labels == 0)[0])
    page.get_by_label("which jets").select_option("quark")
    box.fill(str(gluon))
    box.press("Enter")
    assert message.inner_text() == f"jet {gluon} is not among these: choose all jets"


def test_jets_can_be_chosen_by_label_and_ordered(visit, some):
    score = np.where(np.arange(40) == 5, np.nan, -np.arange(40.0))
    page = visit(qg.browse(some, columns={"score": score}))
    page.get_by_label("which jets").select_option("quark")
    quarks = np.flatnonzero(some.labels == 1)
    assert jet_shown(page) == quarks[0]
    assert readout(page).endswith(f"(1 of {len(quarks)})")
    page.get_by_label("order").select_option("pT: largest first")
    assert jet_shown(page) == quarks[some.pt[quarks].argmax()]
    page.focus("input[type=range]")
    page.keyboard.press("End")
    assert jet_shown(page) == quarks[some.pt[quarks].argmin()]
    page.get_by_label("which jets").select_option("all jets")
    page.get_by_label("order").select_option("score: smallest first")
    assert jet_shown(page) == 39
    page.focus("input[type=range]")
    page.keyboard.press("End")
    assert jet_shown(page) == 5  # without a score: last
    assert "score" not in readout(page)


def test_the_whole_image_and_a_scale_of_its_own(visit, some):
    browser = qg.browse(some)
    page = visit(browser)
    page.get_by_label("part of the image").select_option("whole image")
    whole = levels_seen(page, 1)
    assert whole.shape == (125, 125)
    expected = expected_levels(browser, some, 0, 1, half=62)
    np.testing.assert_array_equal(whole > 0, expected > 0)
    faint = int(some.images()[:, 2].amax(dim=(1, 2)).argmin())
    page.fill("input[type=number]", str(faint))
    page.keyboard.press("Enter")
    assert levels_seen(page, 2).max() < 250
    page.get_by_label("colour scale").select_option("own scale per jet")
    assert levels_seen(page, 2).max() == 255
    top = 100 * float(some.images([faint])[0, 2].max())
    shown = page.locator(".qg-head").nth(2).inner_text().split()[-2]
    assert float(shown) == pytest.approx(top, rel=0.06)


def test_the_energy_under_the_mouse_is_told(visit, some):
    page = visit(qg.browse(some))
    image = 100 * some.images([0])[0, 1].numpy()
    eta, phi = np.unravel_index(image.argmax(), image.shape)
    assert 28 <= min(eta, phi) <= max(eta, phi) <= 96
    box = page.locator("canvas").nth(1).bounding_box()
    edge = box["width"] / 69
    x, y = box["x"] + (eta - 28 + 0.5) * edge, box["y"] + (96 - phi + 0.5) * edge
    page.mouse.move(x, y)
    hover = page.locator(".qg-hover")
    said = re.fullmatch(r"ECAL, Δη (.*), Δφ (.*): (.*) GeV", hover.inner_text())
    assert float(said[1]) == pytest.approx((eta - 62) * 0.0174, abs=0.006)
    assert float(said[2]) == pytest.approx((phi - 62) * 0.0174, abs=0.006)
    assert float(said[3]) == pytest.approx(image.max(), rel=0.07)
    page.mouse.click(x, y)  # keeps the pixel while other jets are looked at
    page.keyboard.press("ArrowRight")
    page.mouse.move(0, 0)
    other = 100 * float(some.images([1])[0, 1, eta, phi])
    told = hover.inner_text().rpartition(": ")[2]
    assert told == "no energy" if other == 0 else float(told.split()[0]) > 0


def test_rows_are_compared_on_one_scale_with_the_sign_of_their_difference(visit, some):
    images = some.images()
    browser = qg.browse({"original": some, "half": images / 2}, difference=True)
    page = visit(browser)
    assert page.locator("canvas").count() == 9
    full, half = levels_seen(page, 1), levels_seen(page, 4)
    lit = half > 0
    assert (full[lit] >= half[lit]).all()
    signed = levels_seen(page, 7, pictures.DIFFERENCE)
    assert (signed[lit] >= 129).all()
    assert "too little" in page.locator(".qg-side").nth(2).inner_text()
    page.get_by_label("channels").select_option("ECAL")
    assert page.locator("canvas").count() == 3
    heads = [head.split("\n")[0] for head in page.locator(".qg-head").all_inner_texts()]
    assert heads == ["original", "half", "difference"]
    np.testing.assert_array_equal(levels_seen(page, 0), full)


SCREENS = [(1280, 800, 1), (1920, 1080, 1), (1280, 800, 2), (850, 700, 1), (640, 700, 1.25)]


@pytest.mark.parametrize(("width", "height", "ratio"), SCREENS)
@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_clipped_blurred_or_jumps(visit, keep, some, width, height, ratio, several):
    shown = {"original": some, "half": some.images() / 2} if several else some
    page = visit(qg.browse(shown, difference=several), width, height, ratio)
    keep(page, f"{'rows' if several else 'jets'}-{width}-{ratio}")
    root = page.locator(".qg-browser")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    boxes = [canvas.bounding_box() for canvas in page.locator("canvas").all()]
    side = page.evaluate("document.querySelector('canvas').width")
    for box in boxes:
        factor = box["width"] * ratio / side
        assert factor == pytest.approx(round(factor), abs=0.01)  # whole screen pixels
        assert box["width"] == box["height"]
    if width > 1000:
        assert root.bounding_box()["height"] + 116 <= height  # below a notebook's bars
        assert boxes[0]["width"] >= 180
    clipped = "(all) => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.className)"
    assert page.eval_on_selector_all(".qg-head, .qg-phi, .qg-eta, .qg-side, select", clipped) == []
    before = root.bounding_box()
    page.focus("input[type=range]")
    for _ in range(5):
        page.keyboard.press("PageUp")
        page.mouse.move(boxes[0]["x"] + 20, boxes[0]["y"] + 20)
        assert page.inner_text(".qg-hover").startswith("Tracks")
        assert root.bounding_box() == before
        assert [canvas.bounding_box() for canvas in page.locator("canvas").all()] == boxes
        page.mouse.move(0, 0)


def test_everything_has_a_name(visit, some):
    page = visit(qg.browse({"original": some, "half": some.images() / 2}, difference=True))
    unnamed = (
        "(all) => all.filter(e => !e.getAttribute('aria-label') && !e.alt).map(e => e.outerHTML)"
    )
    assert page.eval_on_selector_all("button, input, select, canvas, img", unnamed) == []
    labels = page.eval_on_selector_all("canvas", "all => all.map(e => e.ariaLabel)")
    assert labels[3].startswith("half, Tracks of jet 0 · ")
    assert page.get_attribute(".qg-readout", "role") == "status"


def test_its_controls_can_be_read_in_a_dark_page(visit, some):
    browser = qg.browse(some)
    page = visit(widgets.Browser("<style>:root { color-scheme: dark }</style>" + browser.html, ""))
    for control in ("button", "select", "input[type=number]"):
        background = page.eval_on_selector(control, "e => getComputedStyle(e).backgroundColor")
        assert min(map(int, re.findall(r"\d+", background)[:3])) > 200


def test_without_scripts_there_is_a_picture_with_words(visit, keep, some):
    browser = qg.browse(some)
    page = visit(browser, scripts=False)
    image = page.get_by_role("img")
    assert image.count() == 1
    assert image.is_visible()
    assert image.get_attribute("alt") == browser.alt
    keep(page, "without-scripts")


def test_with_scripts_the_static_picture_is_gone(visit, some):
    assert not visit(qg.browse(some)).locator("img").is_visible()


def test_two_in_one_page_are_apart(visit, some):
    first, second = qg.browse(some, 5), qg.browse(some, 9)
    page = visit(widgets.Browser(first.html + second.html, ""))
    page.wait_for_function("document.querySelectorAll('.qg-live[data-jet]').length === 2")
    page.locator("input[type=range]").nth(1).focus()
    page.keyboard.press("End")
    live = page.locator(".qg-live")
    assert [live.nth(i).get_attribute("data-jet") for i in (0, 1)] == ["0", "8"]


def test_it_works_in_a_notebook_that_was_exported(chromium, some, tmp_path):
    """By `jupyter nbconvert --to html`, opened without a network."""
    from nbconvert import HTMLExporter
    from nbformat import v4

    browser = qg.browse(some)
    data, metadata = browser._repr_mimebundle_()
    output = v4.new_output("execute_result", data, metadata=metadata, execution_count=1)
    cell = v4.new_code_cell("qg.browse(jets)", outputs=[output], execution_count=1)
    content, _ = HTMLExporter().from_notebook_node(v4.new_notebook(cells=[cell]))
    path = tmp_path / "exported.html"
    path.write_text(content)
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector(".qg-live[data-jet]", timeout=WAIT)
    page.focus("input[type=range]")
    page.keyboard.press("End")
    assert jet_shown(page) == 39
    shown, levels = levels_seen(page, 1), expected_levels(browser, some, 39, 1, half=34)
    np.testing.assert_array_equal(shown > 0, levels > 0)
    context.close()


def test_a_wider_cell_gets_larger_pictures(visit, some):
    page = visit(qg.browse(some), width=700)
    before = page.locator("canvas").first.bounding_box()["width"]
    page.set_viewport_size({"width": 1280, "height": 800})
    page.wait_for_function(
        "before => document.querySelector('canvas').clientWidth > before", arg=before
    )
    assert page.locator("canvas").first.bounding_box()["width"] == 5 * 69


def test_another_output_leaves_it_where_it_is(visit, some):
    """The script of the next output runs in the same page."""
    page = visit(qg.browse(some))
    page.focus("input[type=range]")
    page.keyboard.press("End")
    page.evaluate(
        "() => { const again = document.createElement('script');"
        "again.textContent = [...document.scripts].at(-1).textContent;"
        "document.body.append(again); }"
    )
    page.wait_for_timeout(500)
    assert jet_shown(page) == 39


def test_the_scale_says_whether_there_is_more_above_it(visit, some):
    for count, more in ((40, True), (1, False)):
        heads = visit(qg.browse(some, count)).locator(".qg-head").all_inner_texts()
        assert [head.split()[-2].endswith("+") for head in heads] == [more] * 3


def test_a_shorter_text_moves_nothing(visit, some):
    length = np.where(np.arange(40) == 0, 1.0, np.nan)
    name = "a quantity with a long name that only the first jet has"
    page = visit(qg.browse(some, columns={name: length}), width=640)
    first = page.locator("canvas").first.bounding_box()
    assert name in readout(page)
    page.get_by_role("button", name="next jet").click()
    assert name not in readout(page)
    assert page.locator("canvas").first.bounding_box() == first
