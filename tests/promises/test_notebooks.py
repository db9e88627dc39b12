"""The notebooks are run, cell by cell, by nbval; here stands what else a lesson owes its reader."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
LESSONS = [
    "01_data_exploration",
    "02_vae",
    "03_unet_autoencoder",
    "04_latent_analysis",
    "05_anomaly_detection",
]
TALK = "06_jet_explorer"  # a page without a lesson
TAGS = {"nbval-ignore-output"}  # the only one in use: cells whose output has to vary


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


def test_the_series_is_complete():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [*LESSONS, TALK]


def test_it_has_the_parts_of_a_lesson(lesson):
    for part in ("What you will learn", "Prerequisites", "Exercises", "Summary", "Further reading"):
        assert part in text(lesson)
    assert 30 <= len(lesson.cells) <= 55


def test_it_makes_checked_claims_and_shows_that_they_held(lesson):
    printed = "".join(output.text for output in outputs(lesson) if output.output_type == "stream")
    made = sum(cell.source.count("qg.claim(") for cell in code(lesson))
    assert made >= 5
    assert printed.count("✓") == made


def test_it_was_run_from_top_to_bottom_without_errors(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(
        range(1, len(code(notebook)) + 1)
    )
    assert all(output.output_type != "error" for output in outputs(notebook))


def test_few_cells_are_exempt_from_comparison(notebook):
    with_output = [cell for cell in code(notebook) if cell.outputs]
    tags = [tag for cell in code(notebook) for tag in cell.metadata.get("tags", [])]
    assert set(tags) <= TAGS
    assert len(tags) <= len(with_output) / 4
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
