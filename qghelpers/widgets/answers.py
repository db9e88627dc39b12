"""Whether an answer is right: numbers in ranges, words, lists of both, True or False."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

NEARLY = 1e-6  # relative: what rounding may change of an exact number
WITHIN = 0.01  # relative: what may be off, unless an exercise has a margin of its own
USUAL = {  # what would make a wrong number right, and what that means
    -1: "of the other sign",
    0.01: "100 times too large (per cent for a share? GeV for GeV/100?)",
    100: "100 times too small (a share for per cent? GeV/100 for GeV?)",
}


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong answer, and why it is wrong."""

    because: str
    answer: Any = None
    between: Any = None
    times: float | None = None
    within: float | None = None


@dataclass(frozen=True)
class Exercise:
    """An entry of a TOML file; the module's docstring tells what its fields are."""

    number: str
    question: str
    minutes: int
    hint: str
    answer: Any = None
    between: Any = None
    sha256: str = ""
    reference: str = ""
    given: tuple[str, ...] = ()
    example: Any = None
    within: float | None = None
    choices: tuple[str, ...] = ()
    right: str = ""
    wrong: tuple[Wrong, ...] = ()


@dataclass(frozen=True)
class Target:
    """What an answer is held against: `parts` are ranges, words, hashes of words, or one bool."""

    kind: str  # "number", "numbers", "word", "words", "hidden word", "true or false"
    parts: tuple


class Unclear(ValueError):
    """An answer of another kind than the one that is asked for."""


def hidden(number: str, word: str) -> str:
    """The hash that stands for a right word in the TOML file."""
    return hashlib.sha256(f"{number}: {_plain(word)}".encode()).hexdigest()


def target(entry: Exercise | Wrong, within: float | None = None) -> Target:
    """What an entry of a TOML file says of an answer, right or wrong."""
    if entry.between is not None:
        return Target("number", (tuple(entry.between),))
    if isinstance(entry, Exercise) and entry.sha256:
        return Target("hidden word", (entry.sha256,))
    value = _unwrap(entry.answer)
    if isinstance(value, bool | np.bool_):
        return Target("true or false", (bool(value),))
    if isinstance(value, str):
        return Target("word", (_plain(value),))
    if np.ndim(value) == 0:
        return Target("number", (_around(value, within),))
    if isinstance(value[0], str):
        return Target("words", tuple(map(_plain, value)))
    return Target("numbers", tuple(_around(one, within) for one in value))


def form(exercise: Exercise) -> str:
    """What is asked for, such as "a number" or "a list of 3 words, each one of red, blue"."""
    right = target(Wrong("", answer=exercise.example) if exercise.reference else exercise)
    choices = ", ".join(exercise.choices)
    if right.kind == "true or false":
        return "True or False"
    if right.kind.endswith("s"):
        each = f", each one of {choices}" if choices else ""
        return f"a list of {len(right.parts)} {right.kind}{each}"
    if "word" in right.kind:
        return f"a word: one of {choices}" if choices else "a word"
    exact = isinstance(exercise.answer, int) and exercise.within is None
    return "a whole number" if exact else "a number"


def margin(exercise: Exercise) -> str:
    """How far off an answer may be, to follow "a number": half of a range, or a share of it."""
    if form(exercise) != "a number":
        return ""
    if exercise.between:
        low, high = exercise.between
        return f", right within about {(high - low) / 2:.1g}"
    return f", right within {100 * (WITHIN if exercise.within is None else exercise.within):g} %"


def judge(exercise: Exercise, answer: Any, right: Target) -> tuple[bool, str]:
    """Whether an answer is right, and what is to be said of it.

    Raises:
        Unclear: it is of another kind than the one that is asked for.
    """
    parts = _parts(exercise, answer, right.kind)
    if fits(exercise, parts, right):
        return True, exercise.right
    for wrong in exercise.wrong:
        if wrong.times is not None:
            ((low, high),) = right.parts
            ends = sorted((low * wrong.times, high * wrong.times))
            other = Target("number", (tuple(ends),))
        else:
            other = target(wrong, wrong.within or exercise.within)
        if fits(exercise, parts, other):
            return False, f"{wrong.because}."
    return False, f"{_off(parts, right)}. Hint: {exercise.hint}"


def fits(exercise: Exercise, parts: tuple, wanted: Target) -> bool:
    """Whether each part of an answer is what it should be."""
    if len(parts) != len(wanted.parts):
        return False
    if wanted.kind.startswith("number"):
        return all(low <= x <= high for x, (low, high) in zip(parts, wanted.parts, strict=True))
    if wanted.kind == "hidden word":
        return hidden(exercise.number, parts[0]) == wanted.parts[0]
    return parts == wanted.parts


def _plain(word: str) -> str:
    """A word whose capitals, hyphens and spaces do not count."""
    return re.sub(r"[\s_-]+", " ", word).strip().casefold()


def _around(value: float, within: float | None) -> tuple[float, float]:
    if within is None:
        within = NEARLY if isinstance(value, int | np.integer) else WITHIN
    margin = within * abs(float(value))
    return float(value) - margin, float(value) + margin


def _unwrap(value: Any) -> Any:
    """A tensor as an array; what holds one number, as that number."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.reshape(())[()]
    return value


def _parts(exercise: Exercise, value: Any, kind: str) -> tuple:
    """The parts of an answer of the kind that is asked for."""
    value = _unwrap(value)
    if kind == "true or false":
        if not isinstance(value, bool | np.bool_):
            _refuse(exercise, _what(value))
        return (bool(value),)
    one = _word if "word" in kind else _number
    if not kind.endswith("s"):
        return (one(exercise, value, _what(value)),)
    if not (isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1):
        _refuse(exercise, _what(value))
    return tuple(one(exercise, part, f"a list with {_what(part)}") for part in value)


def _refuse(exercise: Exercise, what: str) -> NoReturn:
    raise Unclear(f"{exercise.number} asks for {form(exercise)}; this is {what}")


def _word(exercise: Exercise, value: Any, what: str) -> str:
    if not isinstance(value, str):
        _refuse(exercise, what)
    word = _plain(value)
    if exercise.choices and word not in map(_plain, exercise.choices):
        _refuse(exercise, what)
    return word


def _number(exercise: Exercise, value: Any, what: str) -> float:
    value = _unwrap(value)
    if isinstance(value, str | bool | np.bool_):
        _refuse(exercise, what)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        _refuse(exercise, what)
    if not np.isfinite(number):
        raise Unclear(
            f"{exercise.number}: this is {number}, as after a division by zero or a mean of nothing"
        )
    return number


def _what(value: Any) -> str:
    """What a reader has handed over, in few words."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, bool | int | float | np.generic):
        return f"{value}"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)}"
    if isinstance(value, tuple | list):
        return "a pair (no uncertainty, please)" if len(value) == 2 else "a list"
    return f"an object of type {type(value).__name__}"


def _off(parts: tuple, right: Target) -> str:
    """What is wrong with an answer that nobody has foreseen."""
    if len(parts) != len(right.parts):
        return f"{len(right.parts)} {right.kind} are asked for, these are {len(parts)}"
    if not right.kind.startswith("number"):
        ordered = right.kind == "words" and sorted(parts) == sorted(right.parts)
        return "the right words, in another order" if ordered else "this is not the answer"
    both = list(zip(parts, right.parts, strict=True))
    first, (x, (low, high)) = next(
        (i, (x, ends)) for i, (x, ends) in enumerate(both, 1) if not ends[0] <= x <= ends[1]
    )
    which = f"number {first} is" if len(both) > 1 else "this is"
    for factor, words in USUAL.items():
        if low <= x * factor <= high:
            return f"{which} {words}"
    return f"{which} too {'small' if x < low else 'large'}"
