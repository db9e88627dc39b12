"""The pages that a visitor reads first: short, with links that lead somewhere, and true."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images

ROOT = Path(__file__).parents[2]
FOLDERS = ("qghelpers", "notebooks", "tests", ".github")
PAGES = [
    *ROOT.glob("*.md"),
    *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
]
README = (ROOT / "README.md").read_text("utf-8")


def without_code(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.+)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(page):
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(page))
    for link in (link for link in links if not re.match(r"https://", link)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_begins_with_a_picture_with_words():
    tree = re.search(r"```\nqghelpers/\n.*?```", README, re.S)[0]
    assert len(README.replace(tree, "").split()) <= 1300  # a quarter of them are code
    first, alt = re.search(r"^(.*?)!\[(.+?)\]\(", README, re.S).groups()
    assert len(first.split()) < 70
    assert len(alt) > 40


def test_python_of_the_readme_is_ten_lines_that_compile():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    compile(code, "README.md", "exec")
    assert len(code.strip().splitlines()) <= 12


def test_its_picture_is_what_its_command_draws(tmp_path):
    script = ROOT / "notebooks" / "figures" / "front_page.py"
    assert f"python {script.relative_to(ROOT).as_posix()}" in README
    runpy.run_path(str(script))["draw"](str(tmp_path / "drawn.png"))
    assert compare_images(str(script.with_suffix(".png")), str(tmp_path / "drawn.png"), 2) is None


def test_the_guide_names_files_that_are_there():
    guide = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")
    for kind in ("network", "loss", "observable", "data set"):
        section = re.search(rf"## How to add an? {kind}\n(.*?)(?=\n## |\Z)", guide, re.S)[1]
        assert "`tests/" in section
    for path in re.findall(r"`((?:tests|qghelpers)/[\w/.]+)`", guide):
        assert (ROOT / path).exists(), path


def test_the_newest_entry_of_the_changelog_is_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert entries[0] == project["version"]
    assert f"\nversion: {entries[0]}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
