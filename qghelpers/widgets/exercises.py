"""Exercises that answer: a reader's result is told right, or what is off and why.

The exercises of notebook 2 are the tables of `exercises/2.toml`:

    [[exercise]]
    number = "2.1"
    question = "With beta = 1000, how many of the 32 latent numbers stay active?"
    minutes = 5
    hint = "A latent number is active if its mean differs from jet to jet."
    between = [0, 2]  # lowest and highest right answer
    right = "The KL term costs more than any latent number saves."  # optional

    [[exercise.wrong]]
    between = [30, 32]
    because = "that is how many there are with beta = 1"

What is right is told by one of these:

- `between`: one number, from the first to the second. Leave a margin for the reader's jets: CI has
  400, a reader 2,000 others.
- `answer`: an integer, exactly; another number, with `within` as the relative tolerance (0.01); a
  word; true or false; a list of numbers or of words, in their order.
- `sha256`: a word that the file must not give away, as `answers.hidden("5.6", word)` returns it.
- `reference`: a function of the package that computes the answer from the reader's own jets, such
  as `"analysis.metrics:ratio"`. `given` names its arguments, which the reader hands over after the
  answer: `qg.check("4.2", value, numerator, denominator)`. Of a pair `(value, standard error)`
  the value counts. `example` is a typical result; the tests take it for the right one.

`choices` lists the words to choose from. A wrong answer has `answer`, `between` or, for one
number, `times`: so many times the right one. `because` completes "not yet: ...".

In the notebook stand, for each exercise: its number in the text, a cell for the reader,
`qg.check("2.1", ...)`, which shows question, time, hint and the form of the answer until `...` is
replaced, and a cell that solves it and calls `qg.check("2.1", value)`, with the metadata
`"tags": ["solution"], "jupyter": {"source_hidden": true, "outputs_hidden": true}`.
`tests/promises/test_notebooks.py` tries every entry.

A course's own exercises are read from a folder `exercises` beside its notebooks as well. As long as
the teacher keeps such a file, nobody can look up in it what is right.
"""

import importlib
import re
import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from qghelpers.widgets.answers import Exercise, Target, Unclear, Wrong, form, judge, margin, target
from qghelpers.widgets.claims import say


def check(number: str, answer: Any = ..., *given: Any) -> None:
    """Print whether the answer to an exercise is right, or what is off; never raise an error.

    Args:
        number: of the exercise, such as "2.1".
        answer: a number, a word, True or False, or a list, as the exercise asks for; `...`
            shows the exercise.
        given: what some exercises need besides, such as your jets: they say so.
    """
    try:
        exercise = find(number)
        if answer is ... or answer is None:
            say("", f"{exercise.number} (about {exercise.minutes} minutes): {exercise.question}")
            say("", f"Hint: {exercise.hint}")
            by = f", by {call(exercise)}" if exercise.given else ""
            say("", f"Answer: {form(exercise)}{margin(exercise)}{by}.")
            return
        right, reason = judge(exercise, answer, expected(exercise, given))
    except Unclear as error:
        say("✗", str(error), otherwise="--")
        return
    if right:
        say("✓", f"{exercise.number} is right. {reason}".strip())
    else:
        say("✗", f"{exercise.number}, not yet: {reason}", otherwise="--")


@cache
def read(notebook: int) -> dict[str, Exercise]:
    """The exercises of a notebook by their numbers; none if it has no file."""
    name = f"exercises/{notebook}.toml"
    found = {}
    for file in (resources.files("qghelpers.widgets").joinpath(name), Path(name)):
        for table in tomllib.loads(file.read_text("utf-8"))["exercise"] if file.is_file() else ():
            several = {field: tuple(table.get(field, ())) for field in ("given", "choices")}
            wrong = tuple(Wrong(**one) for one in table.get("wrong", ()))
            found[table["number"]] = Exercise(**table | several | {"wrong": wrong})
    return found


def find(number: str) -> Exercise:
    """The exercise of that number.

    Raises:
        Unclear: there is none; the message lists those that there are.
    """
    text = str(number).strip()
    match = re.fullmatch(r"(\d{1,3})\.\d{1,3}", text)
    if not match:
        raise Unclear(f'an exercise has a number such as "2.1", not {text[:40]!r}')
    known = read(int(match[1]))
    if text not in known:
        others = f"those of notebook {match[1]} are {', '.join(known)}"
        raise Unclear(f"there is no exercise {text}: {others if known else 'there are none yet'}")
    return known[text]


def call(exercise: Exercise) -> str:
    """How the exercise is checked."""
    return ", ".join([f'qg.check("{exercise.number}"', "answer", *exercise.given]) + ")"


def expected(exercise: Exercise, given: tuple = ()) -> Target:
    """What is right; by the exercise's reference function, if it has one.

    Raises:
        Unclear: the function does not get along with what is given.
    """
    if len(given) != len(exercise.given):
        raise Unclear(f"{exercise.number} is checked by {call(exercise)}")
    if not exercise.reference:
        return target(exercise, exercise.within)
    module, name = exercise.reference.split(":")
    try:
        value = getattr(importlib.import_module(f"qghelpers.{module}"), name)(*given)
    except Exception as error:
        names = " and ".join(exercise.given)
        raise Unclear(
            f"{exercise.number} cannot be checked with this {names}: "
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from None
    if isinstance(value, tuple):  # with its standard error, as from `metrics`
        value = value[0]
    return target(Wrong("", answer=value), exercise.within)
