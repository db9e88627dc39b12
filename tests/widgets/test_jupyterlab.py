"""The widgets in JupyterLab, on this computer alone: run, moved, saved, opened again."""

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import v4

WAIT = 240_000  # milliseconds; only a failing test takes as long
CURVE = """
rows, curve = [], qg.LossCurve()
for epoch in (1, 2):
    rows.append({"epoch": epoch, "train_loss": 4 / epoch, "validation_loss": 5 / epoch})
    curve(rows)
"""
RUNNING = "[...document.querySelectorAll('.jp-InputPrompt')].some(e => e.innerText.includes('*'))"


@pytest.fixture
def lab(tmp_path, sample_file):
    """A server and its address; the notebook in it has a browser and a loss curve."""
    cells = [
        v4.new_code_cell(f"import qghelpers as qg\njets = qg.load_jets({str(sample_file)!r})"),
        v4.new_code_cell("qg.browse(jets, 20)"),
        v4.new_code_cell(CURVE),
    ]
    folder = tmp_path / "notebooks"
    folder.mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), folder / "jets.ipynb")
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")
    own += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    package = str(Path(__file__).parents[2])
    environment = os.environ | {name: str(tmp_path / name.lower()) for name in own}
    environment["PYTHONPATH"] = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
    token = secrets.token_hex()
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--port-retries=0"]
    options += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"]
    options += ["--expose-app-in-browser", "--LabApp.check_for_updates_class"]
    options[-1] += "=jupyterlab.NeverCheckForUpdate"
    options += ["--LabApp.extension_manager=readonly"]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        runtime = tmp_path / "jupyter_runtime_dir"
        while not (found := list(runtime.glob("jpserver-*.json"))):
            assert server.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        time.sleep(0.5)
        port = json.loads(found[0].read_text())["port"]
        yield folder, lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?reset&token={token}"
    finally:
        server.terminate()
        server.wait(timeout=60)


@pytest.fixture
def page(chromium):
    """A page that reaches this computer alone, in which no script may fail."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    here = "http://127.0.0.1:"
    context.route(
        "**/*",
        lambda route: route.continue_() if route.request.url.startswith(here) else route.abort(),
    )
    page, failures = context.new_page(), []
    page.set_default_timeout(WAIT)
    page.on("pageerror", lambda error: failures.append(str(error)))
    yield page
    context.close()
    assert failures == []


def execute(page, command: str) -> None:
    page.evaluate("command => jupyterapp.commands.execute(command)", command)


def shown(page) -> int:
    return int(page.get_attribute(".qg-live", "data-jet"))


def test_it_is_moved_saved_and_opened_again(lab, page, keep):
    folder, address = lab
    page.goto(address("jets.ipynb"))
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("jupyterapp.shell.currentWidget.sessionContext.session?.kernel")
    execute(page, "notebook:run-all-cells")
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

    execute(page, "docmanager:save")
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
