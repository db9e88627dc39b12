"""Diagrams and the glossary: what the pages point to is there, and shows what the code does."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import nbformat
import pytest
import torch
from torch.nn import functional as F

from qghelpers.analysis.observables import observables
from qghelpers.networks.unet import BalancedUNet, MaskedUNet, UNetAutoencoder

FOLDER = Path(__file__).parents[2] / "notebooks"
DIAGRAMS = sorted((FOLDER / "figures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def pages() -> dict[str, str]:
    """The Markdown of each page: notebooks, the glossary, the front page."""
    texts = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.md")}
    for path in FOLDER.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts[path.name] = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    texts["README.md"] = (FOLDER.parent / "README.md").read_text("utf-8")
    return texts


def drawing(name: str) -> ET.Element:
    return ET.parse(FOLDER / "figures" / f"{name}.svg").getroot()


def texts(element: ET.Element) -> list[str]:
    return [text.text for text in element.iter(f"{SVG}text")]


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_a_diagram_can_be_read_aloud_and_stands_on_a_page(path):
    root = ET.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    told = {part.get("id"): part.text for part in root if part.tag in (f"{SVG}title", f"{SVG}desc")}
    assert root.get("aria-labelledby").split() == ["title", "desc"] == list(told)
    assert len(told["title"]) > 10
    assert len(told["desc"]) > 200
    assert path.stat().st_size <= 12_000
    ground = root.find(f"{SVG}rect")  # so that its ink is dark on light on a dark page, too
    assert (ground.get("width"), ground.get("height")) == (root.get("width"), root.get("height"))
    assert ground.get("fill") == "#ffffff"
    assert any(f"(figures/{path.name})" in text for text in pages().values())


@pytest.mark.parametrize("page", sorted(pages()))
def test_pictures_have_files_and_words(page):
    folder = FOLDER.parent if page == "README.md" else FOLDER
    for words, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", pages()[page]):
        if "://" not in target:
            assert (folder / target).is_file(), target
            assert len(words) > 40, target


def test_figures_that_cells_draw_have_words_for_a_screen_reader():
    page = nbformat.read(FOLDER / "01_data_exploration.ipynb", as_version=4)
    outputs = [o for cell in page.cells for o in cell.get("outputs", []) if "data" in o]
    figures = [o for o in outputs if "image/png" in o.data]
    assert len(figures) > 10
    for figure in figures:
        assert len(figure.metadata["image/png"]["alt"]) > 30


def anchor(heading: str) -> str:
    """As GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_links_into_the_glossary_have_their_anchors():
    found = pages()
    headings = re.findall(r"^#+ (.+)$", found["glossary.md"], re.MULTILINE)
    anchors = [anchor(heading) for heading in headings]
    assert len(set(anchors)) == len(anchors)
    links = {
        name: re.findall(r"\]\((?:notebooks/)?glossary\.md#([^)]*)\)", found[name])
        for name in found
    }
    links["glossary.md"] += re.findall(r"\]\(#([^)]*)\)", found["glossary.md"])
    assert len(links["01_data_exploration.ipynb"]) > 10
    for name, targets in links.items():
        assert set(targets) <= set(anchors), name
    entries = {
        a for a, h in zip(anchors, headings, strict=True) if f"### {h}" in found["glossary.md"]
    }
    assert entries <= set(links["glossary.md"])  # the list at its top is complete


@pytest.mark.parametrize("network", [UNetAutoencoder, BalancedUNet, MaskedUNet])
def test_the_u_has_the_widths_and_sizes_of_the_code(network):
    levels = network().eval()._levels(torch.zeros(1, 3, 125, 125))
    shapes = [" × ".join(map(str, level.shape[1:])) for level in levels]
    first = UNetAutoencoder.widths[0], BalancedUNet.widths[0], MaskedUNet.widths[0]
    drawn, caption = texts(drawing("unet")), " ".join(texts(drawing("unet"))[-2:])
    if network is not UNetAutoencoder:
        assert "kernels of 4" in caption
        assert f"{first[1]} channels instead of {first[0]} at 63 × 63" in caption
        shapes[0] = shapes[0].replace(f"{first[1]} ×", f"{first[0]} ×", 1)
    assert [text for text in drawn if text.count("×") == 2 and text[0].isdigit()] == [
        shape for level in ("3 × 125 × 125", *shapes[:-1]) for shape in (level, level)
    ] + shapes[-1:]


@pytest.mark.parametrize("number", [1, 2])
def test_the_jets_drawn_have_the_shapes_that_are_written_below_them(number):
    """A pixel is 4 units wide, and a disc's area its energy."""
    root = drawing("shapes")
    (jet,) = (group for group in root.iter(f"{SVG}g") if group.get("id") == f"jet{number}")
    image = torch.zeros(1, 3, 125, 125)
    discs = [[float(disc.get(name)) for name in ("cx", "cy", "r")] for disc in jet]
    for x, y, r in discs:
        image[0, 1, round((x + 160 - 360 * number) / 4) + 62, round((164 - y) / 4) + 62] = r**2
    found = observables(image)
    (written,) = (t.text for t in root.iter(f"{SVG}text") if t.get("id") == f"values{number}")
    assert written == ", ".join(f"{name} {found[name][0]:.2f}" for name in ("girth", "pTD", "C1"))
    assert written in root.find(f"{SVG}desc").text


@pytest.mark.parametrize("kernel", [3, 4])
def test_the_convolutions_reach_the_pixels_that_torch_reaches(kernel):
    """Ones in, ones as weights: what comes out is the number of weights that reach a pixel."""
    groups = [texts(g) for g in drawing("convolution").iter(f"{SVG}g") if g.get("class") == "cell"]
    down, up, square = groups[:3] if kernel == 3 else groups[3:]
    ones = torch.ones(1, 1, 4, 4)
    reached = F.conv_transpose2d(ones, torch.ones(1, 1, kernel, kernel), stride=2, padding=1)[0, 0]
    assert down == up == [str(int(n)) for n in reached[1] / reached[1, 0]]  # one dimension
    start = 0 if kernel == 3 else 2
    shown = reached[start : start + 4, start : start + 4].int().flatten().tolist()
    assert square == [str(n) for n in shown]
