"""An answer is told right, or what is off; whatever is typed, there is a line and no traceback."""

import numpy as np
import pytest
import torch

import qghelpers as qg
from qghelpers.widgets import exercises
from qghelpers.widgets.answers import Unclear, hidden

ENTRIES = """
[[exercise]]
number = "7.1"
question = "How many HCAL towers of a jet are lit?"
minutes = 5
hint = "Take one pixel of each tower."
between = [8, 12]
right = "Most of the 625 are dark."
[[exercise.wrong]]
times = 25
because = "that is the number of pixels: towers are 5 x 5 of them"
[[exercise.wrong]]
between = [610, 620]
because = "these are the dark ones"

[[exercise]]
number = "7.2"
question = "Which channel is the sparsest?"
minutes = 1
hint = "Count."
answer = "Tracks"
choices = ["Tracks", "ECAL", "HCAL"]
[[exercise.wrong]]
answer = "HCAL"
because = "its blocks of 25 pixels are few, but large"

[[exercise]]
number = "7.3"
question = "In which order are the channels?"
minutes = 1
hint = "Find the blocks first."
answer = ["Tracks", "ECAL", "HCAL"]
choices = ["Tracks", "ECAL", "Muons", "HCAL"]

[[exercise]]
number = "7.4"
question = "How many numbers does each level hand over?"
minutes = 1
hint = "Width times size."
answer = [16, 64, 0.25]
[[exercise.wrong]]
answer = [64, 16, 0.25]
because = "the deepest level comes last"
[[exercise.wrong]]
answer = [160, 640, 2.5]
within = 0.2
because = "these are about ten times as many"

[[exercise]]
number = "7.5"
question = "What is in the box?"
minutes = 60
hint = "Look at the mass."
sha256 = "SECRET"
[[exercise.wrong]]
answer = "w"
because = "the peak lies above 80 GeV"

[[exercise]]
number = "7.6"
question = "What is the ratio of the two means?"
minutes = 1
hint = "Divide."
reference = "analysis.metrics:ratio"
given = ["numerator", "denominator"]
example = 2.0

[[exercise]]
number = "7.7"
question = "Does it get better?"
minutes = 1
hint = "Subtract."
answer = false

[[exercise]]
number = "7.8"
question = "How many pixels has a tower?"
minutes = 1
hint = "Count."
answer = 25

[[exercise]]
number = "7.9"
question = "How many pixels has an image?"
minutes = 1
hint = "Count."
answer = 15625
within = 0.05

[[exercise]]
number = "7.10"
question = "Which charges go in, and what comes out?"
minutes = 1
hint = "Two signs."
answer = [-40, 40]
within = 0.05
""".replace("SECRET", hidden("7.5", "dark-shower"))

THREE = "a list of 3 words, each one of Tracks, ECAL, Muons, HCAL"


@pytest.fixture(autouse=True)
def entries(tmp_path, monkeypatch):
    """A package whose only notebook with exercises is the seventh."""
    folder = tmp_path / "exercises"
    folder.mkdir()
    (folder / "7.toml").write_text(ENTRIES, "utf-8")
    monkeypatch.setattr(exercises.resources, "files", lambda package: tmp_path)
    exercises.read.cache_clear()
    yield
    exercises.read.cache_clear()


def told(capsys, *arguments) -> str:
    assert qg.check(*arguments) is None
    out, err = capsys.readouterr()
    assert err == ""
    assert out.endswith("\n")
    return out[:-1]


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("7.1", 8),
        ("7.1", 12.0),
        ("7.1", np.float32(9.5)),
        ("7.1", np.array([10])),
        ("7.1", torch.tensor(10.0, requires_grad=True)),
        (" 7.1", 9),
        (7.1, 9),
        ("7.2", " tracks "),
        ("7.3", ("Tracks", "ecal", "HCAL")),
        ("7.3", np.array(["Tracks", "ECAL", "HCAL"])),
        ("7.4", [16, 64.0, 0.252]),
        ("7.4", torch.tensor([16, 64, 0.25])),
        ("7.5", "Dark  shower"),
        ("7.10", [-39, 41]),
        ("7.7", np.False_),
    ],
)
def test_a_right_answer(capsys, number, answer):
    line = told(capsys, number, answer)
    assert line.startswith(f"✓ {str(number).strip()} is right.")
    assert "\n" not in line


def test_a_right_answer_is_explained(capsys):
    assert told(capsys, "7.1", 10) == "✓ 7.1 is right. Most of the 625 are dark."
    assert told(capsys, "7.7", False) == "✓ 7.7 is right."


@pytest.mark.parametrize(
    ("number", "answer", "reason"),
    [
        ("7.1", 200, "that is the number of pixels: towers are 5 x 5 of them."),
        ("7.1", 300, "that is the number of pixels: towers are 5 x 5 of them."),
        ("7.1", 615, "these are the dark ones."),
        ("7.1", 7.9, "this is too small. Hint: Take one pixel of each tower."),
        ("7.1", 12.1, "this is too large. Hint: Take one pixel of each tower."),
        ("7.1", -10, "this is of the other sign. Hint: Take one pixel of each tower."),
        ("7.1", 1000, "this is 100 times too large (per cent for a share? GeV for GeV/100?)."),
        ("7.1", 0.1, "this is 100 times too small (a share for per cent? GeV/100 for GeV?)."),
        ("7.2", "hcal", "its blocks of 25 pixels are few, but large."),
        ("7.2", "ECAL", "this is not the answer. Hint: Count."),
        ("7.3", ["HCAL", "ECAL", "Tracks"], "the right words, in another order. Hint: Find"),
        ("7.3", ["Tracks", "ECAL", "Muons"], "this is not the answer. Hint: Find"),
        ("7.3", ["Tracks", "ECAL"], "3 words are asked for, these are 2. Hint: Find"),
        ("7.4", [64, 16, 0.25], "the deepest level comes last."),
        ("7.4", [180, 600, 2.1], "these are about ten times as many."),
        ("7.4", [180, 600, 3.1], "number 1 is too large."),  # the last is beyond its tolerance
        ("7.4", [16, 63, 0.25], "number 2 is too small. Hint: Width times size."),
        ("7.4", [16, 64, 0.256], "number 3 is too large. Hint: Width times size."),
        ("7.4", [16, 64], "3 numbers are asked for, these are 2. Hint: Width times size."),
        ("7.10", [-43, 40], "number 1 is too small. Hint: Two signs."),
        ("7.5", "W", "the peak lies above 80 GeV."),
        ("7.5", "top", "this is not the answer. Hint: Look at the mass."),
        ("7.7", True, "this is not the answer. Hint: Subtract."),
    ],
)
def test_a_wrong_answer_is_told_what_is_off(capsys, number, answer, reason):
    assert told(capsys, number, answer).startswith(f"✗ {number}, not yet: {reason}")


@pytest.mark.parametrize(
    ("number", "answer", "line"),
    [
        ("7.1", np.ones((2, 3)), "7.1 asks for a number; this is an array of shape (2, 3)"),
        ("7.1", torch.ones(2, 3), "7.1 asks for a number; this is an array of shape (2, 3)"),
        ("7.1", (0.74, 0.01), "7.1 asks for a number; this is a pair (no uncertainty, please)"),
        ("7.1", "10", "7.1 asks for a number; this is the text '10'"),
        ("7.1", True, "7.1 asks for a number; this is True"),
        ("7.1", {"a": 1}, "7.1 asks for a number; this is an object of type dict"),
        ("7.1", 1 + 2j, "7.1 asks for a number; this is an object of type complex"),
        ("7.1", float("nan"), "7.1: this is nan, as after a division by zero"),
        ("7.1", np.inf, "7.1: this is inf, as after a division by zero"),
        ("7.2", 0, "7.2 asks for a word: one of Tracks, ECAL, HCAL; this is 0"),
        (
            "7.2",
            "muons",
            "7.2 asks for a word: one of Tracks, ECAL, HCAL; this is the text 'muons'",
        ),
        (
            "7.3",
            "Tracks",
            f"7.3 asks for {THREE}; this is the text 'Tracks'",
        ),
        (
            "7.3",
            ["ECAL", 2],
            f"7.3 asks for {THREE}; this is a list with 2",
        ),
        ("7.4", 16, "7.4 asks for a list of 3 numbers; this is 16"),
        (
            "7.4",
            [16, None, 1],
            "7.4 asks for a list of 3 numbers; this is a list with an object of type NoneType",
        ),
        ("7.4", [16, np.nan, 1], "7.4: this is nan"),
        ("7.5", ["top"], "7.5 asks for a word; this is a list"),
        ("7.7", 0, "7.7 asks for True or False; this is 0"),
        ("7.99", 1, "there is no exercise 7.99: those of notebook 7 are 7.1, 7.2, 7.3"),
        ("8.1", 1, "there is no exercise 8.1: there are none yet"),
        ("../7.1", 1, "an exercise has a number such as \"2.1\", not '../7.1'"),
        (None, 1, "an exercise has a number such as \"2.1\", not 'None'"),
        (7, 1, "an exercise has a number such as \"2.1\", not '7'"),
    ],
    ids=str,
)
def test_what_cannot_be_an_answer_gets_one_clear_line(capsys, number, answer, line):
    shown = told(capsys, number, answer)
    assert shown.startswith(f"✗ {line}")
    assert "\n" not in shown


@pytest.mark.parametrize("answer", [(), (None,), (...,)])
def test_without_an_answer_the_exercise_is_shown(capsys, answer):
    assert told(capsys, "7.1", *answer).splitlines() == [
        "7.1 (about 5 minutes): How many HCAL towers of a jet are lit?",
        "Hint: Take one pixel of each tower.",
        "Answer: a number, right within about 2.",
    ]


@pytest.mark.parametrize(
    ("number", "form"),
    [
        ("7.2", "a word: one of Tracks, ECAL, HCAL"),
        ("7.3", THREE),
        ("7.4", "a list of 3 numbers"),
        ("7.5", "a word"),
        ("7.6", 'a number, right within 1 %, by qg.check("7.6", answer, numerator, denominator)'),
        ("7.7", "True or False"),
        ("7.8", "a whole number"),
        ("7.9", "a number, right within 5 %"),
    ],
)
def test_the_form_of_the_answer_is_shown_without_the_answer(capsys, number, form):
    assert told(capsys, number).splitlines()[-1] == f"Answer: {form}."


def test_a_function_may_know_the_answer_for_the_readers_jets(capsys):
    two, one = np.full(5, 2.0), np.ones(5)
    assert told(capsys, "7.6", 3.01, 3 * one, one) == "✓ 7.6 is right."
    assert told(capsys, "7.6", 1.9, 2 * one, one).startswith("✗ 7.6, not yet: this is too small")
    assert told(capsys, "7.6", 1.0, one, two).startswith("✗ 7.6, not yet: this is too large")


def test_what_it_needs_besides_the_answer_is_said(capsys):
    call = 'qg.check("7.6", answer, numerator, denominator)'
    assert told(capsys, "7.6", 3.0) == f"✗ 7.6 is checked by {call}"
    assert told(capsys, "7.1", 10, "jets") == '✗ 7.1 is checked by qg.check("7.1", answer)'
    line = told(capsys, "7.6", 3.0, "a", "b")
    assert line.startswith("✗ 7.6 cannot be checked with this numerator and denominator: ")
    assert "\n" not in line


def test_a_hidden_word_is_hidden_for_its_exercise_alone():
    assert hidden("5.1", "W") == hidden("5.1", " w ") != hidden("5.2", "w")
    assert "dark" not in exercises.find("7.5").sha256


def test_a_mistake_in_an_entry_is_an_error_where_the_tests_look(tmp_path):
    (tmp_path / "exercises" / "6.toml").write_text(ENTRIES.replace("minutes", "seconds"), "utf-8")
    with pytest.raises(TypeError, match="seconds"):
        exercises.read(6)


def test_there_is_no_exercise_without_its_notebook():
    with pytest.raises(Unclear, match=r"there is no exercise 123\.4"):
        exercises.find("123.4")


def test_a_course_has_exercises_of_its_own_beside_its_notebooks(capsys, tmp_path, monkeypatch):
    assert told(capsys, "7.20", 3).startswith("✗ there is no exercise 7.20")
    (tmp_path / "course" / "exercises").mkdir(parents=True)
    own = ENTRIES.split("\n\n[[exercise]]")[0].replace("7.1", "7.20")
    (tmp_path / "course" / "exercises" / "7.toml").write_text(own, "utf-8")
    monkeypatch.chdir(tmp_path / "course")
    exercises.read.cache_clear()
    assert told(capsys, "7.20", 10) == "✓ 7.20 is right. Most of the 625 are dark."
    assert told(capsys, "7.1", 10).startswith("✓ 7.1 is right")
