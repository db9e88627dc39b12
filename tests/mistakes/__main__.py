"""Mistakes that the tests have to notice: each one is made in a copy of the package, and tested.

    python tests/mistakes                      # all lists, one mistake after the other
    python tests/mistakes plots analysis -j 2  # two lists, two mistakes at a time
    python tests/mistakes --all                # ask all unit tests, not only those named

A list is a TOML file beside this one, with a table for each mistake: `what` it is, the `file`, the
text in it, `old` and `new`, and the `tests` that catch it. To measure tests on mistakes that
they were not written for, add a list whose tables name no tests: these ask all unit tests.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent
PARTS = ("qghelpers", "tests", "notebooks", "conftest.py", "pyproject.toml", "README.md")
PARTS += ("LICENSE", "CITATION.cff", "CHANGELOG.md", "requirements.txt", "environment.yml")
PARTS += (".ci", ".github", ".site")
SIMULATION = "qghelpers/simulation/"
# with a mistake in one of these the pile-up, or the sample, has to be made anew by the tests
MAKE_PILEUP = tuple(SIMULATION + name for name in ("pythia", "particles", "pileup"))
MAKE_SAMPLE = (SIMULATION, "qghelpers/data/layout", "qghelpers/data/hdf5")
OPTIONS = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-o", "addopts=--mpl"]
SLOW = ("tests/promises", "tests/training")  # asked last if no tests are named
PASSED = 0
CAUGHT = (1, 2)  # exit codes of pytest: a test failed, or the tests could not even be collected


@dataclass(frozen=True)
class Mistake:
    """One edit: `old` stands once in `file` and is replaced by `new`; `tests` should fail then."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


def read(name: str) -> list[Mistake]:
    """The mistakes of a list."""
    tables = tomllib.loads((LISTS / f"{name}.toml").read_text())["mistake"]
    return [Mistake(**table | {"tests": tuple(table.get("tests", ()))}) for table in tables]


def unit_tests() -> list[str]:
    """All test files, the slow ones last."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return sorted(files, key=lambda name: name.startswith(SLOW))


def make_copy(folder: Path) -> Path:
    """A copy of all that the tests need, in which mistakes can be made."""
    folder.mkdir()
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


@contextmanager
def made(mistake: Mistake | None, copy: Path) -> Iterator[None]:
    """Make a mistake in a copy, and take it back.

    Raises:
        ValueError: the text to replace is not there, or more than once.
    """
    if mistake is None:
        yield
        return
    path = copy / mistake.file
    text = path.read_text()
    if text.count(mistake.old) != 1:
        raise ValueError(f"{mistake.what}: {text.count(mistake.old)} times in {mistake.file}")
    path.write_text(text.replace(mistake.old, mistake.new))
    try:
        yield
    finally:
        path.write_text(text)


def ask(tests: Sequence[str], copy: Path, ready: Path, mistake: Mistake | None = None):
    """Run tests on a copy with a mistake: pytest's exit code, and its last line on a failure."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    file = "" if mistake is None else mistake.file
    if not file.startswith(MAKE_PILEUP):
        part = "pileup" if file.startswith(MAKE_SAMPLE) else "all"
        environment["QGHELPERS_TESTS_FROM"] = str(ready / part)
    command = [sys.executable, "-m", "pytest", *OPTIONS, *tests]
    with made(mistake, copy):
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return done.returncode, (failures or lines)[-1]


def prepare(folder: Path) -> Path:
    """Without any mistake: `all`, a home with sample and pile-up; `pileup`, one with that alone."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = "import conftest; conftest.make_sample(); print(conftest.HOME)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    home = Path(done.stdout.strip())
    shutil.copytree(home / "cache", folder / "pileup" / "cache")
    shutil.move(home, folder / "all")
    return folder


def main() -> int:
    """Try the lists; 0 if every mistake is caught."""
    known = sorted(path.stem for path in LISTS.glob("*.toml"))
    parser = argparse.ArgumentParser(prog="python tests/mistakes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("lists", nargs="*", default=known, metavar="LIST", help=", ".join(known))
    parser.add_argument("-j", type=int, default=1, dest="jobs", help="mistakes at a time")
    parser.add_argument("--all", action="store_true", help="ask all unit tests")
    args = parser.parse_args()
    if unknown := [name for name in args.lists if name not in known]:
        parser.error(f"no list {', '.join(unknown)}: there are {', '.join(known)}")
    mistakes = [mistake for name in args.lists for mistake in read(name)]
    tests = {m: () if args.all else m.tests for m in mistakes}
    missed, copies = 0, SimpleQueue()
    if args.jobs > 1:  # else each would start a thread on every processor
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(args.jobs) as pool:
        folder = Path(name)
        ready = prepare(folder / "ready")
        for i in range(args.jobs):
            copies.put(make_copy(folder / f"copy{i}"))

        def verdict(mistake: Mistake | None, tests: Sequence[str]) -> tuple[int, str]:
            copy = copies.get()
            try:
                return ask(tests or unit_tests(), copy, ready, mistake)
            finally:
                copies.put(copy)

        code, said = verdict(None, sorted({test for m in mistakes for test in tests[m]}))
        if code != PASSED:
            print(f"without any mistake the tests do not pass: {said}")
            return 1
        results = pool.map(verdict, mistakes, tests.values())
        for mistake, (code, said) in zip(mistakes, results, strict=True):
            missed += code not in CAUGHT
            word = "caught" if code in CAUGHT else f"MISSED (exit {code})"
            print(f"{word}: {mistake.what}, in {mistake.file}\n    {said}", flush=True)
    print(f"{len(mistakes) - missed} of {len(mistakes)} mistakes caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
