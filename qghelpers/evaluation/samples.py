"""Can drawn jets be told from true ones? Tests of two samples, each of which needs a null.

The null is the same test between two sets of true jets. Distances between single observables see
neither their correlations nor how pixels lie together; classifiers see what they can find.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from qghelpers.analysis import metrics
from qghelpers.analysis import observables as physics
from qghelpers.analysis.pixels import clusters
from qghelpers.data.jets import JetImages, joined
from qghelpers.data.packing import AT_ONCE, Packer
from qghelpers.data.sparse import PIXELS
from qghelpers.evaluation import tagger

Pair = tuple[float, float]  # a value and its uncertainty
SUBSETS = 10  # random parts from which FPD is extrapolated, and of which KPD is the median
KERNEL_POWER = 4
FEWEST = 30  # jets for FPD and KPD: half of them are more than the observables


@dataclass(frozen=True)
class Sample:
    """A set of images, looked at once.

    Attributes:
        images: those at some indices, in GeV/100 with shape `(n, 3, 125, 125)`.
        observables: see `qghelpers.observables`, with shape `(count,)` each.
        clusters: see `pixels.clusters`, with shape `(count, 3)` each.
    """

    images: Callable[[np.ndarray], Tensor]
    observables: dict[str, np.ndarray]
    clusters: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.clusters["lit"])

    @classmethod
    def of_jets(cls, jets: JetImages) -> "Sample":
        """True jets."""
        return cls(
            jets.images, *jets.map(lambda images: (physics.observables(images), clusters(images)))
        )

    @classmethod
    def of_batches(cls, batches: Iterable[Tensor]) -> "Sample":
        """Images `(n, 3, 125, 125)` in GeV/100 that are made batch by batch; kept sparse."""
        packer, parts = Packer(), []
        for images in batches:
            flat = images.permute(0, 2, 3, 1).reshape(-1, PIXELS).contiguous().numpy()
            for start in range(0, len(flat), AT_ONCE):
                packer.add(flat[start : start + AT_ONCE])
            parts.append((physics.observables(images), clusters(images)))
        return cls(packer.packed().dense, *joined(parts))


def compare(truth: Sample, other: Sample, thorough: bool = False) -> dict[str, Pair]:
    """How far one sample is from the truth, as a row of a `Table`.

    Args:
        truth, other: as many images of each as both have are used.
        thorough: train a convolutional network as well, which takes minutes.

    Returns:
        `W1 ...` of each observable; `AUC observables` of boosted trees that are given all of
        these, and `AUC images` of a network: 0.5 if the samples cannot be told apart; `FPD` and
        `KPD`, of `FEWEST` jets or more; and of the other sample, for each channel,
        `neighbours ...`, the mean number of lit pixels among the eight around a lit one, and
        `isolated ...`, the share that has none.
    """
    row = metrics.distances(truth.observables, other.observables, paired=False)
    features = [np.stack(list(sample.observables.values()), axis=1) for sample in (truth, other)]
    size = min(map(len, features))
    features = [values[:size] for values in features]
    row["AUC observables"] = auc_of_trees(*features)
    if thorough:
        row["AUC images"] = auc_of_network(truth, other)
    if size >= FEWEST:
        row["FPD"], row["KPD"] = fpd(*features), kpd(*features)
    for index, channel in enumerate(JetImages.channels):
        lit = other.clusters["lit"][:, index]
        for name in ("neighbours", "isolated"):
            row[f"{name} {channel}"] = metrics.ratio(other.clusters[name][:, index], lit)
    return row


def auc_of_trees(truth: np.ndarray, other: np.ndarray) -> Pair:
    """How well boosted trees tell two samples apart, by five-fold cross-validation.

    Args:
        truth, other: features with shapes `(n, k)` and `(m, k)`.
    """
    labels = np.repeat([0, 1], [len(truth), len(other)])
    trees = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, max_leaf_nodes=8, random_state=0
    )
    order = np.random.default_rng(0).permutation(len(labels))
    features = np.concatenate([truth, other])
    score = np.empty(len(labels))
    score[order] = cross_val_predict(
        trees, features[order], labels[order], cv=5, method="decision_function"
    )
    return metrics.auc(score[labels == 0], score[labels == 1])


def auc_of_network(truth: Sample, other: Sample, seed: int = 0) -> Pair:
    """How well a small network tells two samples of images apart: trained on half, tested on half.

    Args:
        truth, other: as many images of each as both have are used.
        seed: of the network's weights and order.
    """
    half = min(len(truth), len(other)) // 2

    def mixed(first: int) -> Callable[[np.ndarray], Tensor]:
        """True images at even indices, others at odd ones, from `first` on."""
        return lambda rows: _interleaved(truth, other, first, rows)

    labels = np.arange(2 * half) % 2
    model = tagger.train(mixed(0), labels, seed=seed)
    score = tagger.scores(model, mixed(half), 2 * half)
    return metrics.auc(score[labels == 0], score[labels == 1])


def _interleaved(truth: Sample, other: Sample, first: int, rows: np.ndarray) -> Tensor:
    images = truth.images(first + rows // 2)
    odd = np.flatnonzero(rows % 2)
    images[odd] = other.images(first + rows[odd] // 2)
    return images


def fpd(truth: np.ndarray, other: np.ndarray) -> Pair:
    r"""Fréchet distance between Gaussians with the samples' means and covariances.

    $$ |\mu_1 - \mu_2|^2 + \mathrm{Tr}(C_1 + C_2 - 2 (C_1 C_2)^{1/2}) $$

    of features divided by their largest absolute value among the true ones, extrapolated to
    infinitely many jets by a line in the inverse of their number (Kansal et al.,
    arXiv:2211.10295, where it is called FPD).

    Args:
        truth, other: features with shapes `(n, k)` and `(m, k)`.
    """
    truth, other = _normalised(truth, other)
    rng, n = np.random.default_rng(0), min(len(truth), len(other))
    sizes = np.linspace(max(n // 4, truth.shape[1] + 2), n // 2, SUBSETS).astype(int)
    values = [
        np.mean([_frechet(*_parts(rng, size, truth, other)) for _ in range(SUBSETS)])
        for size in sizes
    ]
    found, covariance = curve_fit(lambda inverse, a, b: a + b * inverse, 1 / sizes, values)
    return float(found[0]), float(np.sqrt(covariance[0, 0]))


def _frechet(a: np.ndarray, b: np.ndarray) -> float:
    moved = a.mean(axis=0) - b.mean(axis=0)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, axes = np.linalg.eigh(first)
    root = axes * np.sqrt(values.clip(0)) @ axes.T
    product = np.linalg.eigvalsh(root @ second @ root)  # the eigenvalues of first @ second
    return float(moved @ moved + np.trace(first + second) - 2 * np.sqrt(product.clip(0)).sum())


def kpd(truth: np.ndarray, other: np.ndarray) -> Pair:
    r"""Squared maximum mean discrepancy with the kernel $(x \cdot y / k + 1)^4$, unbiased.

    Of features divided by their largest absolute value among the true ones; the median over
    random parts, and half the interval that holds 68 % of them (Kansal et al.,
    arXiv:2211.10295, where it is called KPD).

    Args:
        truth, other: features with shapes `(n, k)` and `(m, k)`.
    """
    truth, other = _normalised(truth, other)
    rng, size = np.random.default_rng(0), min(len(truth), len(other)) // 2
    values = [_discrepancy(*_parts(rng, size, truth, other)) for _ in range(SUBSETS)]
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return float(middle), float((high - low) / 2)


def _discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** KERNEL_POWER

    within = 0.0
    for x in (a, b):
        own = kernel(x, x)
        within += (own.sum() - np.trace(own)) / (len(x) * (len(x) - 1))
    return within - 2 * float(kernel(a, b).mean())


def _normalised(truth: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    largest = np.abs(truth).max(axis=0)
    largest[largest == 0] = 1
    return truth / largest, other / largest


def _parts(rng: np.random.Generator, size: int, *samples: np.ndarray) -> list[np.ndarray]:
    return [sample[rng.choice(len(sample), size, replace=False)] for sample in samples]
