"""VAEs for sparse images, on the grid of the HCAL towers; one draws its images pixel by pixel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import (
    CHANNELS,
    GEV_PER_UNIT,
    IMAGE_SIZE,
    PIXEL_WIDTH,
    SMALLEST_DEPOSITS,
    TOWER_SIZE,
)
from qghelpers.networks.distributions import Gaussian, Prior
from qghelpers.networks.layers import Residual, SpreadTowers, ZScore, patch_down, patch_up
from qghelpers.networks.passes import Noise, PixelPasses
from qghelpers.networks.vae import GaussianCode, kl_divergence, reparameterise

if TYPE_CHECKING:
    from qghelpers.data.jets import JetImages

WEIGHT_OF_ENERGY = 0.5  # of what the code is asked for, beside the likelihood of the pixels
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
        self.to_image, self.image = to_pixels(wide), Gaussian()

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
    asked, too, for the mean image, scaled and in z-scores, and for the `Profile`. The
    costs of these are Gaussians whose deviations are learnt; they describe pixels a second time,
    and are no part of the likelihood.

    Args:
        latent_dim, beta, widths, components: as in `TowerVAE`.
        weight_of_energy, weight_of_profile: of the mean image in z-scores, and of the profile.
    """

    channels = 2 * len(CHANNELS)  # scaled energies, and which pixels are lit

    def __init__(
        self,
        latent_dim: int = 64,
        beta: float = 1.0,
        widths: Sequence[int] = (64, 192),
        components: int = 10,
        weight_of_energy: float = WEIGHT_OF_ENERGY,
        weight_of_profile: float = WEIGHT_OF_PROFILE,
    ) -> None:
        profile = Profile()
        self.sums = profile.size
        super().__init__(latent_dim, beta, widths, components)
        self.weight_of_energy, self.weight_of_profile = weight_of_energy, weight_of_profile
        self.zscore, self.profile = ZScore(), profile
        self.to_energy, self.energy = to_pixels(widths[0]), Gaussian(sigma=1.0)
        self.to_profile = nn.Linear(latent_dim, profile.size)
        self.log_sigma = nn.Parameter(torch.zeros(profile.size))  # of the profile
        self.passes = PixelPasses(widths[0])

    def prepare(self, train: "JetImages") -> None:
        self.zscore.fit(train)
        self.profile.fit(train)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.encoder(torch.cat([self.scaling(images), _lit(images)], dim=1)).flatten(1)
        return self._posterior(torch.cat([seen, self.profile(images).to(seen)], dim=1))

    def draw_noise(self, n: int) -> Tensor:
        """Standard normal numbers: for the code, and one that chooses among the passes."""
        return torch.randn(n, self.latent_dim + 1)

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`pixels` (their negative log likelihood), `kl`, and what the code is asked for."""
        noise = self.draw_noise(len(images)) if noise is None else noise
        mu, log_variance = self.posterior(images)
        z = reparameterise(mu, log_variance, noise[:, :-1])
        features = self.features(z)
        pull = (self.to_profile(z).float() - self.profile(images)) * torch.exp(-self.log_sigma)
        parts = {
            "pixels": self.passes(images, features, self._passes(images, noise[:, -1])),
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

    def reconstruct_energy(self, images: Tensor) -> Tensor:
        """Mean image in GeV/100; for a sparse image this is above the mean scaled image."""
        mean = self.to_energy(self.features(self.encode(images))).float()
        return self.zscore.inverse(mean).clamp_min(0)

    def sharp(self, images: Tensor) -> Tensor:
        """Images drawn from their codes in GeV/100, the same one each time for the same image."""
        place = torch.arange(1, images[0].numel() + 1, device=images.device)
        seeds = ((images != 0).flatten(1) * place.square()).sum(dim=1)
        return self.passes.sample(self.features(self.encode(images)), Noise(seeds))

    def _image(self, z: Tensor) -> Tensor:
        seeds = torch.randint(2**62, (len(z),))
        return self.passes.sample(self.features(z), Noise(seeds))


def to_pixels(width: int) -> nn.Sequential:
    """From features of each tower to `(n, 3, 125, 125)`; an image of zeros at the start.

    Almost all pixels are zero, and a random start spends its first epochs on unlearning its noise.
    """
    last = nn.Conv2d(width, TOWER_SIZE**2 * len(CHANNELS), 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(last, nn.PixelShuffle(TOWER_SIZE), SpreadTowers())


def _lit(images: Tensor) -> Tensor:
    """Ones where pixels of `(n, 3, H, W)` in GeV/100 are lit, else zeros."""
    smallest = images.new_tensor(SMALLEST_DEPOSITS).view(-1, 1, 1)
    return (images > smallest / GEV_PER_UNIT / 2).to(images)


class Profile(nn.Module):
    r"""Sums over an image that a physicist would ask for first, as standardised numbers.

    With energies $p_i$ in GeV at distances $r_i$ from the image's centre:

    - for each channel and each of ten rings, the logarithms of one more than the number of lit
      pixels, and than the energy;
    - for each channel, the logarithm of one more than the number of lit pixels within the jet;
    - of Tracks, and of ECAL and HCAL together, within the jet with $P = \sum p_i$:
      logarithms of $\sum p_i r_i / P$ (width), of $\sum p_i r_i^2 / P$, of
      $\sqrt{\sum p_i^2} / P$ (pTD), and of one more than $\sqrt{P \sum p_i r_i^2}$ (about the
      mass); and the means of $\eta$, $\phi$, $\eta^2 - \phi^2$ and $2 \eta \phi$.

    Towers of HCAL are counted, not their pixels. Mean and deviation are those of the training
    jets; no number is further than 5 deviations off.
    """

    RINGS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 2.0)  # their edges
    JET = 0.5  # radius

    mean: Tensor
    std: Tensor
    rings: Tensor
    moments: Tensor

    def __init__(self) -> None:
        super().__init__()
        place = (torch.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2) * PIXEL_WIDTH
        eta, phi = (x.flatten() for x in torch.meshgrid(place, place, indexing="ij"))
        distance = torch.hypot(eta, phi)
        edges = torch.tensor(self.RINGS)
        rings = (distance[:, None] >= edges[:-1]) & (distance[:, None] < edges[1:])
        powers = [distance**0, distance, distance**2, eta, phi, eta**2 - phi**2, 2 * eta * phi]
        jet = (distance < self.JET).float()
        self.register_buffer("rings", rings.float(), persistent=False)
        self.register_buffer("moments", torch.stack(powers, dim=1) * jet[:, None], persistent=False)
        self.size = self._sums(torch.zeros(1, len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE)).shape[1]
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    def fit(self, train: "JetImages") -> "Profile":
        """Take mean and standard deviation from `train`."""
        sums = torch.from_numpy(train.map(self._sums))
        self.mean.copy_(sums.mean(dim=0))
        self.std.copy_(sums.std(dim=0).clamp_min(1e-3))
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Of images `(n, 3, 125, 125)` in GeV/100: `(n, size)`, in float32 also under autocast."""
        with torch.autocast(images.device.type, enabled=False):
            return ((self._sums(images) - self.mean) / self.std).clamp(-5, 5)

    def _sums(self, images: Tensor) -> Tensor:
        gev = (images.float().clamp_min(0) * GEV_PER_UNIT).flatten(2)
        lit = _lit(images).float().flatten(2)
        lit[:, 2] /= TOWER_SIZE**2
        counts = torch.cat([lit @ self.rings, lit @ self.moments[:, :1]], dim=2)
        parts = [torch.log1p(counts).flatten(1), torch.log1p(gev @ self.rings).flatten(1)]
        for pt in (gev[:, 0], gev[:, 1] + gev[:, 2]):
            total, *moments = (pt @ self.moments).split(1, dim=1)
            widths = [moment / total.clamp_min(1) for moment in moments]
            ptd = (pt.square() @ self.moments[:, :1]).sqrt() / total.clamp_min(1)
            mass = torch.log1p((moments[1] * total.clamp_min(1)).sqrt())
            parts += [(w + 1e-3).log() for w in widths[:2]] + [(ptd + 1e-2).log(), mass]
            parts += widths[2:]
        return torch.cat(parts, dim=1)
