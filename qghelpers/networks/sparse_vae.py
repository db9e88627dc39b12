"""VAEs for sparse images, on the grid of the HCAL towers; one draws its images pixel by pixel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import CHANNELS, TOWER_SIZE
from qghelpers.networks.distributions import Gaussian, Prior
from qghelpers.networks.layers import Residual, SpreadTowers, ZScore, lit, patch_down, patch_up
from qghelpers.networks.passes import Noise, PixelPasses
from qghelpers.networks.vae import GaussianCode, kl_divergence, reparameterise

if TYPE_CHECKING:
    from qghelpers.data.jets import JetImages

WEIGHT_OF_ENERGY = 0.5  # of what the code is asked for, beside the likelihood of the pixels
AT_ONCE = 16  # images that are drawn: as many as a processor keeps close at hand
WEIGHT_OF_PROFILE = 20.0  # with 1 it is hardly learnt: thousands of pixels outweigh 79 sums


class TowerVAE(GaussianCode):
    """A VAE on the detector's own grid, with the log scaling and a calibrated decoder.

    125 pixels are 25 towers of 5, and 25 towers are 5 times 5: encoder and decoder go in these
    steps, and HCAL comes out as towers. The posterior's variance stays below that of the prior, 1.

    Args:
        latent_dim: size of the latent space.
        beta: weight of the divergence in the loss.
        widths: channels at 25 and at 5 pixels a side.
        components: Gaussians in the prior that samples are drawn from.
    """

    channels = len(CHANNELS)  # of what the encoder sees
    sums = 0  # numbers that the posterior is given beside the encoder's
    tower = 1.0  # of HCAL: it has one value, however many pixels

    def __init__(
        self,
        latent_dim: int = 32,
        beta: float = 1.0,
        widths: Sequence[int] = (64, 192),
        components: int = 10,
    ) -> None:
        super().__init__(scaling="log")
        self.latent_dim, self.beta = latent_dim, beta
        self.prior = Prior(components, latent_dim)
        wide, deep = widths
        self.encoder = nn.Sequential(
            patch_down(self.channels, wide),  # (n, wide, 25, 25)
            Residual(wide),
            patch_down(wide, deep),  # (n, deep, 5, 5)
        )
        size = deep * TOWER_SIZE**2
        self.to_posterior = nn.Linear(size + self.sums, 2 * latent_dim)
        self.from_latent = nn.Sequential(
            nn.Linear(latent_dim, size), nn.ReLU(), nn.Unflatten(1, (deep, TOWER_SIZE, TOWER_SIZE))
        )
        self.to_features = nn.Sequential(patch_up(deep, wide), Residual(wide))
        self.to_image, self.image = to_pixels(wide), Gaussian(tower=self.tower)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, `(n, latent_dim)` each, of images in GeV/100."""
        return self._posterior(self.encoder(self.scaling(images)).flatten(1))

    def _posterior(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_odds = self.to_posterior(seen).float().chunk(2, dim=1)
        return mu, F.logsigmoid(log_odds)

    def features(self, z: Tensor) -> Tensor:
        """What an image is made of at each tower, `(n, wide, 25, 25)`."""
        return self.to_features(self.from_latent(z))

    def decode(self, z: Tensor) -> Tensor:
        """Mean scaled images `(n, 3, 125, 125)` from latent numbers `(n, latent_dim)`."""
        return self.to_image(self.features(z)).float()

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Negative log likelihood of scaled pixels, plus beta times the divergence; in nats."""
        mu, log_variance = self.posterior(images)
        mean = self.decode(reparameterise(mu, log_variance, noise))
        image, kl = self.image(mean, self.scaling(images)), kl_divergence(mu, log_variance)
        return {"loss": image + self.beta * kl, "image": image, "kl": kl}

    @torch.no_grad()
    def draw(self, n: int, prior: Prior | None = None) -> Tensor:
        """New images in GeV/100, `(n, 3, 125, 125)`, from `prior` or the network's own."""
        return self._image((self.prior if prior is None else prior).sample(n))

    def _image(self, z: Tensor) -> Tensor:
        return self.scaling.inverse(self.decode(z))


class SparseVAE(TowerVAE, name="sparse-vae"):
    """A VAE whose images are drawn pixel by pixel, with a code that knows what was measured.

    Its loss has the two terms of a VAE, in nats: the likelihood of the pixels, `PixelPasses`, each
    counted once, and the divergence. A decoder that sees neighbouring pixels can do without a
    code (Chen et al., "Variational Lossy Autoencoder", arXiv:1611.02731); so the code alone is
    asked, too, for the mean image, scaled and in z-scores, and for the `Profile`, with which the
    drawn pixels are to agree. The costs of these are Gaussians whose deviations are learnt; they
    describe pixels a second time, and are no part of the likelihood.

    Args:
        latent_dim, beta, widths, components: as in `TowerVAE`.
        weight_of_energy, weight_of_profile: of the mean image in z-scores, and of the profile.
    """

    draws_pixels = True
    channels = 2 * len(CHANNELS)  # scaled energies, and which pixels are lit
    tower = float(TOWER_SIZE**2)  # of the mean images, whose squared error counts every pixel

    def __init__(
        self,
        latent_dim: int = 64,
        beta: float = 1.0,
        widths: Sequence[int] = (64, 128),
        components: int = 10,
        weight_of_energy: float = WEIGHT_OF_ENERGY,
        weight_of_profile: float = WEIGHT_OF_PROFILE,
    ) -> None:
        passes = PixelPasses(widths[0])
        self.sums = passes.profile.size
        super().__init__(latent_dim, beta, widths, components)
        self.weight_of_energy, self.weight_of_profile = weight_of_energy, weight_of_profile
        self.zscore, self.passes = ZScore(), passes
        self.to_energy, self.energy = to_pixels(widths[0]), Gaussian(1.0, self.tower)
        self.to_profile = nn.Linear(latent_dim, self.sums)
        self.log_sigma = nn.Parameter(torch.zeros(self.sums))  # of the profile

    def prepare(self, train: "JetImages") -> None:
        self.zscore.fit(train)
        self.passes.profile.fit(train)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.encoder(torch.cat([self.scaling(images), lit(images)], dim=1)).flatten(1)
        return self._posterior(torch.cat([seen, self.passes.profile(images).to(seen)], dim=1))

    def draw_noise(self, n: int) -> Tensor:
        """Standard normal numbers: for the code, and one that chooses among the passes."""
        return torch.randn(n, self.latent_dim + 1)

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`pixels` (their negative log likelihood), `kl`, and what the code is asked for."""
        noise = self.draw_noise(len(images)) if noise is None else noise
        mu, log_variance = self.posterior(images)
        z = reparameterise(mu, log_variance, noise[:, :-1])
        features = self.features(z)
        profile, chosen = self.to_profile(z).float(), self._passes(images, noise[:, -1])
        pull = (profile - self.passes.profile(images)) * torch.exp(-self.log_sigma)
        parts = {
            "pixels": self.passes(images, features, profile, chosen),
            "kl": kl_divergence(mu, log_variance),
            "image": self.image(self.to_image(features).float(), self.scaling(images)),
            "energy": self.energy(self.to_energy(features).float(), self.zscore(images)),
            "profile": (0.5 * pull.square() + self.log_sigma).sum(dim=1),
        }
        loss = parts["pixels"] + self.beta * parts["kl"] + parts["image"]
        loss = loss + self.weight_of_energy * parts["energy"]
        return {"loss": loss + self.weight_of_profile * parts["profile"], **parts}

    def _passes(self, images: Tensor, normal: Tensor) -> Tensor:
        """One pass for each image, `(n,)`: at random, but in evaluation fixed by the image."""
        number = self.passes.number
        if self.training:
            chosen = (torch.special.ndtr(normal.double()) * number).long().clamp(0, number - 1)
            return chosen.to(images.device)
        return (images != 0).flatten(1).sum(dim=1) % number

    def decode_energy(self, z: Tensor) -> Tensor:
        """Mean images in GeV/100; for a sparse image this is above the mean scaled image."""
        return self.zscore.inverse(self.to_energy(self.features(z)).float()).clamp_min(0)

    def sharp(self, images: Tensor) -> Tensor:
        """Images drawn from their codes in GeV/100, the same one each time for the same image."""
        place = torch.arange(1, images[0].numel() + 1, device=images.device)
        seeds = ((images != 0).flatten(1) * place.square()).sum(dim=1)
        return self.drawn(self.encode(images), seeds)

    def _image(self, z: Tensor) -> Tensor:
        seeds = torch.randint(2**62, (len(z),))
        return self.drawn(z, seeds)

    @torch.no_grad()
    def drawn(self, z: Tensor, seeds: Tensor) -> Tensor:
        """Images in GeV/100 of codes `(n, latent_dim)`, with a seed for each of them, `(n,)`."""
        parts = zip(z.split(AT_ONCE), seeds.split(AT_ONCE), strict=True)
        return torch.cat(
            [
                self.passes.sample(self.features(some), self.to_profile(some), Noise(own))
                for some, own in parts
            ]
        )


def to_pixels(width: int) -> nn.Sequential:
    """From features of each tower to `(n, 3, 125, 125)`; an image of zeros at the start.

    Almost all pixels are zero, and a random start spends its first epochs on unlearning its noise.
    """
    last = nn.Conv2d(width, TOWER_SIZE**2 * len(CHANNELS), 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(last, nn.PixelShuffle(TOWER_SIZE), SpreadTowers())
