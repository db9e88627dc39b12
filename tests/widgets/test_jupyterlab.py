"""The widgets in JupyterLab, on this computer alone: run, moved, saved, opened again."""

import nbformat
import numpy as np
from jupyter_pages import run_all

CURVE = """
rows, curve = [], qg.LossCurve()
for epoch in (1, 2):
    rows.append({"epoch": epoch, "train_loss": 4 / epoch, "validation_loss": 5 / epoch})
    curve(rows)
"""
RUNNING = "[...document.querySelectorAll('.jp-InputPrompt')].some(e => e.innerText.includes('*'))"


def shown(page) -> int:
    return int(page.get_attribute(".qg-live", "data-jet"))


def test_it_is_moved_saved_and_opened_again(lab, page, keep, sample_file):
    folder, address = lab(
        f"import qghelpers as qg\njets = qg.load_jets({str(sample_file)!r})",
        "qg.browse(jets, 20)",
        CURVE,
    )
    run_all(page, address("jets.ipynb"))
    page.wait_for_selector(".qg-live[data-jet]")
    page.wait_for_selector(".jp-Cell:nth-of-type(3) .jp-RenderedImage img")
    page.wait_for_function(f"!({RUNNING})")
    page.locator(".qg-live").scroll_into_view_if_needed()
    keep(page, "jupyterlab")

    slider = page.locator(".qg-live input[type=range]")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    middle = shown(page)
    assert 8 <= middle <= 11
    for key in ("d", "d", "a", "ArrowRight", "ArrowRight"):  # d d would delete the cell
        page.keyboard.press(key)
    assert shown(page) == middle + 2
    assert page.locator(".jp-Notebook .jp-Cell").count() == 3
    assert page.evaluate("document.activeElement.type") == "range"
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in np.linspace(0, 1, 9):
        page.mouse.move(box["x"] + 8 + share * (box["width"] - 16), box["y"] + 5)
    page.mouse.up()
    assert shown(page) == 19

    page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    while not any(cell.outputs for cell in nbformat.read(folder / "jets.ipynb", 4).cells):
        page.wait_for_timeout(200)
    saved = nbformat.read(folder / "jets.ipynb", 4)
    (browser,), (curve,) = saved.cells[1].outputs, saved.cells[2].outputs
    assert set(browser.data) == {"text/html", "image/png", "text/plain"}
    assert browser.metadata["image/png"]["alt"].startswith("Energy in Tracks, ECAL, HCAL")
    assert set(curve.data) == {"image/png", "text/plain"}
    assert "2 epochs" in curve.metadata["image/png"]["alt"]

    page.goto(address("jets.ipynb"))  # nothing has been run in this page
    page.wait_for_selector(".qg-live[data-jet]")
    page.locator(".qg-live input[type=range]").focus()
    page.keyboard.press("End")
    assert shown(page) == 19
    assert "jet 19" in page.inner_text(".qg-readout")

    saved.metadata["from"] = "somebody else"  # so it is not trusted: its scripts do not run
    nbformat.write(saved, folder / "theirs.ipynb")
    page.goto(address("theirs.ipynb"))
    picture = page.locator(".jp-Cell:nth-of-type(2) .jp-OutputArea img")
    picture.wait_for()
    assert page.evaluate("document.querySelectorAll('.qg-live').length") == 0
    assert picture.evaluate("image => image.naturalWidth") > 1000
    keep(page, "jupyterlab-not-trusted")
