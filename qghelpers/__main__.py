"""The command line: `python -m qghelpers COMMAND`; `COMMANDS` lists them."""

import argparse
import dataclasses
import os
import re
import runpy
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import qghelpers as qg
from qghelpers.boxes import box_options, make_boxes
from qghelpers.evaluation import commands as judging
from qghelpers.files import commands
from qghelpers.simulation.detector import Detector
from qghelpers.simulation.processes import PROCESSES

# Each command imports what it needs: all of it together takes seconds, even to report a typo.

INTERRUPTED = 130  # the exit code that shells use
BENCHMARKS = Path(__file__).parents[1] / "tests" / "benchmarks" / "__main__.py"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Networks:
    """The registered networks, listed when they are needed."""

    def __iter__(self) -> Iterator[str]:
        from qghelpers.training import recipes

        return iter(recipes.networks())

    def __contains__(self, name: str) -> bool:
        return name in tuple(self)


def _add_fields(group: argparse._ArgumentGroup, cls: type) -> None:
    """An option for each field of a dataclass, with the help of its docstring."""
    section = cls.__doc__.split("Attributes:")[1]
    help_of = {
        name: " ".join(text.split())
        for name, text in re.findall(r"^ {8}(\w+): (.+?)(?=^ {8}\w|\Z)", section, re.M | re.S)
    }
    types = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        (kind,) = {*(typing.get_args(types[field.name]) or (types[field.name],))} - {type(None)}
        how = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        option = f"--{field.name.replace('_', '-')}"
        group.add_argument(option, help=help_of[field.name].replace("%", "%%"), **how)


def _given(args: argparse.Namespace, cls: type) -> dict[str, object]:
    """The fields of a dataclass whose options were used."""
    values = ((field.name, getattr(args, field.name)) for field in dataclasses.fields(cls))
    return {name: value for name, value in values if value is not None}


def _simulate_options(command: argparse.ArgumentParser) -> None:
    from qghelpers.simulation.simulate import PILEUP

    command.add_argument("out", type=Path, metavar="OUT.hdf5")
    command.add_argument(
        "--jets", type=commands.whole, required=True, help="how many; half quark, half gluon"
    )
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--workers", type=int, help="processes; all processors unless given")
    command.add_argument(
        "--pileup",
        type=float,
        metavar="MU",
        help=f"mean number of other collisions in an image ({PILEUP:g}); 0 turns them off",
    )
    command.add_argument(
        "--process", choices=PROCESSES, default="qcd", help="quark and gluon jets unless given"
    )
    command.add_argument(
        "--pt-hat",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="transverse momentum of the partons in GeV, instead of the process's own",
    )
    fair = command.add_argument_group("to compare jets fairly, and to learn about chance")
    fair.add_argument("--jet-radius", type=float, metavar="R", help="instead of the process's own")
    fair.add_argument(
        "--jet-pt", type=float, nargs=2, metavar=("LOW", "HIGH"), help="spread pT evenly, in GeV"
    )
    fair.add_argument(
        "--like", type=Path, metavar="FILE.hdf5", help="take pT, eta, radius, pile-up from its jets"
    )
    fair.add_argument(
        "--twins", type=int, default=1, metavar="K", help="images of each jet, with other pile-up"
    )
    fair.add_argument(
        "--mismeasured-tracks", type=float, default=0.0, metavar="SHARE", help="of all tracks"
    )


def _train_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("network", choices=_Networks(), metavar="NETWORK", help="%(choices)s")
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.hdf5")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument("--recipe", default="fast", help="such as reference (%(default)s)")
    command.add_argument(
        "--limit", type=commands.whole, help="use a random subset of this many jets"
    )
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--resume", action="store_true", help="continue the training in DIR")
    command.add_argument("--overwrite", action="store_true", help="replace what is in DIR")
    command.add_argument(
        "--save-every", type=float, default=60, metavar="SECONDS", help="(%(default)g)"
    )
    command.add_argument("--tensorboard", action="store_true", help="write DIR/tensorboard too")
    _add_fields(command.add_argument_group("instead of the recipe's"), qg.Recipe)
    _add_fields(command.add_argument_group("where and how to compute"), qg.Engine)


def _benchmark_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("names", nargs="*", metavar="NAME", help="all unless given")


COMMANDS = {
    "simulate": ("make a file of jets", _simulate_options),
    "fetch": ("download the public file", commands.fetch_options),
    "convert": ("make a file of jets from one with other names or units", commands.convert_options),
    "inspect": ("say what is in a file", commands.inspect_options),
    "train": ("train a network into a run folder", _train_options),
    "evaluate": ("judge a run on held-out jets", judging.evaluate_options),
    "features": ("write the code of every jet to a file", judging.features_options),
    "boxes": ("make black boxes for a class, and their key", box_options),
    "benchmark": ("measure what the project claims", _benchmark_options),
}


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser, with the options of the command that is asked for: those of some need PyTorch."""
    parser = _Parser(prog="python -m qghelpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (what, add_options) in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name in arguments[:1]:
            add_options(command)
    return parser


def _simulate(args: argparse.Namespace) -> None:
    from qghelpers.simulation.simulate import simulate

    if not 0 <= args.mismeasured_tracks <= 1:
        raise ValueError(
            f"a share of {args.mismeasured_tracks:g} of the tracks: 0 to 1 is possible"
        )
    simulate(
        args.out,
        args.jets,
        args.seed,
        args.workers,
        args.pileup,
        args.process,
        args.pt_hat,
        jet_radius=args.jet_radius,
        jet_pt=args.jet_pt,
        like=args.like,
        twins=args.twins,
        detector=Detector(track_mismeasured=args.mismeasured_tracks),
    )


def _evaluate(args: argparse.Namespace) -> None:
    from qghelpers.evaluation.table import evaluate
    from qghelpers.training import runs

    for run in (args.run, *args.beside):
        runs.read_config(run)  # a wrong folder is told before data are read
    fit_on = None if args.fit_on is None else qg.load_jets(args.fit_on)
    print(evaluate(args.run, qg.load_jets(args.data), fit_on, args.beside, args.thorough))


def _features(args: argparse.Namespace) -> None:
    from qghelpers.evaluation import features

    model, jets = features.network(args.network), qg.load_jets(args.data, args.limit)
    features.warn_of_seen(args.network, jets)
    print(f"{qg.features(model, jets, args.out)}: {len(jets)} jets")


def _train(args: argparse.Namespace) -> int:
    import torch

    from qghelpers.training import runs

    recipe = qg.get_recipe(args.network, args.recipe, **_given(args, qg.Recipe))
    if args.resume and args.overwrite:
        raise ValueError("--resume goes on with a run, --overwrite replaces it: give one of them")
    if not args.resume and not args.overwrite:
        runs.refuse_to_overwrite(args.out)
    jets = qg.load_jets(args.data, args.limit, args.seed)
    if is_first_process():
        _warn_of_one_label(jets, args.data)
    train, validation, _ = jets.split(seed=args.seed)
    torch.manual_seed(args.seed)
    history = qg.fit(
        qg.build(args.network, args.recipe),
        train,
        validation,
        recipe,
        seed=args.seed,
        out=args.out,
        resume=args.resume,
        overwrite=args.overwrite,
        engine=qg.Engine(**_given(args, qg.Engine)),
        save_every=args.save_every,
        watch=[qg.TensorBoard(args.out / "tensorboard")] if args.tensorboard else [],
        recipe_name=args.recipe,
        limit=args.limit,
    )
    if len(history) < recipe.epochs:
        return INTERRUPTED
    if is_first_process():
        loss = history[-1]["validation_loss"]
        print(f"{args.out}: {len(history)} epochs, validation loss {loss:.6g}")
    return 0


def _warn_of_one_label(jets: "qg.JetImages", paths: list[Path]) -> None:
    if len(set(jets.labels)) == 1:
        print(
            f"{' '.join(map(str, paths))}: all jets are of one kind ({jets}): the network is "
            "trained, but cannot be used to compare kinds",
            file=sys.stderr,
        )


def _benchmark(names: list[str]) -> None:
    if not BENCHMARKS.is_file():
        raise ValueError(
            f"{BENCHMARKS} is not there: benchmarks come with the repository, not with the "
            "installed package; run this in a clone of it"
        )
    runpy.run_path(str(BENCHMARKS))["main"](names)


def is_first_process() -> bool:
    """Whether this process is the one to speak, of those that were started together.

    It is asked without PyTorch, so that an error is reported at once, whatever cannot be imported.
    """
    ranks = ("RANK",) if "RANK" in os.environ else ("SLURM_PROCID", "LOCAL_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def _accept_any_character() -> None:
    """Print a question mark for what the encoding of the output lacks, such as ± in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 with one line on stderr if the user can mend it."""
    _accept_any_character()
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser(arguments).parse_args(arguments)
    try:
        if args.command == "simulate":
            _simulate(args)
            print(f"{args.out}: {args.jets} {args.process} jets, seed {args.seed}")
        elif args.command == "fetch":
            commands.fetch(args, qg.home() / "data" / qg.layout.PUBLIC_FILE)
        elif args.command == "convert":
            commands.convert(args)
        elif args.command == "inspect":
            commands.inspect(args)
        elif args.command == "train":
            return _train(args)
        elif args.command == "evaluate":
            _evaluate(args)
        elif args.command == "features":
            _features(args)
        elif args.command == "boxes":
            key = make_boxes(args.folder, args.boxes, args.seed, args.jets, args.workers)
            print(f"{args.folder}: {len(key)} boxes; key.csv says what they hold")
        else:
            _benchmark(args.names)
    except (ValueError, ImportError, FloatingPointError) as error:
        if is_first_process():  # the others know nothing more
            message = " ".join(str(error).split())
            print(f"qghelpers {args.command}: {message}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print(f"qghelpers {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
