"""Where the latent numbers of jets lie, to draw new ones from there."""

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn


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
        """Fit the mixture, with full covariances, to points with shape `(n, latent_dim)`."""
        mixture = GaussianMixture(len(self.weights), reg_covar=1e-4, random_state=0).fit(z)
        factors = np.linalg.cholesky(mixture.covariances_)
        for buffer, values in zip(
            (self.weights, self.means, self.factors),
            (mixture.weights_, mixture.means_, factors),
            strict=True,
        ):
            buffer.copy_(torch.from_numpy(values))
        return self

    def sample(self, n: int) -> Tensor:
        """`n` points, with shape `(n, latent_dim)`."""
        chosen = torch.multinomial(self.weights, n, replacement=True)
        normal = torch.randn(n, self.means.shape[1], 1, device=self.means.device)
        return self.means[chosen] + (self.factors[chosen] @ normal)[..., 0]
