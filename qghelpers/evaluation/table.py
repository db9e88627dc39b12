"""A finished run judged on held-out jets, beside its baselines."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from qghelpers.analysis import baselines, latent, metrics
from qghelpers.data.hdf5 import DataError
from qghelpers.data.jets import JetImages, first_equal
from qghelpers.data.layout import GLUON, QUARK
from qghelpers.evaluation import probes, samples
from qghelpers.evaluation.samples import Sample
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.distributions import Prior
from qghelpers.networks.layers import LogScale, ZScore
from qghelpers.training import recipes, runs

SETS = 10  # of other true jets, at most, whose mean distance is the floor
FEWEST = 5  # jets to judge by, and to fit on: as many as the trees' cross-validation has parts


def evaluate(
    folder: str | Path,
    jets: JetImages,
    fit_on: JetImages | None = None,
    beside: Sequence[str | Path] = (),
    thorough: bool = False,
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
        thorough: also train supervised networks, see `probes.rows` and `AUC images` in
            `samples.compare`, which takes some ten minutes.

    Returns:
        As `metrics.compare`, in the spaces of both scalings, with `seconds to train` (as many
        epochs as there were, as long as the median one, since a training may be stopped or
        disturbed). The principal components are fitted in the run's own space, and in the other
        ones as well. After the networks come the rows of `samples.compare`: `other true jets`,
        with what only chance makes (the mean over disjoint sets of jets), and images that a
        generative network draws from the standard normal, and from a prior fitted to the
        training jets.

    Raises:
        qghelpers.DataError: a run or a file cannot be used, there are too few jets, or some of
            `jets` are among the training jets in `fit_on`.
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
    _require_enough(train, test, thorough)
    spaces = _spaces(model, train)
    models, seconds = _baselines(model, train, spaces)
    for run in (*beside, folder):
        name = name_of(run)
        if name in models:
            name += f", {run}"
        models[name] = runs.load_run(run)
        epochs = [row["seconds"] for row in runs.read_history(run)]
        seconds[name] = len(epochs) * median(epochs)
    scaled = {name: spaces[name] for name in ("log", "z-score")}
    table = metrics.compare(models, model.scaling, test, scaled)
    for name, value in seconds.items():
        table[name]["seconds to train"] = value, 0.0
    truth = Sample.of_jets(test)
    table["other true jets"] = _floor(truth, train, thorough)
    if model.generative:
        for name, sample in _drawn(model, train, len(test)).items():
            table[name] = samples.compare(truth, sample, thorough)
    if thorough:
        coded = {name: one for name, one in models.items() if latent.code_size(one)}
        for name, row in probes.rows(coded, train, test).items():
            table.setdefault(name, {}).update(row)
    runs.write_json(folder / "metrics.json", {"test_jets": len(test), "table": table})
    return table


def _require_enough(train: JetImages, test: JetImages, thorough: bool) -> None:
    """Raise a DataError if there are too few jets to fit on, or to judge by."""
    if min(len(train), len(test)) < FEWEST:
        raise DataError(
            f"{len(test)} jets are too few to judge a network by, or {len(train)} to fit baselines "
            f"on: take {FEWEST} of each at least"
        )
    counts = [np.sum(jets.labels == label) for jets in (train, test) for label in (GLUON, QUARK)]
    if thorough and min(counts) < probes.NEIGHBOURS:
        raise DataError(
            "supervised networks are trained and judged on quark and gluon jets: take "
            f"{probes.NEIGHBOURS} of each at least, or leave out --thorough"
        )


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


def _spaces(model: JetAutoencoder, train: JetImages) -> dict[str, nn.Module]:
    """The spaces in which squared errors are taken: those of both scalings, and energy itself."""
    zscore = model.scaling if isinstance(model.scaling, ZScore) else ZScore().fit(train)
    return {"log": LogScale(), "z-score": zscore, "GeV": ZScore()}


def _baselines(
    model: JetAutoencoder, train: JetImages, spaces: dict[str, nn.Module]
) -> tuple[dict[str, JetAutoencoder], dict[str, float]]:
    """The baselines by name, and the seconds that finding the principal components took."""
    size = latent.code_size(model)
    scalings = {f"PCA, {size} numbers": model.scaling} | {
        f"PCA in {name}, {size} numbers": space
        for name, space in spaces.items()
        if not metrics.same_scaling(space, model.scaling)
    }
    pca, seconds = {}, {}
    for name, scaling in scalings.items():
        started = time.perf_counter()
        pca[name] = baselines.pca(scaling, train, size)
        seconds[name] = time.perf_counter() - started
    zero, mean = baselines.zero(model.scaling), baselines.mean(model.scaling, train)
    return {"all-zero image": zero, "mean image": mean} | pca, seconds


def _floor(truth: Sample, train: JetImages, thorough: bool) -> dict[str, tuple[float, float]]:
    """The row of other true jets: the mean over disjoint sets, with the standard deviation of one.

    The network's test, which takes minutes, is made with the first set alone. Where the jets are
    too few for three sets, that is the only one, with its own uncertainties.
    """
    count = min(SETS, len(train) // len(truth))
    count = count if count > 2 else 1
    order = np.random.default_rng(0).permutation(len(train))[: count * len(truth)]
    rows = [
        samples.compare(truth, Sample.of_jets(train[np.sort(some)]), thorough and not number)
        for number, some in enumerate(np.array_split(order, count))
    ]
    floor = dict(rows[0])
    for name in rows[-1] if count > 1 else ():
        values = [row[name][0] for row in rows]
        floor[name] = float(np.mean(values)), float(np.std(values, ddof=1))
    return floor


def _drawn(model: JetAutoencoder, train: JetImages, n: int) -> dict[str, Sample]:
    """Images drawn from the standard normal, and from a prior fitted to `train`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = [min(metrics.BATCH, n - start) for start in range(0, n, metrics.BATCH)]
        plain, fitted = Prior(1, latent.code_size(model)), latent.fit_prior(model, train)
        return {
            name: Sample.of_batches(model.draw(size, prior) for size in sizes)
            for name, prior in (("from standard normal", plain), ("from fitted prior", fitted))
        }


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
