"""What goes into the output: the level of every pixel, what is told of jets, a static picture."""

import base64
import html
import json
import re
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

import qghelpers as qg
from qghelpers import pictures, widgets


def data_of(browser) -> dict:
    return json.loads(re.search(r"json\">(.*?)</script>", browser.html, re.S)[1])


def levels_of(data) -> np.ndarray:
    content = zlib.decompress(base64.b64decode(data["levels"]))
    return np.frombuffer(content, np.uint8).reshape(-1, len(data["rows"]), 3, 125, 125)


@pytest.fixture(scope="module")
def some(jets):
    return jets[:30]


def test_every_pixel_has_the_level_of_its_energy(some):
    data = data_of(qg.browse(some))
    energies, levels = 100 * some.images().numpy(), levels_of(data)
    assert levels.shape == (30, 1, 3, 125, 125)
    for c, channel in enumerate(data["channels"]):
        scale = pictures.Scale(channel["floor"], channel["most"])
        np.testing.assert_array_equal(levels[:, 0, c] > 0, energies[:, c] > 0)
        lit = energies[:, c] > 0
        step = (scale.top / scale.floor) ** (1 / 254)
        np.testing.assert_allclose(
            scale.energies(levels[:, 0, c])[lit], energies[:, c][lit], rtol=step**0.51 - 1
        )
        brightest = energies[:, c].max(axis=(1, 2))
        assert channel["top"] == pytest.approx(np.quantile(brightest[brightest > 0], 0.9))
    assert [channel["name"] for channel in data["channels"]] == list(some.channels)


def test_it_tells_what_is_known_of_each_jet(some):
    score = np.arange(30.0)
    score[3] = np.nan
    data = data_of(qg.browse(some, columns={"score": score, "length [mm]": score + 1}))
    pt, mass, told, length = data["columns"]
    assert (pt["name"], pt["unit"], mass["name"]) == ("pT", "GeV", "mass")
    np.testing.assert_allclose(pt["values"], some.pt, rtol=1e-3)
    np.testing.assert_allclose(mass["values"], some.mass, rtol=1e-3)
    assert (told["name"], told["unit"]) == ("score", "")
    assert told["values"][2:5] == [2, None, 4]
    assert (length["name"], length["unit"], length["values"][0]) == ("length", "mm", 1)
    assert [data["kinds"][kind] for kind in data["kind"]] == [
        {0: "gluon", 1: "quark"}[label] for label in some.labels
    ]
    counts = some.pixel_counts() // [1, 1, 25]
    np.testing.assert_array_equal(np.array(data["lit"])[:, 0], counts)


def test_jets_of_another_process_are_called_by_it(some):
    other = some[:2]
    other.labels, other.process = np.array([-1, 1]), np.array(["w", "qcd"])
    data = data_of(qg.browse(other))
    assert [data["kinds"][kind] for kind in data["kind"]] == ["w", "quark"]


def test_rows_have_one_scale_and_a_difference_with_its_sign(some):
    images = some.images()
    half = images / 2
    half[:, 0, 60] = 0  # fewer lit pixels
    browser = qg.browse({"original": some, "half": half}, difference=True)
    data = data_of(browser)
    levels = levels_of(data)
    assert data["rows"] == [
        {"title": "original", "signed": False},
        {"title": "half", "signed": False},
        {"title": "difference", "signed": True},
    ]
    c = data["channels"][1]
    scale = pictures.Scale(c["floor"], c["most"])
    for row, part in enumerate((images, half)):
        np.testing.assert_array_equal(levels[:, row, 1], scale.levels(100 * part[:, 1].numpy()))
    assert set(np.unique(levels[:, 2])) - {0} <= set(range(129, 256))  # too little everywhere
    original, fewer = np.array(data["lit"]).swapaxes(0, 1)
    assert fewer[:, 0].sum() < original[:, 0].sum()
    np.testing.assert_array_equal(original, some.pixel_counts() // [1, 1, 25])
    assert len(data["kinds"]) == 2  # the jets are found among the rows


def test_the_difference_is_the_last_row_minus_the_first_also_of_three(some):
    images = some[:4].images()
    rows = {"original": images, "double": 2 * images, "same": images.clone()}
    levels = levels_of(data_of(qg.browse(rows, difference=True)))
    assert not levels[:, 3].any()
    rows["same"] = 3 * images
    levels = levels_of(data_of(qg.browse(rows, difference=True)))
    assert set(np.unique(levels[:, 3])) - {0} <= set(range(1, 128))  # too much


def test_only_the_first_ones_are_in_the_page(some):
    browser = qg.browse(some, 7, "event", columns={"score": np.arange(30)})
    data = data_of(browser)
    assert len(levels_of(data)) == len(data["kind"]) == len(data["columns"][2]["values"]) == 7
    assert repr(browser) == "browser of 7 events"
    assert data["name"] == "event"


@pytest.mark.parametrize(
    ("half_width", "half"),
    [(0.6, 34), (1.08, 62), (9, 62), (0.001, 1), (10.4 * 0.0174, 10), (10.6 * 0.0174, 10)],
)
def test_the_centre_is_as_wide_as_asked(some, half_width, half):
    assert data_of(qg.browse(some, 2, half_width=half_width))["half"] == half


def test_pages_are_small(jets):
    """Of 50 jets 163 kB and of 200 612 kB, if each pixel takes four letters."""
    assert len(qg.browse(jets, 50).html) < 163_000
    assert len(qg.browse(jets, 200).html) < 612_000


def test_a_static_picture_with_words_goes_along(some):
    browser = qg.browse(some)
    data, metadata = browser._repr_mimebundle_()
    assert set(data) == {"text/html", "image/png", "text/plain"}
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(data["image/png"]))).convert("RGB"))
    alt = metadata["image/png"]["alt"]
    assert f"jet 0 {'gluon' if some.labels[0] == 0 else 'quark'}, pT {some.pt[0]:.4g} GeV" in alt
    assert f'alt="{html.escape(alt)}"' in browser.html
    assert data["image/png"] in browser.html
    assert picture.shape == (34 + 3 * (2 * 69 + 6), 50 + 8 * 2 * 69 + 6, 3)
    # the last cell of the strip at the bottom: HCAL of jet 7, two pixels wide each
    cell = picture[-34 - 138 : -34, 50 + 7 * 138 : 50 + 8 * 138][1:-1, 3:-3]
    levels = levels_of(data_of(browser))[7, 0, 2, 28:97, 28:97]
    lit = (levels.T[::-1] > 0).repeat(2, 0).repeat(2, 1)[1:-1, 3:-3]
    np.testing.assert_array_equal((cell.min(axis=2) < 200), lit)


def test_the_static_picture_of_a_walk_shows_both_ends(some):
    walk = np.linspace(0, 1, 22)
    _, metadata = qg.browse(
        some[:22].images(), name="step", columns={"share": walk}
    )._repr_mimebundle_()
    shown = [int(number) for number in re.findall(r"step (\d+)", metadata["image/png"]["alt"])]
    assert shown == [0, 3, 6, 9, 12, 15, 18, 21]


def test_the_static_picture_of_several_rows_shows_each_of_them(some):
    browser = qg.browse({"original": some, "blank": 0 * some.images()}, difference=True)
    picture = np.asarray(Image.open(BytesIO(browser.picture)).convert("RGB"))
    assert picture.shape == (34 + 3 * (2 * 63 + 6), 50 + 6 * 2 * 63 + 6, 3)
    strips = [picture[6 + i * 132 : 132 + i * 132, 50:-6] for i in range(3)]
    inside = [strip[2:-2, 130:240] for strip in strips]  # ECAL of the first jet
    assert (inside[1] == 255).all()
    np.testing.assert_array_equal((inside[0] != 255).any(axis=2), (inside[2] != 255).any(axis=2))
    blue = inside[2].astype(int)[(inside[2] != 255).any(axis=2)]
    assert (blue[:, 2] > blue[:, 1]).all()  # too little is violet


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda jets: qg.browse(jets[:0]), "no jets to show: the selection is empty"),
        (lambda jets: qg.browse(jets, 0), "no jets to show"),
        (lambda jets: qg.browse({}), "no jets to show"),
        (lambda jets: qg.browse(print, 0), "no jets to show"),
        (lambda jets: qg.browse("jets.hdf5"), "a str cannot be shown: give jets, or images"),
        (lambda jets: qg.browse(jets, columns={"s": ["a"] * 30}), 'column "s" is no list of numb'),
        (lambda jets: qg.browse(jets, columns={"s": np.ones((30, 1))}), '"s" is no list of numb'),
        (lambda jets: qg.browse(jets, columns={"s": 3}), 'column "s" is no list of numbers'),
        (lambda jets: qg.browse(jets.images() / 0), 'images in "" have entries that are no numb'),
        (lambda jets: qg.browse(jets, difference=True), "a difference needs two rows"),
        (lambda jets: qg.browse({"a": jets, "b<": jets[:3]}), "not as many of each (a 30, b< 3)"),
        (lambda jets: qg.browse(jets, columns={"s": np.ones(2)}), "(images 30, s 2)"),
        (lambda jets: qg.browse({"a": torch.zeros(2, 1, 9, 9)}), 'shape (1, 9, 9) in "a"'),
    ],
)
def test_what_cannot_be_shown_is_a_line_and_no_traceback(some, ask, line):
    data, metadata = ask(some)._repr_mimebundle_()
    assert line in data["text/plain"]
    assert "\n" not in data["text/plain"]
    assert html.escape(line) in data["text/html"]
    assert 'role="alert"' in data["text/html"]
    assert "image/png" not in {*data, *metadata}


def test_images_can_be_browsed_without_jets(some):
    images = some.images()
    for shown in (images, images.numpy()):
        data = data_of(qg.browse(shown, columns={"step": np.arange(30)}))
        np.testing.assert_array_equal(levels_of(data), levels_of(data_of(qg.browse(some))))
        assert [column["name"] for column in data["columns"]] == ["step"]
        assert data["kinds"] == []


def test_titles_cannot_break_out_of_the_page(some):
    title = '</script><b>"&'
    browser = qg.browse({title: some}, 2, '<i>"')
    assert browser.html.count("</script>") == 2
    assert "<i>" not in browser.html.replace(json.dumps('<i>"'), "")
    assert data_of(browser)["rows"][0]["title"] == title


def test_the_same_jets_make_the_same_output(some):
    assert qg.browse(some, 5).html == qg.browse(some, 5).html


def test_the_kernel_draws_what_a_function_draws():
    from qghelpers import plots

    shown = widgets.browse(lambda i: plots.bars(np.arange(i + 1), "x", "y"), 5, "event")
    assert shown.children[0].max == 4
