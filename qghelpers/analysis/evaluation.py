"""A finished run judged on held-out jets, beside its baselines."""

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
from qghelpers.data.hdf5 import DataError
from qghelpers.data.jets import JetImages, first_equal, joined
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.distributions import Prior
from qghelpers.training import recipes, runs


def evaluate(
    folder: str | Path,
    jets: JetImages,
    fit_on: JetImages | None = None,
    beside: Sequence[str | Path] = (),
) -> metrics.Table:
    """A run's network beside the baselines, other runs, and other true jets.

    On the run's own file, the test part of its split is used; on any other file, all jets.
    The mean image and the principal components are those of the run's training jets or, on
    another file, of half of that file, the other half being tested.

    Args:
        folder: the run folder; `metrics.json` is written into it.
        jets: all jets of a file, or of several.
        fit_on: all jets of the run's own file, if `jets` are others: then the baselines are
            fitted on the run's training jets, and all of `jets` are tested.
        beside: other run folders, to be judged on the same jets in the same scaled space.

    Returns:
        As `metrics.compare`, with `seconds to train` (as many epochs as there were, as long as
        the median one, since a training may be stopped or disturbed). After the networks come
        `other true jets`, with the distances that only chance makes, and those of images that a
        generative network draws from the standard normal, and from a prior fitted to the
        training jets.

    Raises:
        qghelpers.DataError: a run or a file cannot be used, or some of `jets` are among the
            training jets in `fit_on`.
    """
    folder = Path(folder)
    model, config = runs.load_run(folder), runs.read_config(folder)
    _advise_reference(config, [name_of(run) for run in (*beside, folder)])
    if fit_on is None:
        train, test = held_out(folder, jets)
        _say_if_unchecked(config, jets)
    else:
        train, test = held_out(folder, fit_on)[0], jets
        _refuse_seen(folder, train, test)
    models, seconds = _baselines(model, train)
    for run in (*beside, folder):
        name = name_of(run)
        if name in models:
            name += f", {run}"
        models[name] = runs.load_run(run)
        epochs = [row["seconds"] for row in runs.read_history(run)]
        seconds[name] = len(epochs) * median(epochs)
    table = metrics.compare(models, model.scaling, test)
    for name, value in seconds.items():
        table[name]["seconds to train"] = value, 0.0
    truth = physics.of_jets(test)
    others = {"other true jets": physics.of_jets(train[: len(test)])}
    if model.generative:
        others |= _drawn(model, train, len(test))
    for name, sample in others.items():
        table[name] = metrics.distances(truth, sample, paired=False)
    runs.write_json(folder / "metrics.json", {"test_jets": len(test), "table": table})
    return table


def _say_if_unchecked(config: dict, jets: JetImages) -> None:
    """Say that the jets of another file are taken for unseen: a run keeps one hash of its own."""
    if jets.source != config["source"]:
        tqdm.write(
            f"{jets.origin or 'this file'} is not the file of the run, so all of its jets are "
            "taken for unseen; with --fit-on and the run's own file, that is checked",
            file=sys.stderr,
        )


def _refuse_seen(folder: Path, train: JetImages, jets: JetImages) -> None:
    """Raise a DataError if some jets have the label and the energies of training jets."""
    both = [np.concatenate([part.labels for part in (train, jets)])]
    both.extend(np.concatenate([part.sums() for part in (train, jets)]).T)
    seen = int((first_equal(*both)[len(train) :] < len(train)).sum())
    if seen:
        raise DataError(
            f"{folder} was trained on {seen} of the {len(jets)} jets of {jets.origin}: give jets "
            "that it has not seen, or its own file alone, of which the test part is used"
        )


def _advise_reference(config: dict, names: list[str]) -> None:
    """Say how to make the run that this network should be compared with, if there is none."""
    network = recipes.command_name(config)
    if (network, "reference") in recipes.RECIPES and f"{network} (reference)" not in names:
        how = f"train {network} --recipe reference --out DIR, then evaluate --beside DIR"
        tqdm.write(f"the reference recipe is not in this table: {how}", file=sys.stderr)


def _baselines(
    model: JetAutoencoder, train: JetImages
) -> tuple[dict[str, JetAutoencoder], dict[str, float]]:
    """The baselines by name, and the seconds that finding the principal components took."""
    size = latent.code_size(model)
    started = time.perf_counter()
    pca = {f"PCA, {size} numbers": baselines.pca(model.scaling, train, size)}
    seconds = dict.fromkeys(pca, time.perf_counter() - started)
    zero, mean = baselines.zero(model.scaling), baselines.mean(model.scaling, train)
    return {"all-zero image": zero, "mean image": mean} | pca, seconds


def _drawn(model: JetAutoencoder, train: JetImages, n: int) -> dict[str, dict[str, np.ndarray]]:
    """Observables of images drawn from the standard normal, and from a prior fitted to `train`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = [min(metrics.BATCH, n - start) for start in range(0, n, metrics.BATCH)]
        plain, fitted = Prior(1, latent.code_size(model)), latent.fit_prior(model, train)
        samples = {}
        for name, prior in (("from standard normal", plain), ("from fitted prior", fitted)):
            parts = [physics.observables(model.draw(size, prior)) for size in sizes]
            samples[name] = joined(parts)
    return samples


def name_of(run: str | Path) -> str:
    """What a run is called in a table, such as "vae (fast)"."""
    config = runs.read_config(run)
    return f"{recipes.command_name(config)} ({config.get('recipe_name', 'own recipe')})"


def held_out(folder: Path, jets: JetImages) -> tuple[JetImages, JetImages]:
    """Jets to fit baselines on, and held-out jets that neither they nor the run were fitted on.

    Raises:
        qghelpers.DataError: these are the jets of the run, but it was split in another way.
    """
    config = runs.read_config(folder)
    if jets.source != config["source"]:
        return jets.split((0.5, 0.5), config["seed"])
    train, _, test = jets.sample(config.get("limit"), config["seed"]).split(seed=config["seed"])
    if train.fingerprint() != config["train"]["fingerprint"]:
        raise DataError(
            f"{folder} was trained on these jets, but split in another way: evaluate it on "
            "another file, or train with `python -m qghelpers train`"
        )
    return train, test
