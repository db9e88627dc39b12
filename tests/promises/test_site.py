"""The site's source: every page, with links that still lead somewhere. (CI's job builds it.)"""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

import qghelpers as qg

ROOT = Path(__file__).parents[2]


def load(name: str):
    """A module of the folder `.site`."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / ".site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    module = load("build")
    module.SOURCE = tmp_path_factory.mktemp("source")
    module.REPOSITORY, module.BRANCH = "some/where", "main"
    module.prepare()
    return module


def pages(site) -> dict[Path, str]:
    """The Markdown of every page, without code."""
    found = {path: path.read_text("utf-8") for path in site.SOURCE.rglob("*.md")}
    for path in site.SOURCE.rglob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        found[path] = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return {path: re.sub(r"```.*?```", "", text, flags=re.S) for path, text in found.items()}


def test_links_lead_to_pages_or_files_of_the_site(site):
    links = 0
    for page, text in pages(site).items():
        for link in re.findall(r"\]\(([^)\s#]+)", text):
            if not re.match(r"[a-z]+:", link):
                links += 1
                assert (page.parent / link).is_file(), (page, link)
    assert links > 30


def test_every_notebook_and_page_is_in_the_contents(site):
    contents = (site.SOURCE / "index.md").read_text("utf-8")
    assert contents.startswith((ROOT / "README.md").read_text("utf-8").split("\n\n")[0])
    for path in site.lessons():
        assert f"\nnotebooks/{path.stem}\n" in contents, path
    for path in (ROOT / "qghelpers").glob("*/README.md"):
        assert f"\n{path.relative_to(ROOT).with_suffix('').as_posix()}\n" in contents, path


def test_notebooks_offer_colab_and_binder_if_the_repository_is_known(site, monkeypatch, tmp_path):
    name = "notebooks/02_vae.ipynb"
    text = pages(site)[site.SOURCE / name]
    assert f"https://colab.research.google.com/github/some/where/blob/colab/{name}" in text
    assert f"https://mybinder.org/v2/gh/some/where/main?labpath={name}" in text
    monkeypatch.setattr(site, "REPOSITORY", "")
    monkeypatch.setattr(site, "SOURCE", tmp_path)
    site.notebook(ROOT / name)
    assert "colab" not in (tmp_path / name).read_text("utf-8")


def test_notebooks_for_colab_install_the_package_and_link_to_the_repository(
    site, monkeypatch, tmp_path
):
    monkeypatch.setattr(site, "BRANCH", "course")
    monkeypatch.setattr(site, "COLAB", tmp_path)
    site.colab()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        before, after = (nbformat.read(p, as_version=4) for p in (path, tmp_path / path.name))
        install = after.cells.pop(1)
        assert "git+https://github.com/some/where@course" in install.source
        assert [cell.get("outputs") for cell in after.cells] == [
            cell.get("outputs") for cell in before.cells
        ]
        assert TransformerManager().transform_cell(install.source).count("run_line_magic") == 1
        for cell in after.cells:
            if cell.cell_type == "markdown":
                for link in re.findall(r"\]\(([^)\s]+)", cell.source):
                    assert re.match("https?:|#", link), link
        text = "\n".join(cell.source for cell in after.cells)
        if "glossary.md#" in "\n".join(cell.source for cell in before.cells):
            assert "(https://github.com/some/where/blob/course/notebooks/glossary.md#" in text
    first = nbformat.read(tmp_path / "01_data_exploration.ipynb", as_version=4)
    pictures = re.findall(r"!\[[^]]*\]\((\S+)\)", "\n".join(cell.source for cell in first.cells))
    assert pictures
    for address in pictures:
        raw, file = address.split("/some/where/course/")
        assert raw == "https://raw.githubusercontent.com"
        assert (ROOT / file).is_file()


def test_solutions_are_folded_and_pictures_keep_their_words(site, monkeypatch, tmp_path):
    picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    picture.metadata = {"image/png": {"alt": "a jet"}}
    cells = [nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("2", outputs=[picture])]
    cells[0].metadata["tags"] = ["solution"]
    monkeypatch.setattr(site, "ROOT", tmp_path)
    monkeypatch.setattr(site, "REPOSITORY", "")
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "1.ipynb")
    site.notebook(tmp_path / "1.ipynb")
    first, second = nbformat.read(site.SOURCE / "1.ipynb", as_version=4).cells
    (site.SOURCE / "1.ipynb").unlink()
    assert first.metadata["tags"] == ["solution", "hide-cell"]
    assert first.metadata["mystnb"] == {"code_prompt_show": "Solution"}
    assert second.metadata["mystnb"] == {"image": {"alt": "a jet"}}


def test_the_reference_has_all_that_the_package_offers(site):
    text = (site.SOURCE / "reference" / "qg.rst").read_text("utf-8")
    for name in qg.__all__:
        told = f":: qghelpers.{name}\n" if callable(getattr(qg, name)) else f"``qg.{name}``"
        assert told in text, name
    rooms = {path.parent.name for path in (ROOT / "qghelpers").glob("*/__init__.py")}
    assert rooms <= {path.stem for path in (site.SOURCE / "reference").glob("*.rst")}
    data = (site.SOURCE / "reference" / "data.rst").read_text("utf-8")
    (names,) = re.findall(r"qghelpers\.data\.layout\n   :members: (.*)", data)
    assert names.split(", ")
    assert set(names.split(", ")) <= set(qg.layout.__all__)


DOCSTRING = """Energies $E_i$ with |eta| below `|x|`, as here:

    model = Linear(64)

$$ a \\,\\|\\, b $$

| file | holds |
|---|---|
| `a` | one |
"""
WRITTEN = """Energies :math:`E_i` with \\|eta\\| below `|x|`, as here::

    model = Linear(64)

.. math:: a \\,\\|\\, b

.. list-table::
   :header-rows: 1

   * - file
     - holds
   * - `a`
     - one
"""


def test_docstrings_are_read_as_they_are_meant():
    lines = DOCSTRING.split("\n")
    load("conf").to_rst(None, "function", "f", None, None, lines)
    assert "\n".join(lines).strip() == WRITTEN.strip()
    lines = ["Args:", "    x: one,", "", "Then a list:", "", "- a", "- b"]
    load("conf").to_rst(None, "function", "f", None, None, lines)
    assert lines == ["Args:", "    x: one,", "", "Then a list:", "", "- a", "- b"]
