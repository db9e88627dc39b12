"""Mistakes that the tests have to notice: each one is made in a copy of the package, and tested.

    python tests/mistakes                      # all lists, one mistake after the other
    python tests/mistakes plots metrics -j 2   # two lists, two mistakes at a time
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = Path(__file__).parent
PARTS = ("qghelpers", "tests", "notebooks", "conftest.py", "pyproject.toml", "README.md")
# With a mistake in one of these the sample and the pile-up have to be made anew
MAKERS = ("qghelpers/simulation", "qghelpers/data/layout", "qghelpers/data/hdf5")
OPTIONS = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-o", "addopts=--mpl"]
SLOW = ("tests/promises", "tests/training")  # asked last if no tests are named
PASSED, FAILED = 0, 1


@dataclass(frozen=True)
class Mistake:
    """One edit: `old` stands once in `file` and is replaced by `new`; `tests` should fail then."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()

    def make(self, copy: Path) -> None:
        """Make it in a copy of the repository.

        Raises:
            ValueError: the text is not there, or more than once.
        """
        path = copy / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.what}: {text.count(self.old)} times in {self.file}")
        path.write_text(text.replace(self.old, self.new))


def read(name: str) -> list[Mistake]:
    """The mistakes of a list."""
    tables = tomllib.loads((LISTS / f"{name}.toml").read_text())["mistake"]
    return [Mistake(**table | {"tests": tuple(table.get("tests", ()))}) for table in tables]


def unit_tests() -> list[str]:
    """All test files, the slow ones last."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
    return sorted(files, key=lambda name: name.startswith(SLOW))


def run(copy: Path, tests: list[str], ready: Path | None) -> tuple[int, str]:
    """Run tests in a copy: pytest's exit code, and the last line that names a failure."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    if ready is not None:
        environment["QGHELPERS_TESTS_FROM"] = str(ready)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *tests],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    last = done.stdout.splitlines()[-1:] or done.stderr.splitlines()[-1:]
    return done.returncode, (lines or last or ["?"])[-1]


def try_out(mistake: Mistake | None, tests: list[str], ready: Path | None) -> tuple[int, str]:
    """Run tests in a copy of the repository with this mistake, or without any."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for part in PARTS:
            source, target = ROOT / part, copy / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        if mistake is not None:
            mistake.make(copy)
            if mistake.file.startswith(MAKERS):
                ready = None
        return run(copy, tests, ready)


def prepare(folder: Path) -> Path:
    """A sample and the pile-up, made without any mistake."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = "import conftest; conftest.make_sample(); print(conftest.HOME)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    home = Path(done.stdout.strip())
    shutil.move(home, folder / "home")
    return folder / "home"


def main() -> int:
    """Try the lists; 0 if every mistake is caught."""
    known = sorted(path.stem for path in LISTS.glob("*.toml"))
    parser = argparse.ArgumentParser(prog="python tests/mistakes", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("lists", nargs="*", default=known, metavar="LIST", help=", ".join(known))
    parser.add_argument("-j", type=int, default=1, dest="jobs", help="mistakes at a time")
    parser.add_argument("--all", action="store_true", help="ask all unit tests")
    args = parser.parse_args()
    mistakes = [mistake for name in args.lists for mistake in read(name)]
    named = {test for mistake in mistakes for test in mistake.tests}
    missed = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.jobs) as pool:
        ready = prepare(Path(folder))
        code, said = try_out(None, sorted(named) or unit_tests(), ready)
        if code != PASSED:
            print(f"without any mistake the tests do not pass: {said}")
            return 1

        def ask(mistake: Mistake) -> tuple[int, str]:
            return try_out(mistake, unit_tests() if args.all else list(mistake.tests) or unit_tests(), ready)

        for mistake, (code, said) in zip(mistakes, pool.map(ask, mistakes), strict=True):
            verdict = {PASSED: "MISSED", FAILED: "caught"}.get(code, f"exit {code}")
            missed += [mistake] if verdict == "MISSED" else []
            print(f"{verdict}  {mistake.file}: {mistake.what}\n        {said}", flush=True)
    print(f"{len(mistakes) - len(missed)} of {len(mistakes)} mistakes caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
