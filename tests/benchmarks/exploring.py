"""From a key to the picture in the explorers, which the kernel computes: medians of 40 keys.

The page is served by voila and opened in Chromium or Chrome. Each time is from the event to the
frame after the new picture, as the page itself measures it. As many jets are open as in the public
file, which are 2,000 again and again.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import v4
from playwright.sync_api import sync_playwright

import qghelpers as qg

sys.path.insert(0, str(Path(__file__).parents[1]))
from jupyter_pages import voila

KEYS = 40
JETS = 139_306
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
CELL = """
import numpy as np
import qghelpers as qg
jets = qg.load_jets(limit=2000)
model = qg.load_pretrained("vae")
jets = jets[np.arange({jets}) % len(jets)]
half, scores = len(jets) // 2, np.random.default_rng(0).random(len(jets))
first, second = (jets[:half], scores[:half]), (jets[half:], scores[half:])
"""
EXPLORERS = {
    "explore": "qg.explore(model, jets)",
    "explore_reconstructions": "qg.explore_reconstructions(model, jets)",
    "explore_threshold": "qg.explore_threshold(*first, *second)",
}
MEASURE = """() => {
  window.taken = [];
  document.addEventListener('keydown', (event) => {
    const picture = document.querySelector('p[role=status]').closest('.widget-html-content');
    new MutationObserver((_, watch) => {
      watch.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(
        () => window.taken.push(performance.now() - event.timeStamp)));
    }).observe(picture, { childList: true });
  }, true);
}"""


def main() -> None:
    """Measure one slider of each explorer."""
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        raise qg.DataError("there is no chromium and no google-chrome: install one of them")
    print(f"{'':28}{'jets':>8}{'key, median [ms]':>20}{'longest [ms]':>16}")
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        chromium = started.chromium.launch(executable_path=path, args=FLAGS)
        for name, cell in EXPLORERS.items():
            cells = [v4.new_code_cell(CELL.format(jets=JETS)), v4.new_code_cell(cell)]
            kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
            notebook = Path(folder) / f"{name}.ipynb"
            nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), notebook)
            with voila(Path(folder), notebook) as address:
                taken = measured(chromium.new_page(), address)
            print(f"{name:28}{JETS:>8}{statistics.median(taken):>20.1f}{max(taken):>16.1f}")
        chromium.close()


def measured(page, address: str) -> list[float]:
    """Milliseconds of each key, one after the other."""
    page.set_default_timeout(30_000)
    page.route("**/*fontawesome*/**", lambda route: route.abort())
    page.goto(address, wait_until="commit")
    page.wait_for_selector("p[role=status]")
    page.wait_for_timeout(2000)
    page.focus(".noUi-handle")
    page.keyboard.press("End")  # if it is not there already
    page.wait_for_timeout(2000)
    page.evaluate(MEASURE)
    for number in range(KEYS):
        page.keyboard.press("End" if number % 2 else "Home")
        page.wait_for_function("count => window.taken.length > count", arg=number)
        page.wait_for_timeout(50)
    return page.evaluate("taken")


if __name__ == "__main__":
    main()
