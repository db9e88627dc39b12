"""Run benchmarks by name: `python -m qghelpers benchmark [NAME ...]`, all unless given."""

import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"__main__", "latent_size", "samples", "ship"}


def main(names: list[str]) -> None:
    """Run the benchmarks.

    Raises:
        ValueError: there is no benchmark of this name.
    """
    known = sorted({path.stem for path in FOLDER.glob("*.py")} - NOT_BENCHMARKS)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no benchmark {', '.join(unknown)}: there are {', '.join(known)}")
    for name in names or known:
        print(f"== {name}")
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
