"""Sphinx's settings for the site; `build.py` prepares the pages."""

import re

import qghelpers

project = "qghelpers"
author = "The qghelpers developers"
copyright = author  # noqa: A001 (Sphinx's name)
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "Autoencoders for jet images"
html_static_path = ["static"]
html_css_files = ["site.css"]
root_doc = "index"
exclude_patterns = ["tests/promises/*.py"]

nb_execution_mode = "off"  # the stored outputs are those of a run that the tests compare with
nb_mime_priority_overrides = [  # the picture that stands in the place of a widget without a kernel
    ("html", "application/vnd.jupyter.widget-view+json", None),
]
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # pages may begin with a heading of the second level

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
default_role = "code"  # as `in Markdown`
napoleon_numpy_docstring = False
napoleon_use_rtype = False
linkcheck_timeout = 30
linkcheck_retries = 2
assert qghelpers.__all__  # what is documented is this package, and not another one


def to_rst(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings have formulas, tables and code blocks as in Markdown."""
    text = re.sub(r"(?m)(^\|.*\n?){3,}", table, "\n".join(lines))
    code, formula, bar = r"`[^`]+`", r"\$\$[^$]+\$\$|\$[^$`]+\$", r"\|"
    text = re.sub(f"{code}|{formula}|{bar}", inline, text)
    text = re.sub(r"(?m)^(\s*\S.*):\n\n(?=(\s+)(?![-\s]))", block, text)
    lines[:] = text.split("\n")


def inline(match: re.Match) -> str:
    """A formula as Sphinx writes it; a bar that is not the beginning of a substitution."""
    text = match[0]
    if text == "|":
        return "\\|"
    if text[:2] == "$$":
        return f".. math:: {' '.join(text[2:-2].split())}"
    return f":math:`{' '.join(text[1:-1].split())}`" if text[0] == "$" else text


def table(match: re.Match) -> str:
    """A table as Sphinx writes it."""
    head, _, *rows = match[0].strip().split("\n")
    listed = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        first, *others = (cell.strip() for cell in row.strip("|").split("|"))
        listed += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return "\n".join([*listed, "", ""])


def block(match: re.Match) -> str:
    """A paragraph that ends with a colon begins a code block if what follows is indented more."""
    indent = len(match[1]) - len(match[1].lstrip())
    mark = "::" if len(match[2]) > indent else ":"
    return f"{match[1]}{mark}\n\n"


def setup(app) -> None:
    """Called by Sphinx at the start."""
    app.connect("autodoc-process-docstring", to_rst, priority=400)  # before napoleon
