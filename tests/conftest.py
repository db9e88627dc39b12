"""A browser for the tests that need one; where there is none they are skipped, and say so."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import nbformat
import pytest
from jupyter_pages import jupyterlab
from nbformat import v4

WAIT = 240_000  # milliseconds; only a failing test takes as long
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]


@pytest.fixture(scope="module")
def chromium():
    reason = "no browser is driven: pip install playwright"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def keep():
    """Keep a picture of the page, to be looked at, if `$QGHELPERS_SCREENSHOTS` names a folder."""
    folder = os.environ.get("QGHELPERS_SCREENSHOTS")

    def kept(page, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return kept


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab with a notebook of these cells: its folder, and addresses by name."""
    with ExitStack() as stack:

        def started(*cells: str):
            folder = tmp_path / "notebooks"
            folder.mkdir()
            kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
            notebook = v4.new_notebook(cells=[*map(v4.new_code_cell, cells)], metadata=kernel)
            nbformat.write(notebook, folder / "jets.ipynb")
            return folder, stack.enter_context(jupyterlab(tmp_path, folder))

        yield started


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
