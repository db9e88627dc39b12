"""What the pages for teachers tell is true: their commands work, their numbers come out."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from qghelpers.widgets import exercises

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
TEACHING = (FOLDER / "teaching.md").read_text("utf-8")
PROJECTS = (FOLDER / "projects.md").read_text("utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
BASELINES = [code for code in re.findall(r"```python\n(.*?)```", PROJECTS, re.S) if "±" in code]
KEPT = """
[[exercise]]
number = "7.1"
question = "How many quarks has a proton?"
minutes = 1
hint = "Count."
answer = 3
"""


def commands(start: str) -> list[str]:
    """A command of the page, in parts."""
    (line,) = re.findall(rf"^({start}.*)$", TEACHING, re.M)
    return shlex.split(line)


def write(path: Path, *cells: str) -> None:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = v4.new_notebook(cells=[*map(v4.new_code_cell, cells)], metadata=kernel)
    nbformat.write(notebook, path)


def python(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout


def test_the_page_is_two_pages_long():
    assert len(TEACHING.split()) < 1200


def test_copies_for_students_have_neither_solutions_nor_outputs(tmp_path):
    (tmp_path / "notebooks").mkdir()
    write(tmp_path / "notebooks" / "01_lesson.ipynb", 'qg.check("1.1", ...)', 'qg.check("1.1", 3)')
    book = nbformat.read(tmp_path / "notebooks" / "01_lesson.ipynb", 4)
    book.cells[1].metadata["tags"] = ["solution"]
    book.cells[0].outputs = [v4.new_output("stream", text="Hint")]
    nbformat.write(book, tmp_path / "notebooks" / "01_lesson.ipynb")
    python(tmp_path, "-m", *commands("jupyter nbconvert"))
    (cell,) = nbformat.read(tmp_path / "student" / "01_lesson.ipynb", 4).cells
    assert (cell.source, cell.outputs) == ('qg.check("1.1", ...)', [])


def test_marks_are_what_the_checks_say_of_what_was_handed_in(tmp_path):
    """Two made-up students; the exercise 7.1 is in a file that the teacher has kept."""
    handed_in = tmp_path / "handed_in"
    (handed_in / "exercises").mkdir(parents=True)
    (handed_in / "exercises" / "7.toml").write_text(KEPT, "utf-8")
    first = "import qghelpers as qg"
    write(handed_in / "ada.ipynb", first, 'qg.check("2.1", 0.5); qg.check("2.1", 0.818)')
    answers = 'qg.check("2.1", 0.472)', 'qg.check("2.2", ...)', "1 / 0", 'qg.check("7.1", 3)'
    write(handed_in / "max.ipynb", first, *answers)
    (code,) = re.findall(r"```python\n(.*?)```", TEACHING, re.S)
    (tmp_path / "mark.py").write_text(code, "utf-8")
    files = [f"handed_in/{name}.ipynb" for name in ("ada", "max")]
    python(tmp_path, "-m", *commands("jupyter execute")[:-1], *files)
    table = python(tmp_path, *commands(r"python mark\.py")[1:2], *files)
    assert table.splitlines() == [
        "file,2.1,7.1",
        "handed_in/ada.ipynb,right,",
        "handed_in/max.ipynb,wrong,right",
    ]


def test_the_sessions_end_at_sections_that_there_are():
    rows = re.findall(r"^\| \d \| notebook (\d), (.*)$", TEACHING, re.M)
    assert len(rows) == 8
    asked = []
    for number, row in rows:
        (path,) = FOLDER.glob(f"0{number}_*.ipynb")
        cells = nbformat.read(path, 4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        headings = re.findall(r"^#+ (.+)$", text, re.M)
        for name in re.findall(r"\*([^*]+)\*", row):
            assert name in headings, name
        asked += re.findall(r"\b\d\.\d\b", row)
    assert sorted(asked) == [name for number in range(1, 6) for name in exercises.read(number)]


def test_the_minutes_of_the_exercises_are_added_up():
    told = re.search(r"exercises of notebooks 1 to 5 take ([\d, and]+) minutes", TEACHING)[1]
    minutes = [sum(one.minutes for one in exercises.read(n).values()) for n in range(1, 6)]
    assert [int(number) for number in re.findall(r"\d+", told)] == minutes


def test_the_jobs_of_a_pull_request_are_counted():
    """Those that the variable leaves out: on two systems, in three Pythons, and their sample."""
    jobs = re.split(r"^  (?=\S+:\s)", WORKFLOW.split("\njobs:\n")[1], flags=re.M)[1:]
    switched = [job.split(":")[0] for job in jobs if "if: vars.OTHER_SYSTEMS != 'off'" in job]
    assert switched == ["sample"]
    (other,) = [job for job in jobs if job.startswith("other-systems:")]
    assert "needs: sample\n" in other
    systems, pythons = (re.search(rf"{key}: \[(.*)\]", other)[1] for key in ("os", "python"))
    assert len(systems.split(",")) * len(pythons.split(",")) == 6
    left = len(jobs) - 2 + 2  # of the site, `build` and `links`
    assert f"starts {left + 7} jobs, 6 of them" in TEACHING
    assert f"and {left} are left" in TEACHING


def test_the_check_of_an_installation_ends_in_two_numbers(tmp_path):
    (line,) = re.findall(r'`python -c "(.*)"`', TEACHING)
    shown = python(tmp_path, "-c", line).splitlines()[-1]
    assert re.fullmatch(r"\d+ \d+", shown)


@pytest.mark.parametrize("code", BASELINES)
def test_the_baselines_are_what_their_lines_print(code, capsys):
    line, told, error = re.search(r"(print\(.*\))  # ([\d.]+) ± ([\d.]+)$", code, re.M).groups()
    names = {}
    exec(code.replace(line, f"value, error = {line[6:-1]}"), names)
    digits = len(told.split(".")[1])
    assert f"{names['value']:.{digits}f}" == told
    assert f"{names['error']:.{digits}f}" == error
