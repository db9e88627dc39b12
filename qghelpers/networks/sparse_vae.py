"""A VAE for sparse images: it asks which pixels are lit, on the grid of the HCAL towers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import TOWER_SIZE
from qghelpers.networks.distributions import Gaussian, Hurdle, Prior
from qghelpers.networks.layers import Residual, SpreadTowers, patch_down, patch_up
from qghelpers.networks.vae import GaussianCode, kl_divergence, reparameterise

LIKELIHOODS = {"gaussian": Gaussian, "hurdle": Hurdle}


class SparseVAE(GaussianCode, name="sparse-vae"):
    """A VAE on the detector's own grid, with the log scaling.

    125 pixels are 25 towers of 5, and 25 towers are 5 times 5: encoder and decoder go in these
    steps, and HCAL comes out as towers. The posterior's variance stays below that of the prior, 1.

    Args:
        latent_dim: size of the latent space.
        beta: weight of the divergence in the loss.
        widths: channels at 25 and at 5 pixels a side.
        likelihood: of pixels, given the code: "hurdle" (lit or not, and with what energy) or
            "gaussian", see `distributions`.
        components: Gaussians in the prior that samples are drawn from.

    Raises:
        ValueError: there is no such likelihood.
    """

    def __init__(
        self,
        latent_dim: int = 32,
        beta: float = 1.0,
        widths: Sequence[int] = (64, 192),
        likelihood: str = "hurdle",
        components: int = 10,
    ) -> None:
        super().__init__(scaling="log")
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"no likelihood {likelihood}: there are {', '.join(LIKELIHOODS)}")
        self.latent_dim, self.beta = latent_dim, beta
        self.likelihood = LIKELIHOODS[likelihood]()
        self.prior = Prior(components, latent_dim, self.likelihood.n_totals)
        wide, deep = widths
        maps = 3 * self.likelihood.maps_per_channel
        self.encoder = nn.Sequential(
            patch_down(3, wide),  # (n, wide, 25, 25)
            Residual(wide),
            patch_down(wide, deep),  # (n, deep, 5, 5)
        )
        self.decoder = nn.Sequential(
            patch_up(deep, wide),  # (n, wide, 25, 25)
            Residual(wide),
            nn.Conv2d(wide, TOWER_SIZE**2 * maps, 1),
            nn.PixelShuffle(TOWER_SIZE),  # (n, maps, 125, 125)
            SpreadTowers(),
        )
        start_blank(self.decoder[2], self.likelihood)
        size = deep * TOWER_SIZE**2
        self.to_posterior = nn.Linear(size, 2 * latent_dim)  # two heads: mean and log variance
        self.from_latent = nn.Sequential(
            nn.Linear(latent_dim, size), nn.ReLU(), nn.Unflatten(1, (deep, TOWER_SIZE, TOWER_SIZE))
        )

    def heads(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, `(n, latent_dim)` each, of scaled images."""
        x = self.encoder(scaled).flatten(1)
        mu, log_odds = self.to_posterior(x).float().chunk(2, dim=1)
        return mu, F.logsigmoid(log_odds)

    def maps(self, z: Tensor) -> Tensor:
        """What the likelihood is made of: `(n, 3 * maps_per_channel, 125, 125)`."""
        return self.decoder(self.from_latent(z))

    def decode(self, z: Tensor) -> Tensor:
        """Mean scaled images `(n, 3, 125, 125)` from latent numbers `(n, latent_dim)`."""
        return self.likelihood.mean(self.maps(z))

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`likelihood_loss` of images in GeV/100."""
        scaled = self.scaling(images)
        mu, log_variance = self.heads(scaled)
        maps = self.maps(reparameterise(mu, log_variance, noise))
        return likelihood_loss(self.likelihood(maps, scaled), mu, log_variance, self.beta)

    def reconstruct_energy(self, images: Tensor) -> Tensor:
        """Mean image in GeV/100; for a sparse image this is above the mean scaled image."""
        return self.likelihood.mean_energy(self.maps(self.encode(images)), self.scaling)

    def sharp(self, images: Tensor) -> Tensor:
        return self.likelihood.sharp(self.maps(self.encode(images)), self.scaling)

    def totals(self, images: Tensor) -> Tensor:
        """Sums of an image that the prior fixes besides its code, `(n, likelihood.n_totals)`."""
        return self.likelihood.totals(self.scaling(images))

    @torch.no_grad()
    def draw(self, n: int, prior: Prior | None = None) -> Tensor:
        """New images in GeV/100, `(n, 3, 125, 125)`, from `prior` or the network's own."""
        z, totals = (self.prior if prior is None else prior).sample(n)
        return self.likelihood.sample(self.maps(z), self.scaling, totals)


def likelihood_loss(
    cost: Tensor, mu: Tensor, log_variance: Tensor, beta: float
) -> dict[str, Tensor]:
    """Negative log likelihood plus beta times the divergence from the prior, for each image.

    Args:
        cost: negative log likelihood in nats, with shape `(n,)`.
        mu, log_variance: of the posterior, with shape `(n, latent_dim)`.

    Returns:
        `loss`, `reconstruction` and `kl`, each with shape `(n,)`.
    """
    kl = kl_divergence(mu, log_variance)
    return {"loss": cost + beta * kl, "reconstruction": cost, "kl": kl}


def start_blank(last: nn.Module, likelihood: nn.Module) -> None:
    """Let a decoder's last layer answer every code with the maps of an image of zeros.

    Almost all pixels are zero, and a random start spends its first epochs on unlearning its noise.
    """
    maps = torch.tensor(likelihood.start)
    nn.init.zeros_(last.weight)
    last.bias.data.copy_(maps.repeat_interleave(len(last.bias) // len(maps)))
