"""The explorers in a real browser: in JupyterLab, and in the page that voila serves."""

import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from jupyter_pages import run_all, voila
from PIL import Image

import qghelpers as qg
from qghelpers import pictures

TALK = Path(__file__).parents[2] / "notebooks" / "06_jet_explorer.ipynb"
EXPLORER = """
import torch
import qghelpers as qg
from small import small_vae
jets = qg.load_jets({sample!r})[:20]
model = small_vae()
model.scaling.fit(jets)
with torch.no_grad():
    for weight in model.decoder.parameters():
        weight.mul_(3)
"""


def source(page, row: str = "decoded") -> str:
    """The first picture of a row, as text."""
    return page.locator(f"img[alt='{row}, Tracks']").get_attribute("src")


def changed(page, before: str, row: str = "decoded") -> None:
    page.wait_for_function(
        "([name, before]) => document.querySelector(`img[alt='${name}, Tracks']`).src !== before",
        arg=[row, before],
    )


def test_a_slider_moved_by_keys_in_jupyterlab_shows_its_numbers(lab, page, keep, sample_file):
    code = EXPLORER.format(sample=str(sample_file))
    _, address = lab(code, "qg.explore(model, jets, sliders=1)")
    run_all(page, address("jets.ipynb"))
    handle = page.locator(".noUi-handle").first
    handle.wait_for()
    page.wait_for_selector("img[alt='decoded, Tracks']")
    before, start = source(page), page.locator(".widget-readout").first.inner_text()
    cells = page.locator(".jp-CodeCell").count()
    handle.focus()
    for key in ("d", "d", "a", "b"):  # d d would delete the cell, a and b add one
        page.keyboard.press(key)
    page.wait_for_timeout(500)
    assert page.locator(".jp-CodeCell").count() == cells
    page.keyboard.press("ArrowRight")
    changed(page, before)
    readout = page.locator(".widget-readout").first
    moved = float(readout.inner_text())
    assert moved == pytest.approx(float(start) + 0.1, abs=0.051)
    before = source(page)
    page.keyboard.press("End")
    changed(page, before)
    assert readout.inner_text() == "+3.0"
    keep(page, "explorer-jupyterlab")

    names: dict = {}
    exec(code, names)  # the same network, here
    explorer = qg.explore(names["model"], names["jets"], sliders=1)
    explorer.rows[0][1].value = 3.0
    png = b64decode(source(page).partition(",")[2])
    shown = np.asarray(Image.open(BytesIO(png)).convert("RGB"))
    levels = explorer.panels.scales[0].levels(explorer.energies[0, 28:97, 28:97])
    same = (shown == pictures.ENERGY[levels.T[::-1]]).all(axis=-1)
    assert same.mean() > 0.99  # the last digit depends on the number of threads
    told = page.inner_text("p[role=status]")
    images = explorer.energies[None] / 100
    mass = qg.observables.observables(names["torch"].from_numpy(images))["mass"][0]
    assert float(re.search(r"mass \[GeV\] (\S+)", told)[1]) == pytest.approx(mass, rel=0.01)


def test_the_page_for_a_talk_starts_and_moves(page, keep, sample_file, tmp_path):
    pytest.importorskip("voila", reason="no page is served: pip install voila")
    said = []
    page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    page.route("**/*fontawesome*/**", lambda route: route.fulfill(content_type="text/css", body=""))
    with voila(tmp_path, TALK) as address:
        page.goto(address, wait_until="commit")
        page.get_by_text("just kept:").wait_for()  # in the last explorer
        assert page.locator(".jp-InputArea-editor").count() == 0  # no code
        page.wait_for_selector(".qg-live[data-jet]")
        page.focus(".qg-live input[type=range]")
        page.keyboard.press("ArrowRight")
        assert page.get_attribute(".qg-live >> nth=0", "data-jet") == "1"
        before = source(page, "original")
        page.locator(".noUi-handle").nth(4).focus()  # below the four of the latent explorer
        page.keyboard.press("End")
        changed(page, before, "original")
        keep(page, "voila")
        assert said == []
