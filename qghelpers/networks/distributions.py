"""Probability distributions: of pixels around a mean image, and of codes (the prior)."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from qghelpers.data.layout import CHANNELS, TOWER_SIZE


class Gaussian(nn.Module):
    r"""A Gaussian whose standard deviation is learnt, one for each channel: a calibrated decoder.

    Squared errors are weighted with $1 / 2\sigma^2$, so $2\sigma^2$ plays the role of beta
    (Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", arXiv:2006.13202).

    Args:
        sigma: the deviations at the start.
        tower: what the 25 pixels of an HCAL tower, which have one value, count together.
    """

    weight: Tensor

    def __init__(self, sigma: float = 0.05, tower: float = 1.0) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.full((len(CHANNELS), 1, 1), math.log(sigma)))
        weight = torch.tensor([1.0, 1.0, tower / TOWER_SIZE**2]).view(len(CHANNELS), 1, 1)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, mean: Tensor, images: Tensor) -> Tensor:
        """Negative log likelihood in nats, without the constant of the Gaussian: `(n,)`.

        Args:
            mean, images: in the same units, with shape `(n, 3, H, W)`.
        """
        pull = (mean - images) * torch.exp(-self.log_sigma)
        return (self.weight * (0.5 * pull.square() + self.log_sigma)).flatten(1).sum(dim=1)


class Prior(nn.Module):
    """A mixture of Gaussians over latent space; the standard normal until it is fitted.

    A VAE's divergence only pulls each posterior towards the standard normal: where all of them
    together lie is another matter, and a density fitted to that after training gives better
    samples (Ghosh et al., "From Variational to Deterministic Autoencoders", arXiv:1903.12436).

    Args:
        components: how many Gaussians.
        latent_dim: size of the latent space.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, components: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, latent_dim))
        self.register_buffer("factors", torch.eye(latent_dim).repeat(components, 1, 1))

    def fit(self, z: np.ndarray) -> "Prior":
        """Fit the mixture, with full covariances, to latent numbers `(n, latent_dim)`."""
        from sklearn.mixture import GaussianMixture  # takes a second, and only a fit needs it

        mixture = GaussianMixture(len(self.weights), reg_covar=1e-4, random_state=0).fit(z)
        fitted = {
            "weights": mixture.weights_,
            "means": mixture.means_,
            "factors": np.linalg.cholesky(mixture.covariances_),
        }
        for name, values in fitted.items():
            getattr(self, name).copy_(torch.from_numpy(values))
        return self

    def sample(self, n: int) -> Tensor:
        """Latent numbers, `(n, latent_dim)`."""
        chosen = torch.multinomial(self.weights, n, replacement=True)
        normal = torch.randn(n, self.means.shape[1], 1, device=self.means.device)
        return self.means[chosen] + (self.factors[chosen] @ normal)[..., 0]
