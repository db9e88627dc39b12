"""A convolutional variational autoencoder (VAE) for jet images, and its loss.

Kingma and Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114; with beta from Higgins
et al., "beta-VAE", ICLR 2017.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import IMAGE_SIZE
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.layers import LastUp, down, up

if TYPE_CHECKING:
    from qghelpers.networks.distributions import Prior

SIDE = 128  # pixels a side inside the network: 125 cannot be halved four times


def vae_loss(
    images: Tensor, reconstruction: Tensor, mu: Tensor, log_variance: Tensor, beta: float = 1.0
) -> dict[str, Tensor]:
    r"""Squared error plus beta times the divergence from the prior, for each image.

    $$ L = \sum_\text{pixels} (x - \hat x)^2 + \beta \, D_{KL}(q(z|x) \,\|\, \mathcal N(0, 1)) $$

    Args:
        images, reconstruction: scaled, with shape `(n, 3, H, W)`.
        mu, log_variance: of the posterior, with shape `(n, latent_dim)`.

    Returns:
        `loss`, `reconstruction` and `kl`, each with shape `(n,)`.
    """
    error = squared_error(images, reconstruction)
    kl = kl_divergence(mu, log_variance)
    return {"loss": error + beta * kl, "reconstruction": error, "kl": kl}


def squared_error(images: Tensor, reconstruction: Tensor) -> Tensor:
    """Sum of squared errors over the pixels of each image, `(n,)`; of shapes `(n, 3, H, W)`."""
    return F.mse_loss(reconstruction.float(), images, reduction="none").sum(dim=(1, 2, 3))


def kl_divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence of Gaussians from the standard normal, in nats.

    $$ D_{KL} = -\tfrac12 \sum_j (1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2) $$

    Args:
        mu, log_variance: with shape `(n, latent_dim)`.

    Returns:
        With shape `(n,)`.
    """
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(dim=1)


def reparameterise(mu: Tensor, log_variance: Tensor, noise: Tensor | None = None) -> Tensor:
    """A random point of each posterior, through which gradients flow; all `(n, latent_dim)`.

    Args:
        mu, log_variance: of the posterior.
        noise: standard normal numbers; drawn here if None. `fit` draws them for a whole batch, so
            that they do not depend on the number of processes.
    """
    noise = torch.randn(mu.shape) if noise is None else noise
    return mu + torch.exp(0.5 * log_variance) * noise.to(mu.device)


class GaussianCode(JetAutoencoder):
    """What VAEs share: the code of an image is the mean of a Gaussian posterior.

    They have `latent_dim`, `heads(scaled)` (mean and log variance) and `decode(z)`.
    """

    generative = True

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, `(n, latent_dim)` each, of images in GeV/100."""
        return self.heads(self.scaling(images))

    def encode(self, images: Tensor) -> Tensor:
        return self.posterior(images)[0]

    def reconstruct(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))

    def reconstruct_energy(self, images: Tensor) -> Tensor:
        return self.decode_energy(self.encode(images))

    def draw_noise(self, n: int) -> Tensor:
        return torch.randn(n, self.latent_dim)


class VAE(GaussianCode, name="vae"):
    """An encoder of strided convolutions to a latent Gaussian, and its mirror image back.

    Args:
        latent_dim: size of the latent space.
        beta: weight of the divergence in the loss.
        scaling: "zscore" or "log".
    """

    widths = (32, 64, 128, 128)  # channels at 64, 32, 16 and 8 pixels a side

    def __init__(self, latent_dim: int = 32, beta: float = 1.0, scaling: str = "zscore") -> None:
        super().__init__(scaling)
        self.latent_dim, self.beta = latent_dim, beta
        first, last = self.widths[0], self.widths[-1]
        self.encoder = nn.Sequential(
            nn.Upsample((SIDE, SIDE), mode="bilinear"),  # (n, 3, 128, 128)
            *(down(a, b) for a, b in pairwise((3, *self.widths))),  # (n, 128, 8, 8)
        )
        self.decoder = nn.Sequential(
            *(up(a, b) for a, b in pairwise(self.widths[::-1])),  # (n, 32, 64, 64)
            LastUp(first, 3),  # (n, 3, 128, 128)
            nn.Upsample((IMAGE_SIZE, IMAGE_SIZE), mode="bilinear"),  # (n, 3, 125, 125)
        )
        side = SIDE // 2 ** len(self.widths)
        size = last * side**2
        self.to_posterior = nn.Linear(size, 2 * latent_dim)  # two heads: mean and log variance
        self.from_latent = nn.Sequential(
            nn.Linear(latent_dim, size), nn.ReLU(), nn.Unflatten(1, (last, side, side))
        )

    def heads(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, `(n, latent_dim)` each, of scaled images."""
        x = self.encoder(scaled).flatten(1)
        return self.to_posterior(x).float().chunk(2, dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Scaled images `(n, 3, 125, 125)` from latent numbers `(n, latent_dim)`."""
        return self.decoder(self.from_latent(z))

    def forward(self, scaled: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Image decoded from a random point of the posterior, its mean and log variance."""
        mu, log_variance = self.heads(scaled)
        return self.decode(reparameterise(mu, log_variance, noise)), mu, log_variance

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`vae_loss` of images in GeV/100."""
        scaled = self.scaling(images)
        reconstruction, mu, log_variance = self(scaled, noise)
        return vae_loss(scaled, reconstruction, mu, log_variance, self.beta)

    def error(self, scaled: Tensor, reconstruction: Tensor) -> Tensor:
        return squared_error(scaled, reconstruction)

    @torch.no_grad()
    def draw(self, n: int, prior: "Prior | None" = None) -> Tensor:
        """New images in GeV/100, `(n, 3, 125, 125)`, from a prior or the standard normal."""
        z = self.draw_noise(n) if prior is None else prior.sample(n)
        return self.scaling.inverse(self.decode(z.to(self.to_posterior.weight.device)))
