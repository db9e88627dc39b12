"""A convolutional variational autoencoder for jet images, and its loss.

Kingma and Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114; with beta from Higgins
et al., "beta-VAE", ICLR 2017.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.layers import double, halve
from qghelpers.scaling import SCALINGS

SIDE = 128  # images are brought to 128 x 128, which halves evenly four times


def vae_loss(
    images: Tensor, reconstruction: Tensor, mu: Tensor, log_variance: Tensor, beta: float = 1.0
) -> dict[str, Tensor]:
    r"""Squared error plus beta times the divergence from the prior, for each jet.

    $$ L = \sum_\text{pixels} (x - \hat x)^2 + \beta \, D_{KL}(q(z|x) \,\|\, \mathcal N(0, 1)),
       \qquad D_{KL} = -\tfrac12 \sum_j (1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2) $$

    Args:
        images, reconstruction: with shape `(n, *)`, scaled.
        mu, log_variance: of the posterior, with shape `(n, latent_dim)`.

    Returns:
        `loss`, `reconstruction` and `kl`, each with shape `(n,)`.
    """
    error = (reconstruction - images).square().flatten(1).sum(dim=1)
    kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(dim=1)
    return {"loss": error + beta * kl, "reconstruction": error, "kl": kl}


class VAE(nn.Module):
    """Conv-BatchNorm-ReLU encoder to a latent Gaussian, and its mirror image back.

    Args:
        latent_dim: size of the latent space.
        beta: weight of the divergence in the loss.
        scaling: "zscore" or "log".
        resize: how 125 x 125 becomes 128 x 128: "pad" with zeros or "bilinear".
        zero_init: start from reconstructions of zero everywhere. Almost all pixels are zero, and
            a random start spends its first epochs on unlearning its noise there.
        widths: channels after each halving of the image.
    """

    def __init__(
        self,
        latent_dim: int = 32,
        beta: float = 1.0,
        scaling: str = "zscore",
        resize: str = "pad",
        zero_init: bool = False,
        widths: tuple[int, ...] = (32, 64, 128, 128),
    ) -> None:
        super().__init__()
        self.arguments = {
            "latent_dim": latent_dim,
            "beta": beta,
            "scaling": scaling,
            "resize": resize,
            "zero_init": zero_init,
            "widths": list(widths),
        }
        self.latent_dim, self.beta, self.resize = latent_dim, beta, resize
        self.scaling = SCALINGS[scaling]()
        narrow_to_wide = [3, *widths]
        self.encoder = nn.Sequential(*(halve(a, b) for a, b in pairwise(narrow_to_wide)))
        smallest = (widths[-1], SIDE // 2 ** len(widths), SIDE // 2 ** len(widths))
        features = smallest[0] * smallest[1] * smallest[2]
        self.to_posterior = nn.Linear(features, 2 * latent_dim)
        self.from_latent = nn.Sequential(
            nn.Linear(latent_dim, features), nn.ReLU(), nn.Unflatten(1, smallest)
        )
        wide_to_narrow = narrow_to_wide[:0:-1]
        self.decoder = nn.Sequential(
            *(double(a, b) for a, b in pairwise(wide_to_narrow)),
            nn.ConvTranspose2d(widths[0], 3, kernel_size=4, stride=2, padding=1),
        )
        if zero_init:
            nn.init.zeros_(self.decoder[-1].weight)
            nn.init.zeros_(self.decoder[-1].bias)

    def encode(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each `(n, latent_dim)`."""
        size = scaled.shape[-1]
        if self.resize == "pad":
            scaled = F.pad(scaled, (0, SIDE - size, 0, SIDE - size))
        else:
            scaled = F.interpolate(scaled, size=(SIDE, SIDE), mode="bilinear")
        posterior = self.to_posterior(self.encoder(scaled).flatten(1))
        mu, log_variance = posterior.float().chunk(2, dim=1)
        return mu, log_variance

    def decode(self, z: Tensor, size: int = 125) -> Tensor:
        """Scaled images `(n, 3, size, size)` from latent vectors `(n, latent_dim)`."""
        images = self.decoder(self.from_latent(z))
        if self.resize == "pad":
            return images[..., :size, :size]
        return F.interpolate(images, size=(size, size), mode="bilinear")

    def noise(self, jets: int) -> Tensor:
        """Standard normal numbers, `(jets, latent_dim)`: all the chance that the loss needs."""
        return torch.randn(jets, self.latent_dim)

    def forward(self, scaled: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction from a random point of the posterior, its mean and log variance."""
        mu, log_variance = self.encode(scaled)
        noise = self.noise(len(mu)) if noise is None else noise
        z = mu + torch.exp(0.5 * log_variance) * noise.to(mu.device)
        return self.decode(z, scaled.shape[-1]), mu, log_variance

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`vae_loss` of images in GeV/100, each part with shape `(n,)`."""
        scaled = self.scaling(images)
        return vae_loss(scaled, *self(scaled, noise), beta=self.beta)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Decode the posterior's mean; scaled, with the shape of `images` (in GeV/100)."""
        mu, _ = self.encode(self.scaling(images))
        return self.decode(mu, images.shape[-1])
