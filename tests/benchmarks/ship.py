"""Turn a finished and evaluated run into weights that come with the package.

    python tests/benchmarks/ship.py RUN NAME --data FILE.hdf5 --commands "first" "second"

The commands that made data, run and metrics go into the card, in order. So do notes: what else was
measured or tried. The seconds that a training took are left out; they are those of a machine.

    python tests/benchmarks/ship.py RUN vae-reference-encoder --encoder-only

ships no network, only a VAE's encoder in half precision, for `load_reference_encoder`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

import qghelpers as qg
from qghelpers.analysis import pretrained
from qghelpers.analysis.pretrained import WEIGHTS
from qghelpers.data.hdf5 import DataError, replacing
from qghelpers.training import runs

KEPT = ("network", "class", "arguments", "recipe_name", "recipe", "seed")


def ship(
    run: str | Path,
    train: qg.JetImages,
    validation: qg.JetImages,
    commands: list[str],
    name: str,
    folder: Path = WEIGHTS,
    notes: Sequence[str] = (),
) -> Path:
    """Write the weights of a run, their card, and the numbers of the jets that it has seen.

    Args:
        run: folder of the run, with the `metrics.json` of `evaluate`.
        train: the jets that it was trained on, to which a generative network's prior is fitted.
        validation: those by which its best epoch was chosen.
        commands: that made data, run and metrics, in order; they go into the card.
        name: for `load_pretrained`.
        folder: where to put the three files.
        notes: sentences about what else was measured or tried, for the card.

    Returns:
        The card's path.

    Raises:
        DataError: the run is not evaluated, or was trained on other jets.
    """
    run = Path(run)
    config = runs.read_config(run)
    for part, jets in (("train", train), ("validation", validation)):
        if jets.fingerprint() != config[part]["fingerprint"]:
            raise DataError(f"{run} was trained on other jets: name the file that it was given")
    try:
        metrics = json.loads((run / "metrics.json").read_text())
    except OSError as error:
        raise DataError(f"{run} is not evaluated: run `python -m qghelpers evaluate`") from error
    card = {key: config[key] for key in KEPT if key in config} | {
        "data": {part: config[part]["jets"] for part in ("train", "validation")},
        "epochs": len(runs.read_history(run)),
        "commands": commands,
        "notes": list(notes),
        "test_jets": metrics["test_jets"],
        "results": {name: _of_jets(row) for name, row in metrics["table"].items()},
    }
    folder.mkdir(exist_ok=True)
    model = runs.load_run(run)
    if config["network"] == "sparse-vae":
        prior = qg.latent.fit_prior(model, train, len(model.prior.weights))
        model.prior.load_state_dict(prior.state_dict())
    with replacing(folder / f"{name}.safetensors") as temporary:
        temporary.write_bytes(runs.weights_of(model))
    seen = np.concatenate([pretrained.numbers(train), pretrained.numbers(validation)])
    with replacing(folder / f"{name}.seen.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.sort(seen))
    path = folder / f"{name}.json"
    runs.write_json(path, card)
    return path


def ship_encoder(run: str | Path, name: str, folder: Path = WEIGHTS) -> Path:
    """Write what a VAE's code needs, in half precision, and return the file's path.

    The scaling keeps its precision: the energies of pixels go through it.
    """
    state = runs.load_run(run).state_dict()
    kept = {
        name: tensor
        if name.startswith("scaling.") or not tensor.is_floating_point()
        else tensor.half()
        for name, tensor in state.items()
        if name.split(".")[0] in ("scaling", "encoder", "to_posterior")
    }
    path = folder / f"{name}.safetensors"
    with replacing(path) as temporary:
        save_file(kept, temporary)
    return path


def _of_jets(row: dict) -> dict:
    """A row of the table, without the time that is of a machine."""
    return {name: value for name, value in row.items() if name != "seconds to train"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--commands", nargs="+")
    parser.add_argument("--notes", nargs="*", default=())
    parser.add_argument("--encoder-only", action="store_true")
    args = parser.parse_args()
    if args.encoder_only:
        print(ship_encoder(args.run, args.name))
        return
    if not (args.data and args.commands):
        parser.error("give the --data and the --commands that made the run")
    jets = qg.load_jets(args.data)
    config = runs.read_config(args.run)
    seed = config["seed"]
    train, validation, _ = jets.sample(config.get("limit"), seed).split(seed=seed)
    print(ship(args.run, train, validation, args.commands, args.name, notes=args.notes))


if __name__ == "__main__":
    main()
