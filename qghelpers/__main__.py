"""The command line: `python -m qghelpers simulate | inspect | train | evaluate | benchmark`."""

import argparse
import os
import runpy
import sys
from pathlib import Path

import qghelpers as qg
from qghelpers.data.layout import PROCESSES
from qghelpers.simulation.simulate import PILEUP, simulate
from qghelpers.training.ranks import is_first_process

# Each command imports what it needs: all of it together takes seconds, even to report a typo.

INTERRUPTED = 130  # the exit code that shells use
BENCHMARKS = Path(__file__).parents[1] / "tests" / "benchmarks"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m qghelpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("simulate", help="make a file of jets")
    command.add_argument("out", type=Path, metavar="OUT.hdf5")
    command.add_argument("--jets", type=int, required=True, help="how many; half quark, half gluon")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--workers", type=int, help="processes; all processors unless given")
    command.add_argument(
        "--pileup",
        type=float,
        default=PILEUP,
        metavar="MU",
        help="mean number of other collisions in an image (%(default)g); 0 turns them off",
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

    command = commands.add_parser("inspect", help="say what is in a file")
    command.add_argument("files", type=Path, nargs="+", metavar="FILE.hdf5")

    command = commands.add_parser("train", help="train a network into a run folder")
    command.add_argument("network", choices=("vae", "unet"))
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.hdf5")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.add_argument(
        "--recipe", default="fast", help="one of qghelpers/recipes.py (%(default)s)"
    )
    command.add_argument("--epochs", type=int, help="instead of the recipe's")
    command.add_argument("--batch-size", type=int, help="over all devices, not the recipe's")
    command.add_argument("--lr", type=float, help="largest learning rate, not the recipe's")
    command.add_argument("--limit", type=int, help="use a random subset of this many jets")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--resume", action="store_true", help="go on where DIR was left, if it was"
    )
    command.add_argument("--overwrite", action="store_true", help="replace what is in DIR")
    command.add_argument(
        "--save-every", type=float, default=60, metavar="SECONDS", help="(%(default)g)"
    )
    command.add_argument("--devices", type=int, help="processes on this computer, a GPU each")
    command.add_argument("--nodes", type=int, help="computers, if they are not found out")
    command.add_argument("--accelerator", default="auto", help="such as cpu or cuda")
    command.add_argument("--precision", default="auto", help="such as 32-true or bf16-mixed")
    command.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="unless given, where it pays"
    )
    command.add_argument("--tensorboard", action="store_true", help="write DIR/tensorboard too")

    command = commands.add_parser("evaluate", help="judge a run on jets that it has not seen")
    command.add_argument("run", type=Path, metavar="DIR")
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.hdf5")
    command.add_argument(
        "--fit-on",
        type=Path,
        nargs="+",
        metavar="FILE.hdf5",
        help="the run's own file: fit the baselines on its training jets, test on all of --data",
    )
    command.add_argument(
        "--beside", type=Path, nargs="+", default=(), metavar="DIR", help="other runs to judge"
    )

    command = commands.add_parser("benchmark", help="measure what the project claims")
    command.add_argument("names", nargs="*", metavar="NAME", help="all unless given")
    return parser


def _inspect(args: argparse.Namespace) -> None:
    from qghelpers.data.inspection import inspect

    for path in args.files:
        print(inspect(path))


def _evaluate(args: argparse.Namespace) -> None:
    from qghelpers.analysis.evaluation import evaluate

    print(qg.metrics.format_table(evaluate(args.run, args.data, args.fit_on, args.beside)))


def _train(args: argparse.Namespace) -> int:
    import torch

    from qghelpers.training import runs

    recipe = qg.get_recipe(
        args.network, args.recipe, args.epochs, batch_size=args.batch_size, lr=args.lr
    )
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
        engine=qg.Engine(
            accelerator=args.accelerator,
            devices=args.devices,
            nodes=args.nodes,
            precision=args.precision,
            compile=args.compile,
        ),
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
    known = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        raise ValueError(
            f"no benchmark {', '.join(unknown)}: there are {', '.join(known) or 'none'}"
            f" in {BENCHMARKS}"
        )
    for name in names or known:
        print(f"== {name}")
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked, 2 with one line on stderr if the user can mend it."""
    args = _parser().parse_args(arguments)
    try:
        if args.command == "simulate":
            simulate(
                args.out,
                args.jets,
                args.seed,
                args.workers,
                args.pileup,
                args.process,
                args.pt_hat,
            )
            print(f"{args.out}: {args.jets} {args.process} jets, seed {args.seed}")
        elif args.command == "inspect":
            _inspect(args)
        elif args.command == "train":
            return _train(args)
        elif args.command == "evaluate":
            _evaluate(args)
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
