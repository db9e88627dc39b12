"""How good is a reconstruction? Errors beside those of baselines, with uncertainties.

Any `JetAutoencoder` can be judged, a baseline from `baselines` included. No single image answers
all questions. Errors are smallest for a mean image, which is a blur; what a physicist measures,
and which pixels are lit, is asked of the sharp image, where a network can make one.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import torch
from scipy.stats import bootstrap, rankdata, wasserstein_distance
from sklearn.metrics import roc_curve
from torch import Tensor, nn

from qghelpers.analysis import baselines, pixels
from qghelpers.analysis import observables as physics
from qghelpers.analysis.tables import Table, format_table
from qghelpers.data.jets import Jet, JetImages
from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT, IMAGE_SIZE
from qghelpers.networks.base import JetAutoencoder

__all__ = [
    "Table",
    "auc",
    "compare",
    "distances",
    "errors",
    "format_table",
    "lost",
    "ratio",
    "reconstruct",
    "returned",
    "roc",
    "same_scaling",
    "wasserstein",
    "with_error",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

BATCH = 128
MOST_JETS = 10_000  # that are made dense together
IMAGES = (len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE)
RESAMPLES, AT_ONCE = 200, 4_000_000  # draws of all jets, and drawn jets that are held at once
PLACES = [f"{row} {column}" for row, column in itertools.product(("even", "odd"), repeat=2)]


@torch.no_grad()
def reconstruct(
    model: JetAutoencoder, images: Tensor | np.ndarray | JetImages, sharp: bool = False
) -> Tensor:
    """What a network makes of images, in the file's units.

    Args:
        model: it is put into evaluation mode.
        images: in GeV/100, with shape `(n, 3, 125, 125)` or, for one image, `(3, 125, 125)`; or
            jets, at most 10,000.
        sharp: a sharp image instead of the mean one, where the network can make one.

    Returns:
        In GeV/100, with the shape of `images`.

    Raises:
        ValueError: `images` have another shape, or there are too many jets.
    """
    model.eval()
    weights = next(itertools.chain(model.parameters(), model.buffers()), None)

    def of_batch(batch: Tensor) -> Tensor:
        moved = batch if weights is None else batch.to(weights.device)
        made = model.sharp(moved) if sharp else model.reconstruct_energy(moved)
        return made.to(batch.device)

    if isinstance(images, JetImages):
        if len(images) > MOST_JETS:
            raise ValueError(
                f"dense images of {len(images)} jets need {len(images) * 187_500 / 1e9:.1f} GB: "
                f"take fewer, such as jets[:{MOST_JETS}], or use jets.map, batch by batch"
            )
        return torch.from_numpy(images.map(of_batch)) if len(images) else images.images()
    images = torch.as_tensor(images.image if isinstance(images, Jet) else images).float()
    if images.ndim not in (3, 4) or images.shape[-3:] != IMAGES:
        raise ValueError(f"images have shape {tuple(images.shape)}, not (n, 3, 125, 125)")
    if images.ndim == 3:
        return of_batch(images[None])[0]
    return of_batch(images) if len(images) else images


def same_scaling(a: nn.Module, b: nn.Module) -> bool:
    """Whether two fitted scalings do the same."""
    first, second = a.state_dict(), b.state_dict()
    return type(a) is type(b) and all(torch.equal(first[name], second[name]) for name in first)


def errors(
    model: JetAutoencoder,
    scaling: nn.Module,
    jets: JetImages,
    spaces: Mapping[str, nn.Module] | None = None,
) -> dict[str, np.ndarray]:
    """How a reconstruction errs, jet by jet.

    Args:
        model: it is put into evaluation mode.
        scaling: in whose space errors are taken; a model with another scaling is judged by its
            image in GeV, scaled.
        jets: n of them.
        spaces: other fitted scalings by name, in which the squared error is taken as well.

    Returns:
        Summed over the pixels of a channel, with shape `(n, 3)`: `MSE` and `L1`, squared and
        absolute error in scaled units; `MSE GeV` and `L1 GeV`; `MSE` and the name of each of the
        `spaces`. Numbers of pixels, with shape `(n,)`: lit in `both`, or in `either` of original
        and reconstruction, `false`ly lit, and `unlit` in the original. `lost_by_place`,
        `lost_by_energy` and `returned_by_place`: see `pixels`; the last axis has the two things
        that each returns. All `observables` of the reconstruction.
    """
    model.eval()

    def of_batch(images: Tensor) -> dict[str, Tensor | np.ndarray]:
        own, energy, sharp = model.reconstructions(images)

        def off_in(space: nn.Module) -> Tensor:
            direct = same_scaling(model.scaling, space)
            return (own if direct else space(energy)) - space(images)

        off, off_gev = off_in(scaling), GEV_PER_UNIT * (energy - images)
        ours, theirs = physics.lit(sharp), physics.lit(images)
        counts = {
            "MSE": off.square().sum(dim=(2, 3)),
            "L1": off.abs().sum(dim=(2, 3)),
            "MSE GeV": off_gev.square().sum(dim=(2, 3)),
            "L1 GeV": off_gev.abs().sum(dim=(2, 3)),
            "both": (ours & theirs).sum(dim=(1, 2, 3)),
            "either": (ours | theirs).sum(dim=(1, 2, 3)),
            "false": (ours & ~theirs).sum(dim=(1, 2, 3)),
            "unlit": (~theirs).sum(dim=(1, 2, 3)),
        }
        for name, space in (spaces or {}).items():
            counts[f"MSE {name}"] = off_in(space).square().sum(dim=(2, 3))
        counts = {name: values.double() for name, values in counts.items()}
        for function in (pixels.lost_by_place, pixels.lost_by_energy, pixels.returned_by_place):
            counts[function.__name__] = torch.stack(function(images, sharp), dim=-1).double()
        return counts | physics.observables(sharp)

    return jets.map(of_batch, BATCH)


def with_error(
    statistic: Callable[..., float], *samples: np.ndarray, paired: bool = True
) -> tuple[float, float]:
    """A statistic and its bootstrap standard error.

    Args:
        statistic: of the samples; with an argument `axis` it is asked for many draws at once.
        samples: with shape `(n,)` each.
        paired: whether the samples are of the same jets, which are then resampled together.
    """
    batch = max(1, AT_ONCE // max(map(len, samples)))
    options = {"n_resamples": RESAMPLES, "batch": batch, "method": "percentile", "rng": 0}
    result = bootstrap(samples, statistic, paired=paired, **options)
    return float(statistic(*samples)), float(result.standard_error)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float]:
    """Sum over jets of one error relative to another's, and its bootstrap standard error.

    Args:
        numerator, denominator: of the same jets, with shape `(n,)`.
    """

    def share(a, b, axis=-1):
        return a.sum(axis=axis) / np.maximum(b.sum(axis=axis), 1e-12)

    return with_error(share, numerator, denominator)


def auc(normal: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve of one score, and its bootstrap standard error.

    That is the share of pairs in which the anomaly has the higher score; a tie is half a pair.
    0.5 is guessing, 1 is perfect, below 0.5 the anomalies look more normal than normal.

    Args:
        normal, anomalous: scores, with shapes `(n,)` and `(m,)`.
    """

    def area(a, b, axis=-1):
        both = np.concatenate([a, b], axis=axis)
        n, m = len(normal), len(anomalous)
        theirs = rankdata(both, axis=axis, nan_policy="raise")[..., n:]
        return (theirs.mean(axis=axis) - (m + 1) / 2) / n

    return with_error(area, normal, anomalous, paired=False)


def roc(normal: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of normal jets flagged, and of anomalous ones, at every threshold."""
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    return roc_curve(truth, np.concatenate([normal, anomalous]))[:2]


def wasserstein(truth: np.ndarray, other: np.ndarray, paired: bool = True) -> tuple[float, float]:
    """Wasserstein-1 distance in standard deviations of the truth, and its bootstrap error.

    Args:
        truth, other: with shape `(n,)`.
        paired: whether both are of the same jets, such as jets and their reconstructions.
    """
    scale = truth.std() or 1.0
    return with_error(lambda a, b: wasserstein_distance(a, b) / scale, truth, other, paired=paired)


def compare(
    models: Mapping[str, JetAutoencoder],
    scaling: nn.Module,
    jets: JetImages,
    spaces: Mapping[str, nn.Module] | None = None,
) -> Table:
    """All metrics for all models.

    Args:
        models: by name.
        scaling: in whose space `MSE` and `L1` are taken.
        jets: held-out ones.
        spaces: as in `errors`.

    Returns:
        For each name, values with their bootstrap standard errors. `MSE`, `L1`, `MSE GeV` and
        `L1 GeV` relative to the all-zero image, of all channels together and of each, such as
        `MSE Tracks`: below 1 is better than blank; and so on for the `spaces`. `IoU`: pixels lit
        in both images, of those lit in either. `false lit`: the share of unlit pixels that the
        reconstruction lights. `returned ...` and `lost ...`: see the functions of these names.
        `W1 ...`: how far the distribution of an observable is from the originals', in their
        standard deviations. `parameters`: numbers that were fitted.
    """
    nothing = errors(baselines.zero(scaling), scaling, jets, spaces)
    kinds = ("MSE", "L1", "MSE GeV", "L1 GeV", *(f"MSE {name}" for name in spaces or {}))
    truth = physics.of_jets(jets)
    table = Table()
    for name, model in models.items():
        own = errors(model, scaling, jets, spaces)
        row = {}
        for kind in kinds:
            row[kind] = ratio(own[kind].sum(axis=1), nothing[kind].sum(axis=1))
            for index, channel in enumerate(jets.channels):
                row[f"{kind} {channel}"] = ratio(own[kind][:, index], nothing[kind][:, index])
        row["IoU"] = ratio(own["both"], own["either"])
        row["false lit"] = ratio(own["false"], own["unlit"])
        row |= returned(own) | lost(own)
        row |= distances(truth, {name: own[name] for name in physics.NAMES})
        row["parameters"] = float(model.parameter_count()), 0.0
        table[name] = row
    return table


def returned(counts: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Shares of the energy of lit pixels that a reconstruction has at the same pixels.

    `returned Tracks, even even`: in an even row and an even column, and so on, if it has energy.

    Args:
        counts: as `errors` returns them.
    """
    return _shares("returned", counts, {"returned_by_place": PLACES})


def lost(counts: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Shares of the pixels above `pixels.BRIGHT` that a reconstruction loses, for each channel.

    `lost Tracks, even even` of those in an even row and an even column, and so on, if there are
    any; by energy, `lost Tracks, 3 to 10 GeV`, between the edges in `pixels.ENERGIES`. Lost is what
    is not lit in the reconstruction: a pixel of which a tenth returns may not be (see `returned`).

    Args:
        counts: as `errors` returns them.
    """
    classes = [f"{low:g} to {high:g} GeV" for low, high in itertools.pairwise(pixels.ENERGIES)]
    classes.append(f"above {pixels.ENERGIES[-1]:g} GeV")
    return _shares("lost", counts, {"lost_by_place": PLACES, "lost_by_energy": classes})


def _shares(what: str, counts: Mapping[str, np.ndarray], kinds: dict[str, list[str]]):
    """`ratio` of the second of two things to the first, of each channel and each kind's classes."""
    row = {}
    for index, channel in enumerate(JetImages.channels):
        for kind, names in kinds.items():
            found = counts[kind][:, index].reshape(-1, len(names), 2)
            for name, (whole, part) in zip(names, found.transpose(1, 2, 0), strict=True):
                if whole.any():
                    row[f"{what} {channel}, {name}"] = ratio(part, whole)
    return row


def distances(
    truth: dict[str, np.ndarray], other: dict[str, np.ndarray], paired: bool = True
) -> dict[str, tuple[float, float]]:
    """The `W1 ...` between two samples' observables, as many jets of each as both have.

    Args:
        truth, other: as `observables` returns them.
        paired: whether both are of the same jets.
    """
    size = min(len(values) for sample in (truth, other) for values in sample.values())
    return {
        f"W1 {name}": wasserstein(truth[name][:size], other[name][:size], paired)
        for name in physics.NAMES
    }
