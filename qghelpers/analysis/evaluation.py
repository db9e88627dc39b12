"""A finished run judged on jets that it has not seen, beside its baselines."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tqdm import tqdm

from qghelpers.analysis import baselines, latent, metrics
from qghelpers.analysis import observables as physics
from qghelpers.data.files import DataError
from qghelpers.data.jets import JetImages
from qghelpers.load import load_jets
from qghelpers.networks.prior import Prior
from qghelpers.networks.vae import VAE
from qghelpers.training import runs

PCA_COMPONENTS = 64  # for a network without a latent size of its own: as the U-Net's bottleneck

Paths = str | Path | Sequence[str | Path]


def evaluate(
    folder: str | Path,
    data: Paths,
    fit_on: Paths | None = None,
    beside: Sequence[str | Path] = (),
) -> metrics.Table:
    """A run's network beside the baselines, other runs, and other true jets.

    On the run's own file, the test part of its split is used; on any other file, all jets.
    The mean image and the principal components are those of the run's training jets or, on
    another file, of half of that file, the other half being tested.

    Args:
        folder: the run folder; `metrics.json` is written into it.
        data: an HDF5 file of jets, or several.
        fit_on: the run's own file, or files, if `data` is another one: then the baselines are
            fitted on the run's training jets, and all jets of `data` are tested.
        beside: other run folders, to be judged on the same jets in the same scaled space.

    Returns:
        As `metrics.compare`, with `seconds to train` (as many epochs as there were, as long as
        the median one, since a training may be stopped or disturbed). After the networks come
        `other true jets`, with the distances that only chance makes, and those of images that a
        VAE draws from the standard normal, and from a prior fitted to the training jets
        (`qghelpers.prior`).

    Raises:
        files.DataError: a run or a file cannot be used.
    """
    folder = Path(folder)
    model, config = runs.load_run(folder), runs.read_config(folder)
    if not any("(reference)" in name_of(run) for run in (*beside, folder)):
        how = f"train {config['network']} --recipe reference --out DIR, then evaluate --beside DIR"
        tqdm.write(f"the usual recipe is not in this table: {how}", file=sys.stderr)
    if fit_on is None:
        train, test = held_out(config, data)
    else:
        train, test = held_out(config, fit_on)[0], load_jets(data)
    components = getattr(model, "latent_dim", PCA_COMPONENTS)
    scaling = model.scaling
    started = time.perf_counter()
    pca = baselines.pca(scaling, train, components)
    seconds = {f"PCA, {components} numbers": time.perf_counter() - started}
    models = {
        "all-zero image": baselines.zero(scaling),
        "mean image": baselines.mean(scaling, train),
        f"PCA, {components} numbers": pca,
    }
    for run in (*beside, folder):
        name = name_of(run)
        if name in models:
            name += f", {run}"
        models[name] = runs.load_run(run)
        epochs = [row["seconds"] for row in runs.read_history(run)]
        seconds[name] = len(epochs) * median(epochs)
    table = metrics.compare(models, scaling, test)
    for name, value in seconds.items():
        table[name]["seconds to train"] = value, 0.0
    truth = physics.of_jets(test)
    table["other true jets"] = metrics.distances(truth, physics.of_jets(train[: len(test)]))
    if isinstance(model, VAE):
        for name, drawn in _drawn(model, train, len(test)).items():
            table[name] = metrics.distances(truth, drawn)
    runs.write_json(folder / "metrics.json", {"test_jets": len(test), "table": table})
    return table


def _drawn(model: VAE, train: JetImages, n: int) -> dict[str, dict[str, np.ndarray]]:
    """Observables of images drawn from the standard normal, and from the fitted prior."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain, fitted = Prior(1, model.latent_dim), latent.fit_prior(model, train).prior
        samples = {}
        for name, prior in (("from standard normal", plain), ("from fitted prior", fitted)):
            model.prior = prior
            sizes = [min(metrics.BATCH, n - start) for start in range(0, n, metrics.BATCH)]
            parts = [physics.observables(model.draw(size)) for size in sizes]
            samples[name] = {
                key: np.concatenate([part[key] for part in parts]) for key in physics.NAMES
            }
    return samples


def name_of(run: str | Path) -> str:
    """What a run is called in a table, such as "vae (fast)"."""
    config = runs.read_config(run)
    return f"{config['network']} ({config.get('recipe_name', 'own recipe')})"


def held_out(config: dict, data: Paths) -> tuple[JetImages, JetImages]:
    """Jets to fit baselines on, and jets that neither they nor the run have seen."""
    limit = config.get("limit")
    jets = load_jets(data, limit, config["seed"])
    if jets.source != config["source"]:
        return (jets if limit is None else load_jets(data)).split((0.5, 0.5), config["seed"])
    train, _, test = jets.split(seed=config["seed"])
    if train.fingerprint() != config["train"]["fingerprint"]:
        raise DataError(
            f"{data} is the file of this run, but the run was split in another way: evaluate it "
            "on another file, or train with `python -m qghelpers train`"
        )
    return train, test
