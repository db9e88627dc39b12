"""Where the latent numbers of jets lie, to draw new ones from there."""

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

LEVELS = np.linspace(0, 1, 201)  # shares of the jets, at which quantiles are kept


class Prior(nn.Module):
    """A mixture of Gaussians over latent space; the standard normal until it is fitted.

    A VAE's divergence only pulls each posterior towards the standard normal: where all of them
    together lie is another matter, and a density fitted to that after training gives better
    samples (Ghosh et al., "From Variational to Deterministic Autoencoders", arXiv:1903.12436).

    Latent numbers do not settle an image's totals, such as its energy; but they narrow them down.
    So the totals are part of the mixture. Each goes in by its quantiles, as a Gaussian, so that
    it is drawn as it was seen, whatever its distribution (a Gaussian copula: Nelsen, "An
    Introduction to Copulas", Springer 2006).

    Args:
        components: how many Gaussians.
        latent_dim: size of the latent space.
        totals: how many further quantities are drawn together with the latent numbers.
    """

    fitted: Tensor
    weights: Tensor
    means: Tensor
    factors: Tensor
    quantiles: Tensor

    def __init__(self, components: int, latent_dim: int, totals: int = 0) -> None:
        super().__init__()
        self.latent_dim, size = latent_dim, latent_dim + totals
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, size))
        self.register_buffer("factors", torch.eye(size).repeat(components, 1, 1))
        self.register_buffer("quantiles", torch.zeros(len(LEVELS), totals))

    def fit(self, z: np.ndarray, totals: np.ndarray | None = None) -> "Prior":
        """Fit the mixture, with full covariances.

        Args:
            z: latent numbers, with shape `(n, latent_dim)`.
            totals: of the same jets, with shape `(n, totals)`.
        """
        totals = np.empty((len(z), 0)) if totals is None else totals
        scores = ndtri((rankdata(totals, axis=0) - 0.5) / len(z))
        points = np.hstack([z, scores])
        mixture = GaussianMixture(len(self.weights), reg_covar=1e-4, random_state=0).fit(points)
        fitted = {
            "weights": mixture.weights_,
            "means": mixture.means_,
            "factors": np.linalg.cholesky(mixture.covariances_),
            "quantiles": np.quantile(totals, LEVELS, axis=0),
        }
        for name, values in fitted.items():
            getattr(self, name).copy_(torch.from_numpy(values))
        self.fitted.fill_(True)
        return self

    def sample(self, n: int) -> tuple[Tensor, Tensor | None]:
        """Latent numbers `(n, latent_dim)` and, once these are known, totals `(n, totals)`."""
        chosen = torch.multinomial(self.weights, n, replacement=True)
        normal = torch.randn(n, self.means.shape[1], 1, device=self.means.device)
        points = self.means[chosen] + (self.factors[chosen] @ normal)[..., 0]
        z, scores = points[:, : self.latent_dim], points[:, self.latent_dim :]
        if not self.fitted or scores.shape[1] == 0:
            return z, None
        columns = zip(ndtr(scores.cpu().numpy()).T, self.quantiles.cpu().numpy().T, strict=True)
        totals = [np.interp(shares, LEVELS, values) for shares, values in columns]
        return z, torch.from_numpy(np.stack(totals, axis=1)).to(z)
