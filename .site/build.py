"""The site: `python .site/build.py` makes `build/site/html` of this repository's pages.

    pip install -r requirements.txt -e ".[site]"
    python .site/build.py            # a warning, such as a link that leads nowhere, is an error
    python .site/build.py --links    # asks for every link to other sites instead
    python .site/build.py --colab    # writes notebooks for Colab to `build/colab` instead

README is the first page. The notebooks are shown with their stored outputs, in which browsing jets
works; nothing is executed. The reference is made from the docstrings. In GitHub Actions, which
name the repository, each notebook begins with links to Colab and Binder. Colab opens a single file:
its notebooks begin with a cell that installs the package, and link to the repository.
"""

import argparse
import ast
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import nbformat

import qghelpers

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "site"
COLAB = ROOT / "build" / "colab" / "notebooks"
SOURCE = BUILD / "source"
MOVED = {"README.md": "index.md", ".github/CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")
ROOMS = ("data", "files", "simulation", "networks", "training", "analysis", "evaluation")
ROOMS += ("plots", "widgets", "explorers")
HALL = ("load", "boxes", "pictures", "seeds")  # modules beside the rooms
REPOSITORY = os.environ.get("GITHUB_REPOSITORY", "")  # "owner/name" in GitHub Actions
BRANCH = os.environ.get("GITHUB_REF_NAME", "main")

CONTENTS = """
```{{toctree}}
:hidden:
:caption: Notebooks

{notebooks}
```

```{{toctree}}
:hidden:
:caption: The package

reference/index
{rooms}
```

```{{toctree}}
:hidden:
:caption: The project

contributing
tests/promises/surroundings
CHANGELOG
```
"""
RUN = """:::{{admonition}} Run this page
:class: tip
[Colab](https://colab.research.google.com/github/{repository}/blob/colab/notebooks/{name}): its \
first cell installs the package; or \
[Binder](https://mybinder.org/v2/gh/{repository}/{branch}?labpath=notebooks/{name}), which \
installs all when it starts.
:::"""
INSTALL = """import importlib.util

if importlib.util.find_spec("qghelpers") is None:  # in Colab, once: about a minute
    %pip install -q "qghelpers[simulation] @ git+https://github.com/{repository}@{branch}"
"""


def place(path: str) -> str:
    """Where a file of the repository lies in the site's source."""
    return MOVED.get(path, path)


def with_links(text: str, page: str, lead: Callable[[str], str]) -> str:
    """The Markdown of a page whose links go where `lead` says of a path in the repository."""

    def replaced(match: re.Match) -> str:
        target = match[2]
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = os.path.normpath(PurePosixPath(page).parent / target).replace(os.sep, "/")
        return match[1] + lead(path) + match[3]

    parts = re.split(r"(```.*?```)", text, flags=re.S)  # code has no links
    return "".join(part if part[:3] == "```" else LINK.sub(replaced, part) for part in parts)


def relink(text: str, page: str) -> str:
    """The Markdown of a page with links as they have to be in the site; copies what they lead to.

    Files that are no pages become downloads.
    """
    here = PurePosixPath(place(page)).parent

    def lead(path: str) -> str:
        file, copy = ROOT / path, SOURCE / place(path)
        if file.is_file() and file.suffix not in (".md", ".ipynb"):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        return os.path.relpath(place(path), here).replace(os.sep, "/")

    return with_links(text, page, lead)


def in_repository(path: str) -> str:
    """The address of a page in the repository, or of a picture by itself."""
    if path.endswith((".png", ".svg")):
        return f"https://raw.githubusercontent.com/{REPOSITORY}/{BRANCH}/{path}"
    return f"https://github.com/{REPOSITORY}/blob/{BRANCH}/{path}"


def write(path: str, text: str) -> None:
    """Write a page of the source."""
    file = SOURCE / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")


def notebook(path: Path) -> None:
    """A notebook with links mended, solutions folded, and words for its pictures."""
    book = nbformat.read(path, as_version=4)
    name = path.relative_to(ROOT).as_posix()
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, name)
        if "solution" in cell.metadata.get("tags", []):
            cell.metadata["tags"].append("hide-cell")
            cell.metadata["mystnb"] = {"code_prompt_show": "Solution"}
        for output in cell.get("outputs", []):
            if alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
                cell.metadata.setdefault("mystnb", {})["image"] = {"alt": alt}
    if REPOSITORY:
        text = RUN.format(repository=REPOSITORY, branch=BRANCH, name=path.name)
        book.cells.insert(1, nbformat.v4.new_markdown_cell(text))
    write(name, nbformat.writes(book))


def colab() -> None:
    """Write the notebooks that Colab opens.

    Raises:
        SystemExit: the repository is not known.
    """
    if not REPOSITORY:
        raise SystemExit("--colab: set GITHUB_REPOSITORY to OWNER/NAME, which the links lead to")
    COLAB.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = with_links(cell.source, f"notebooks/{path.name}", in_repository)
        install = INSTALL.format(repository=REPOSITORY, branch=BRANCH)
        book.cells.insert(1, nbformat.v4.new_code_cell(install))
        nbformat.write(book, COLAB / path.name)


def members(file: Path) -> list[str]:
    """Functions and classes that a module defines for others."""
    names, chosen = [], None
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            names.append(node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            chosen = ast.literal_eval(node.value)
    return [name for name in names if chosen is None or name in chosen]


def title(text: str) -> str:
    """A heading of a page of the reference."""
    return f"{text}\n{'=' * len(text)}\n"


def reference() -> None:
    """Pages of the reference: what `qg` offers, and every room."""
    offered, modules = [], []
    for name in qghelpers.__all__:
        value = getattr(qghelpers, name)
        kind = "autoclass" if isinstance(value, type) else "autofunction"
        if callable(value):
            offered.append(f".. {kind}:: qghelpers.{name}\n   :no-index:\n")
        else:
            modules.append(f"``qg.{name}``")
    write(
        "reference/qg.rst",
        title("import qghelpers as qg") + "\nWhat the package offers by itself.\n\n"
        f"Its modules {', '.join(modules)} are told of with their rooms.\n\n" + "\n".join(offered),
    )
    pages = ["qg"]
    for room in (*ROOMS, *HALL):
        folder = ROOT / "qghelpers" / room
        files = [f for f in sorted(folder.glob("*.py")) if f.name != "__init__.py"]
        text = title(f"qghelpers.{room}") + f"\n.. automodule:: qghelpers.{room}\n"
        for file in files or [folder.with_suffix(".py")]:
            module = f"qghelpers.{room}.{file.stem}" if files else f"qghelpers.{room}"
            if files:
                text += f"\n{module}\n{'-' * len(module)}\n\n.. automodule:: {module}\n"
            if names := members(file):
                text += f"   :members: {', '.join(names)}\n"
        write(f"reference/{room}.rst", text)
        pages.append(room)
    listed = "\n".join(f"   {page}" for page in pages)
    write("reference/index.rst", title("Reference") + f"\n.. toctree::\n\n{listed}\n")


def lessons() -> list[Path]:
    """The notebooks, and pages that lie beside them."""
    folder = ROOT / "notebooks"
    return [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("*.md"))]


def prepare() -> None:
    """Make the site's source."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    rooms = sorted((ROOT / "qghelpers").glob("*/README.md"))
    pages = [ROOT / name for name in ("README.md", "CHANGELOG.md", ".github/CONTRIBUTING.md")]
    pages += [*rooms, *(ROOT / "tests" / "promises").glob("*.md")]
    pages += [path for path in lessons() if path.suffix == ".md"]
    for page in pages:
        name = page.relative_to(ROOT).as_posix()
        write(place(name), relink(page.read_text("utf-8"), name))
    for path in lessons():
        if path.suffix == ".ipynb":
            notebook(path)
    reference()
    shown = [f"notebooks/{path.stem}" for path in lessons()]
    told = [f"qghelpers/{path.parent.name}/README" for path in rooms]
    contents = CONTENTS.format(notebooks="\n".join(shown), rooms="\n".join(told))
    with (SOURCE / "index.md").open("a", encoding="utf-8") as file:
        file.write(contents)


def main() -> int:
    """Make the site, check its links, or write the notebooks for Colab."""
    parser = argparse.ArgumentParser(prog="python .site/build.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--links", action="store_true", help="check the links to other sites")
    parser.add_argument("--colab", action="store_true", help="write the notebooks for Colab")
    args = parser.parse_args()
    if args.colab:
        colab()
        return 0
    from sphinx.cmd.build import build_main

    kind = "linkcheck" if args.links else "html"
    prepare()
    options = ["-b", kind, "-c", str(ROOT / ".site"), "-d", str(BUILD / "doctrees"), "-q"]
    return build_main([*options, "--fail-on-warning", "-E", str(SOURCE), str(BUILD / kind)])


if __name__ == "__main__":
    sys.exit(main())
