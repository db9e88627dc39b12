"""What an autoencoder has learnt: encode jets, look at the cloud, walk through it."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from torch import Tensor

from qghelpers.data.jets import JetImages
from qghelpers.data.layout import IMAGE_SIZE
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.distributions import Prior

__all__ = [
    "active_dimensions",
    "by_size",
    "code_size",
    "cross_probe",
    "decode",
    "encode",
    "explained",
    "fit_prior",
    "kl_per_dimension",
    "linear_probe",
    "posterior",
    "predicted",
    "principal_plane",
    "traverse",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

Values = np.ndarray | Mapping[str, np.ndarray]  # of each jet: one quantity, or several by name
SIZES = Path(__file__).parent / "weights" / "latent-size.npz"


def encode(model: JetAutoencoder, jets: JetImages, batch_size: int = 256) -> np.ndarray:
    """The code of every jet, with shape `(n, k)`.

    Of a VAE the means of the posteriors; of a U-Net its bottleneck, beside which the skip
    connections carry far more.
    """
    return _map(model, jets, lambda images: model.encode(images).float(), batch_size)


def posterior(
    model: JetAutoencoder, jets: JetImages, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log variance of the posterior of every jet, each with shape `(n, latent_dim)`.

    Raises:
        TypeError: the network is not generative, so it has no posterior.
    """
    _need_generative(model, "has no posterior")
    return _map(model, jets, model.posterior, batch_size)


def _map(model: JetAutoencoder, jets: JetImages, function: Callable, batch_size: int = 256):
    """`JetImages.map` with the network in evaluation mode, on its own device."""
    device = _device(model.eval())
    return jets.map(lambda images: function(images.to(device)), batch_size)


def _device(model: JetAutoencoder) -> torch.device:
    """Where it is; a baseline has no parameters, but its scaling has buffers."""
    return next(itertools.chain(model.parameters(), model.buffers())).device


def _need_generative(model: JetAutoencoder, what: str) -> None:
    if not model.generative:
        raise TypeError(f"{type(model).__name__} {what}: give a generative network, such as a VAE")


def code_size(model: JetAutoencoder) -> int:
    """How many numbers the network's code has."""
    blank = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE, device=_device(model.eval()))
    with torch.no_grad():
        return model.encode(blank).shape[1]


def fit_prior(model: JetAutoencoder, jets: JetImages, components: int = 10, seed: int = 0) -> Prior:
    """A prior fitted to the posteriors of these jets, for `model.draw(n, prior)`.

    Args:
        model: a generative network.
        jets: that it was trained on.
        components: Gaussians in the prior.
        seed: of the points drawn from the posteriors.

    Raises:
        TypeError: the network is not generative.
    """
    mu, log_variance = posterior(model, jets)
    noise = np.random.default_rng(seed).standard_normal(mu.shape)
    prior = Prior(components, mu.shape[1])
    return prior.fit(mu + np.exp(0.5 * log_variance) * noise)


def principal_plane(mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates on the two directions of largest variance, and the variance shares of all.

    Args:
        mu: with shape `(n, latent_dim)`.

    Returns:
        Arrays with shapes `(n, 2)` and `(latent_dim,)` (or `(n,)` with fewer jets than that).
    """
    pca = PCA(random_state=0).fit(mu)
    return pca.transform(mu)[:, :2], pca.explained_variance_ratio_


def kl_per_dimension(mu: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """Mean divergence from the prior of each latent number in nats, with shape `(latent_dim,)`."""
    return (-0.5 * (1 + log_variance - mu**2 - np.exp(log_variance))).mean(axis=0)


def active_dimensions(mu: np.ndarray, threshold: float = 0.01) -> np.ndarray:
    """Which latent numbers vary from jet to jet: variance of their means above `threshold`.

    The criterion of Burda, Grosse and Salakhutdinov, arXiv:1509.00519.
    """
    return mu.var(axis=0) > threshold


@torch.no_grad()
def decode(model: JetAutoencoder, codes: np.ndarray | Tensor, energy: bool = False) -> Tensor:
    """Mean images `(n, 3, 125, 125)` of codes `(n, latent_dim)`, on the model's device.

    Args:
        model: a generative network.
        codes: with shape `(n, latent_dim)`.
        energy: images in GeV/100 instead of scaled ones. They are not the same: the mean of
            logarithms is below the logarithm of a mean.

    Raises:
        TypeError: the network is not generative, so its code alone cannot be decoded.
    """
    _need_generative(model, "cannot decode a code alone")
    z = torch.as_tensor(codes, dtype=torch.float32, device=_device(model))
    return model.eval().decode_energy(z) if energy else model.eval().decode(z)


def traverse(
    model: JetAutoencoder, centre: np.ndarray, dimension: int, values: np.ndarray
) -> Tensor:
    """Decode a walk along one latent dimension: scaled images `(len(values), 3, 125, 125)`.

    Args:
        model: a generative network.
        centre: the code that the walk passes through, `(latent_dim,)`.
        dimension: which number of the code is changed.
        values: what it is changed to.

    Raises:
        TypeError: the network is not generative, so its code alone cannot be decoded.
    """
    z = torch.tensor(centre, dtype=torch.float32).repeat(len(values), 1)
    z[:, dimension] = torch.as_tensor(values, dtype=torch.float32)
    return decode(model, z).cpu()


def linear_probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Score of the test jets by a logistic regression on frozen features.

    Args:
        train, test: features with shape `(n, k)`.
        labels: of the training jets, with shape `(n,)`.

    Returns:
        Scores with shape `(len(test),)`, larger for label 1.
    """
    return _probe().fit(train, labels).decision_function(test)


def cross_probe(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Score of every jet by a probe that was fitted on four fifths of the jets, without this one.

    Where jets are few, this judges a representation more precisely than a small test part.

    Args:
        features: frozen, with shape `(n, k)`.
        labels: with shape `(n,)`.

    Returns:
        Scores with shape `(n,)`, larger for label 1.
    """
    return cross_val_predict(_probe(), features, labels, cv=5, method="decision_function")


def predicted(features: np.ndarray, values: Values) -> Values:
    """What a linear fit to frozen features says of each jet, without having been fitted to it.

    Ridge regression (Hoerl and Kennard, Technometrics 12 (1970) 55), of a strength chosen inside
    each fifth's training jets. Each feature goes in by its quantiles, as a Gaussian: else a single
    jet far out bends the line.

    Args:
        features: with shape `(n, k)`.
        values: of each jet, with shape `(n,)`; or several such quantities by name, each with a
            fit of its own, which is faster than one after the other.

    Returns:
        With shape `(n,)`; a jet's is from a fit to the four fifths that it is not in. Of several
        quantities theirs by name.
    """
    quantiles = QuantileTransformer(
        n_quantiles=min(100, len(features) // 2), output_distribution="normal", random_state=0
    )
    ridge = make_pipeline(quantiles, RidgeCV(np.logspace(-2, 4, 13), alpha_per_target=True))
    if not isinstance(values, Mapping):
        return cross_val_predict(ridge, features, values, cv=5)
    fits = cross_val_predict(ridge, features, np.stack(list(values.values()), axis=1), cv=5)
    return dict(zip(values, fits.T, strict=True))


def explained(features: np.ndarray, values: Values) -> float | dict[str, float]:
    """How much of a quantity `predicted` finds in frozen features: R2, cross-validated.

    1 is all of it; 0 is no better than the mean.

    Args:
        features: with shape `(n, k)`.
        values: of each jet, with shape `(n,)`; or several such quantities by name.

    Returns:
        A number; of several quantities theirs by name.
    """
    fits = predicted(features, values)
    if isinstance(values, Mapping):
        return {name: _share(fits[name], truth) for name, truth in values.items()}
    return _share(fits, values)


def _share(fit: np.ndarray, truth: np.ndarray) -> float:
    return 1 - float(((fit - truth) ** 2).mean() / truth.var())


def by_size() -> dict[str, np.ndarray]:
    """Errors of autoencoders with 2 to 64 numbers, and a jet as each gives it back.

    They were trained beforehand; `commands` made the table, with `tests/benchmarks/latent_size.py`.

    Returns:
        `sizes`, `(k,)`. Of "VAE" and of "PCA": `errors VAE`, squared error relative to the blank
        image with its uncertainty, on held-out jets, of all channels together and of each,
        `(k, 4, 2)`; `images VAE`, the centre of the image in GeV/100, `(k, 3, 69, 69)`. `jet`, the
        original, `(3, 69, 69)`. `VAE by PCA`: the ratio of their errors, the jets being the same,
        `(k, 2)`. `active`: latent numbers in use, `(k,)`. `jets`: trained on, epochs, and held out.
    """
    with np.load(SIZES, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _probe():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
