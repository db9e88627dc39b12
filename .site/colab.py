"""Notebooks for Colab: `python .site/colab.py OWNER/REPOSITORY` writes them to `build/colab`.

Colab opens a single file: each notebook begins with a cell that installs the package, and its links
and pictures lead to the repository. CI pushes them to the branch `colab`.
"""

import os
import re
import sys
from pathlib import Path, PurePosixPath

import nbformat

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s#]+)([^)\s]*\))")
INSTALL = """import importlib.util

if importlib.util.find_spec("qghelpers") is None:  # in Colab, once: about a minute
    %pip install -q "qghelpers[simulation] @ git+https://github.com/{repository}@{branch}"
"""


def absolute(text: str, repository: str, branch: str) -> str:
    """The Markdown of a notebook with links that lead to the repository from anywhere."""

    def replaced(match: re.Match) -> str:
        target = match[2]
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = os.path.normpath(PurePosixPath("notebooks") / target).replace(os.sep, "/")
        pages = f"https://github.com/{repository}/blob/{branch}"
        raw = f"https://raw.githubusercontent.com/{repository}/{branch}"
        base = raw if path.endswith((".png", ".svg")) else pages
        return f"{match[1]}{base}/{path}{match[3]}"

    return LINK.sub(replaced, text)


def write(folder: Path, repository: str, branch: str = "main") -> None:
    """Write all notebooks to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        for cell in book.cells:
            if cell.cell_type == "markdown":
                cell.source = absolute(cell.source, repository, branch)
        text = INSTALL.format(repository=repository, branch=branch)
        book.cells.insert(1, nbformat.v4.new_code_cell(text))
        nbformat.write(book, folder / path.name)


if __name__ == "__main__":
    write(ROOT / "build" / "colab" / "notebooks", *sys.argv[1:])
