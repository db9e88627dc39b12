"""The commands `fetch`, `convert` and `inspect`: their options, and what they do."""

import argparse
import sys
from pathlib import Path

from qghelpers.data import layout

__all__ = [
    "convert",
    "convert_options",
    "fetch",
    "fetch_options",
    "inspect",
    "inspect_options",
    "whole",
]


def inspect_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `inspect`."""
    command.add_argument("files", type=Path, nargs="+", metavar="FILE.hdf5")


def fetch_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `fetch`."""
    command.add_argument(
        "out", type=Path, nargs="?", metavar="OUT.hdf5", help="data/ and the public name by default"
    )
    command.add_argument("--url", nargs="+", help="instead of the published addresses")


def convert_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `convert`."""
    command.add_argument("file", type=Path, metavar="FILE", help="HDF5 or Parquet")
    command.add_argument("out", type=Path, metavar="OUT.hdf5")
    command.add_argument(
        "--names",
        type=_pair,
        nargs="+",
        default=(),
        metavar="NAME=ITS_NAME",
        help="what X_jets, y, pt and m0 are called in FILE",
    )
    command.add_argument(
        "--labels",
        type=_pair,
        nargs=2,
        default=(),
        metavar="NAME=VALUE",
        help="what gluon and quark are in FILE",
    )
    command.add_argument("--channels", nargs=3, default=layout.CHANNELS, help="their order in FILE")
    command.add_argument("--divide", type=float, default=1, help="pixels, by 100 if in GeV")
    command.add_argument("--skip-bad", action="store_true", help="leave out jets with NaN")


def _pair(text: str) -> tuple[str, str]:
    """The two sides of "name=value"."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def whole(text: str) -> int:
    """A whole number, also such as 1e4."""
    try:
        if (value := float(text)).is_integer():
            return int(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number")


def fetch(args: argparse.Namespace, public: Path) -> None:
    """Download to the file that is named, or to `public`, and report on it."""
    from qghelpers.files import fetch, inspection

    out = args.out or public
    if not fetch.fetch(out, args.url or fetch.ADDRESSES):
        print(f"{out} is there already", file=sys.stderr)
    print(inspection.inspect(out))


def convert(args: argparse.Namespace) -> None:
    """Convert one file."""
    from qghelpers.files import convert

    names, labels = dict(args.names), dict(args.labels)
    options = names, args.channels, args.divide, labels or None, args.skip_bad
    print(f"{args.out}: {convert.convert(args.file, args.out, *options)} jets")


def inspect(args: argparse.Namespace) -> None:
    """Report on each file."""
    from qghelpers.files import inspection

    for path in args.files:
        print(inspection.inspect(path))
