"""From a key to the picture in the page, in Chromium or Chrome: medians of 100 keys.

Each is the time from the event to the frame after the drawing, as the page itself measures it. The
number of jets that are open does not matter: what is browsed lies in the page.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

import qghelpers as qg

KEYS = 100
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu"]
MEASURE = """() => {
  const slider = document.querySelector('input[type=range]');
  window.taken = [];
  const note = (event) => requestAnimationFrame(() => requestAnimationFrame(
    () => window.taken.push(performance.now() - event.timeStamp)));
  slider.addEventListener('keydown', note, true);
  slider.addEventListener('input', note, true);
}"""


def main() -> None:
    """Measure one row and three rows of pictures."""
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        raise qg.DataError("there is no chromium and no google-chrome: install one of them")
    jets = qg.load_jets(limit=200, seed=0)
    rows = {"original": jets, "half": jets.images() / 2}
    print(f"{'':24}{'jets':>8}{'page [kB]':>12}{'key, median [ms]':>20}{'longest [ms]':>16}")
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        chromium = started.chromium.launch(executable_path=path, args=FLAGS)
        for name, shown in {"jets": jets, "three rows": rows}.items():
            browser = qg.browse(shown, difference=shown is rows)
            file = Path(folder) / "page.html"
            file.write_text(f"<!doctype html><meta charset='utf-8'>{browser.html}")
            page = chromium.new_page(viewport={"width": 1280, "height": 800})
            page.goto(file.as_uri())
            page.wait_for_selector(".qg-live[data-jet]")
            page.focus("input[type=range]")
            page.evaluate(MEASURE)
            for _ in range(KEYS):
                page.keyboard.press("ArrowRight")
                time.sleep(0.05)
            taken = page.evaluate("taken")
            size = len(browser.html) / 1000
            print(
                f"{name:24}{len(jets):>8}{size:>12.0f}{statistics.median(taken):>20.1f}"
                f"{max(taken):>16.1f}"
            )
        chromium.close()


if __name__ == "__main__":
    main()
