"""The notebooks are run, cell by cell, by nbval; here stands what else a lesson owes its reader."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from qghelpers.widgets import exercises
from qghelpers.widgets.answers import Exercise, Target, Wrong, judge, target

FOLDER = Path(__file__).parents[2] / "notebooks"
TALK = "06_jet_explorer"  # a page without a lesson
LESSONS = sorted({path.stem for path in FOLDER.glob("*.ipynb")} - {TALK})
IGNORED = "nbval-ignore-output"  # cells whose output has to vary
SOLUTION = "solution"  # cells that solve an exercise; the reader sees them on request
EXERCISES = [one for name in LESSONS for one in exercises.read(int(name[:2])).values()]


@pytest.fixture(params=[*LESSONS, TALK])
def notebook(request):
    return nbformat.read(FOLDER / f"{request.param}.ipynb", as_version=4)


@pytest.fixture(params=LESSONS)
def lesson(request):
    return nbformat.read(FOLDER / f"{request.param}.ipynb", as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def outputs(notebook) -> list:
    return [output for cell in code(notebook) for output in cell.outputs]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def checks(cell) -> list[str]:
    """Numbers of the exercises that a cell has an answer to."""
    calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    answers = [c for c in calls if ast.unparse(c.func) == "qg.check" and len(c.args) > 1]
    return [c.args[0].value for c in answers if ast.unparse(c.args[1]) != "..."]


def test_the_series_is_complete():
    numbers = sorted(int(path.stem[:2]) for path in FOLDER.glob("*.ipynb"))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 6


def test_it_has_the_parts_of_a_lesson(lesson):
    for part in ("What you will learn", "Prerequisites", "Exercises", "Summary", "Further reading"):
        assert part in text(lesson)
    assert 30 <= len(lesson.cells) <= 55


def test_it_makes_checked_claims_and_shows_that_they_held(lesson):
    total = 0
    for cell in code(lesson):
        made = cell.source.count("qg.claim(") + len(checks(cell))
        shown = "".join(output.get("text", "") for output in cell.outputs).count("✓")
        in_a_loop = re.search(r"^ +qg\.claim", cell.source, re.M) is not None
        assert shown >= made if in_a_loop else shown == made, cell.id
        total += cell.source.count("qg.claim(")
    assert total >= 5


def test_it_was_run_from_top_to_bottom_without_errors(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, len(code(notebook)) + 1)
    )
    assert all(output.output_type != "error" for output in outputs(notebook))


def test_few_cells_are_exempt_from_comparison(notebook):
    with_output = [cell for cell in code(notebook) if cell.outputs]
    used = [tag for cell in code(notebook) for tag in tags(cell)]
    assert set(used) <= {IGNORED, SOLUTION}
    assert used.count(IGNORED) <= len(with_output) / 4
    assert not re.search(r"NBVAL|PYTEST_VALIDATE", "".join(cell.source for cell in code(notebook)))


def test_it_shows_figures_each_followed_by_a_reading(notebook):
    figures = 0
    for index, cell in enumerate(notebook.cells):
        shown = [o for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        figures += len(shown)
        after = notebook.cells[index + 1 : index + 4]
        assert not shown or any(following.cell_type == "markdown" for following in after)
    assert figures >= 4


def test_no_figure_is_a_line_of_text_alone(lesson):
    """As where the notebook was run with a backend that shows no pictures, which nbval accepts."""
    shown = [output.data for output in outputs(lesson) if "data" in output]
    figures = [data for data in shown if "<Figure size" in data.get("text/plain", "")]
    assert figures
    assert all("image/png" in data for data in figures)


def test_it_has_a_slider_with_a_picture_in_its_place(notebook):
    """The picture, with words, is what GitHub and a notebook that is not trusted show."""
    sliders = [cell for cell in code(notebook) if "browse(" in cell.source]
    assert sliders
    for cell in sliders:
        (shown,) = cell.outputs
        assert {"text/html", "image/png"} <= set(shown.data)
    moved = [cell for cell in code(notebook) if re.search(r"qg\.(explore|interpol)", cell.source)]
    for cell in sliders + moved:
        (shown,) = cell.outputs
        assert len(shown.metadata["image/png"]["alt"]) > 40


def test_what_a_slider_draws_from_keeps_its_name(notebook):
    """Moved once all cells have run, it would meet what a later cell has given that name."""
    needed: set[str] = set()
    for cell in code(notebook):
        nodes = list(ast.walk(ast.parse(cell.source)))
        taken = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        taken |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
        assert not taken & needed
        for drawing in (n for n in nodes if isinstance(n, ast.Lambda)):
            if cell.source.count("browse("):
                bound = {argument.arg for argument in drawing.args.args}
                used = {n.id for n in ast.walk(drawing.body) if isinstance(n, ast.Name)}
                needed |= used - bound


def test_code_cells_are_short(notebook):
    lengths = sorted(len(cell.source.splitlines()) for cell in code(notebook))
    assert lengths[-1] <= 25
    assert lengths[len(lengths) // 2] <= 8


def test_it_names_no_path_of_the_machine_it_was_run_on(notebook):
    assert not re.search(r"/(home|root|work|tmp|Users)/", nbformat.writes(notebook))


def test_it_asks_the_exercises_of_its_file_and_hides_their_solutions(notebook, request):
    """A solution is run like every cell, and what it prints is compared: that it is right."""
    number = int(request.node.callspec.params["notebook"][:2])
    solved = []
    for cell in code(notebook):
        if SOLUTION in tags(cell):
            solved += checks(cell)
            hidden = cell.metadata.get("jupyter", {})
            assert hidden == {"source_hidden": True, "outputs_hidden": True}, cell.id
            assert not checks(cell) or IGNORED not in tags(cell), cell.id
    known = exercises.read(number)
    assert sorted(solved) == sorted(known)
    shown = "".join(output.get("text", "") for output in outputs(notebook))
    for number, exercise in known.items():
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", text(notebook)), number
        assert any(f'qg.check("{number}", ...' in cell.source for cell in code(notebook)), number
        assert f"✓ {number} is right. {exercise.right}".strip() in shown


def some_answer(wanted: Target, hidden: str | None = None):
    """An answer that is as wanted; of ranges, the middles."""
    if wanted.kind == "hidden word":
        return hidden
    if wanted.kind.startswith("number"):
        middles = [(low + high) / 2 for low, high in wanted.parts]
        return middles if wanted.kind == "numbers" else middles[0]
    return list(wanted.parts) if wanted.kind == "words" else wanted.parts[0]


def right(exercise: Exercise) -> Target:
    if exercise.reference:
        return target(Wrong("", answer=exercise.example), exercise.within)
    return target(exercise, exercise.within)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.number)
def test_an_exercise_is_complete(exercise):
    assert exercise.question.endswith("?")
    assert exercise.hint.endswith((".", "?"))
    assert 1 <= exercise.minutes <= 240
    ways = [exercise.between, exercise.answer, exercise.sha256 or None, exercise.reference or None]
    assert sum(way is not None for way in ways) == 1
    assert bool(exercise.reference) == bool(exercise.given) == (exercise.example is not None)
    assert all(low <= high for low, high in [exercise.between or (0, 0)])
    if not exercise.sha256:  # else its solution in the notebook shows it
        assert judge(exercise, some_answer(right(exercise)), right(exercise)) == (
            True,
            exercise.right,
        )


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.number)
def test_plausible_wrong_answers_are_refused_with_their_reason(exercise):
    assert exercise.wrong
    for wrong in exercise.wrong:
        assert wrong.because
        assert not wrong.because.endswith(".")
        if wrong.times is not None:
            answer = wrong.times * some_answer(right(exercise))
        else:
            answer = some_answer(target(wrong, wrong.within or exercise.within))
        assert judge(exercise, answer, right(exercise)) == (False, f"{wrong.because}.")
