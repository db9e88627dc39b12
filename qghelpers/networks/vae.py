"""A convolutional variational autoencoder for jet images, and its loss.

Kingma and Welling, "Auto-Encoding Variational Bayes", arXiv:1312.6114; with beta from Higgins
et al., "beta-VAE", ICLR 2017.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.jets import JetImages
from qghelpers.data.layout import TOWER_SIZE
from qghelpers.networks.layers import LastDouble, Residual, Towers, double, grow, halve, shrink
from qghelpers.networks.likelihoods import LIKELIHOODS
from qghelpers.networks.pca import PrincipalComponents
from qghelpers.networks.prior import Prior
from qghelpers.networks.scaling import SCALINGS

PRINCIPAL_JETS = 20_000  # at most; of so many they are found in 13 s, on two cores
SIDE = 128  # the body "halves" brings images to 128 x 128, which halves evenly four times


def kl_divergence(mu: Tensor, log_variance: Tensor) -> Tensor:
    r"""Divergence of Gaussians from the standard normal, in nats.

    $$ D_{KL} = -\tfrac12 \sum_j (1 + \log\sigma_j^2 - \mu_j^2 - \sigma_j^2) $$

    Args:
        mu, log_variance: with shape `(n, latent_dim)`.

    Returns:
        With shape `(n,)`.
    """
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum(dim=1)


def vae_loss(
    images: Tensor, reconstruction: Tensor, mu: Tensor, log_variance: Tensor, beta: float = 1.0
) -> dict[str, Tensor]:
    r"""Squared error plus beta times the divergence from the prior, for each jet.

    $$ L = \sum_\text{pixels} (x - \hat x)^2 + \beta \, D_{KL}(q(z|x) \,\|\, \mathcal N(0, 1)) $$

    Args:
        images, reconstruction: with shape `(n, *)`, scaled.
        mu, log_variance: of the posterior, with shape `(n, latent_dim)`.

    Returns:
        `loss`, `reconstruction` and `kl`, each with shape `(n,)`.
    """
    error = (reconstruction - images).square().flatten(1).sum(dim=1)
    kl = kl_divergence(mu, log_variance)
    return {"loss": error + beta * kl, "reconstruction": error, "kl": kl}


def _halves(widths: Sequence[int], maps: int) -> tuple[nn.Module, tuple, nn.Module]:
    """Encoder, shape of what comes out of it, decoder: each step halves, or doubles, the image."""
    ends = [3, *widths]
    encoder = nn.Sequential(*(halve(a, b) for a, b in pairwise(ends)))
    smallest = SIDE // 2 ** len(widths)
    decoder = nn.Sequential(
        *(double(a, b) for a, b in pairwise(ends[:0:-1])),
        LastDouble(widths[0], maps),
    )
    return encoder, (widths[-1], smallest, smallest), decoder


def _towers(widths: Sequence[int], maps: int) -> tuple[nn.Module, tuple, nn.Module]:
    """The same on the detector's own grid: 125 pixels are 25 towers of 5, and those 5 times 5."""
    wide, deep = widths
    encoder = nn.Sequential(shrink(3, wide), Residual(wide), shrink(wide, deep))
    decoder = nn.Sequential(
        grow(deep, wide),
        Residual(wide),
        nn.Conv2d(wide, TOWER_SIZE**2 * maps, 1),
        nn.PixelShuffle(TOWER_SIZE),
        Towers(),
    )
    return encoder, (deep, 5, 5), decoder


BODIES = {"halves": (_halves, (32, 64, 128, 128)), "towers": (_towers, (64, 128))}


class VAE(nn.Module):
    """An encoder of convolutions to a latent Gaussian, and its mirror image back.

    Args:
        latent_dim: size of the latent space.
        beta: weight of the divergence in the loss.
        scaling: "zscore" or "log".
        resize: how the body "halves" makes 128 x 128 pixels of 125 x 125: "pad" with zeros or
            "bilinear".
        zero_init: start from blank reconstructions. Almost all pixels are zero, and a random
            start spends its first epochs on unlearning its noise there.
        body: "halves" for Conv-BatchNorm-ReLU with stride 2 and its transpose, four times each;
            "towers" for steps of five, along the towers of HCAL, which come out as towers.
        widths: channels after each step, four or two; the body's own unless given.
        likelihood: what the decoder says of a pixel: "squared", "gaussian" or "hurdle", see
            `qghelpers.likelihoods`; the last needs the log scaling.
        warm_up: training batches during which beta grows from zero to its value.
        components: Gaussians in the prior that samples are drawn from, see `qghelpers.prior`.
        bounded: whether the posterior's variance stays below 1, the prior's, as that of the best
            posterior does. Where it is the exponential of any number, one strange jet can make
            it, and the divergence, as large as numbers get, and so end a training.
        principal: whether the convolutions work beside the principal components of the training
            jets, which are found before the training and stay as they are: encoder and decoder
            then add to what these say, and learn what they miss.

    Raises:
        ValueError: this likelihood does not go with this scaling, or with `principal`.
    """

    def __init__(
        self,
        latent_dim: int = 32,
        beta: float = 1.0,
        scaling: str = "zscore",
        resize: str = "pad",
        zero_init: bool = False,
        body: str = "halves",
        widths: Sequence[int] | None = None,
        likelihood: str = "squared",
        warm_up: int = 0,
        components: int = 1,
        bounded: bool = True,
        principal: bool = False,
    ) -> None:
        super().__init__()
        if likelihood == "hurdle" and scaling != "log":
            raise ValueError(f'the likelihood "hurdle" needs scaling="log", not {scaling!r}')
        if principal and LIKELIHOODS[likelihood].maps > 1:
            raise ValueError(f"principal components say nothing of the maps of {likelihood!r}")
        build, usual = BODIES[body]
        widths = list(widths or usual)
        self.arguments = {
            "latent_dim": latent_dim,
            "beta": beta,
            "scaling": scaling,
            "resize": resize,
            "zero_init": zero_init,
            "body": body,
            "widths": widths,
            "likelihood": likelihood,
            "warm_up": warm_up,
            "components": components,
            "bounded": bounded,
            "principal": principal,
        }
        self.latent_dim, self.beta, self.warm_up = latent_dim, beta, warm_up
        self.bounded = bounded
        self.resize = resize if body == "halves" else None
        self.scaling = SCALINGS[scaling]()
        self.likelihood = LIKELIHOODS[likelihood]()
        self.prior = Prior(components, latent_dim, self.likelihood.totals)
        self.register_buffer("warm_batches", torch.zeros(()))
        self.encoder, shape, self.decoder = build(widths, 3 * self.likelihood.maps)
        self.to_posterior = nn.Linear(prod(shape), 2 * latent_dim)
        self.from_latent = nn.Sequential(
            nn.Linear(latent_dim, prod(shape)), nn.ReLU(), nn.Unflatten(1, shape)
        )
        if zero_init:
            last = [layer for layer in self.decoder if hasattr(layer, "bias")][-1]
            blank = torch.tensor(self.likelihood.blank)
            nn.init.zeros_(last.weight)
            last.bias.data.copy_(blank.repeat_interleave(len(last.bias) // len(blank)))
        self.principal = PrincipalComponents(latent_dim) if principal else None
        if principal:
            nn.init.zeros_(self.to_posterior.weight)
            nn.init.zeros_(self.to_posterior.bias)

    def start_from(self, train: JetImages) -> None:
        r"""Find the principal components of the scaled training jets, if they are asked for.

        With them, the variance of the posterior starts at the one that costs least: a number that
        moves the image by $s$ costs $s^2\sigma^2$ in squared error and $(\sigma^2 -
        \log\sigma^2) / 2$ in divergence, which is least for $\sigma^2 = 1 / (1 + 2 s^2)$.
        """
        if self.principal is None:
            return
        self.principal.fit(self.scaling, train[:PRINCIPAL_JETS])
        variance = 1 / (1 + 2 * self.principal.spread.square())
        start = torch.logit(variance) if self.bounded else torch.log(variance)
        self.to_posterior.bias.data[self.latent_dim :] = start

    def encode(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the posterior, each `(n, latent_dim)`."""
        size, resized = scaled.shape[-1], scaled
        if self.resize == "pad":
            resized = F.pad(scaled, (0, SIDE - size, 0, SIDE - size))
        elif self.resize == "bilinear":
            resized = F.interpolate(scaled, size=(SIDE, SIDE), mode="bilinear")
        posterior = self.to_posterior(self.encoder(resized).flatten(1))
        mu, log_variance = posterior.float().chunk(2, dim=1)
        if self.principal is not None:
            mu = mu + self.principal.encode(scaled)
        return mu, F.logsigmoid(log_variance) if self.bounded else log_variance

    def maps(self, z: Tensor, size: int = 125) -> Tensor:
        """What the likelihood needs to know: `(n, 3 * likelihood.maps, size, size)`."""
        maps = self.decoder(self.from_latent(z))
        if self.resize == "bilinear":
            maps = F.interpolate(maps, size=(size, size), mode="bilinear")
        maps = maps[..., :size, :size]
        return maps if self.principal is None else maps + self.principal.decode(z)

    def decode(self, z: Tensor, size: int = 125) -> Tensor:
        """Mean scaled images `(n, 3, size, size)` from latent vectors `(n, latent_dim)`."""
        return self.likelihood.mean(self.maps(z, size))

    def noise(self, jets: int) -> Tensor:
        """Standard normal numbers, `(jets, latent_dim)`: all the chance that the loss needs."""
        return torch.randn(jets, self.latent_dim)

    def forward(self, scaled: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Maps decoded from a random point of the posterior, its mean and log variance."""
        mu, log_variance = self.encode(scaled)
        noise = self.noise(len(mu)) if noise is None else noise
        z = mu + torch.exp(0.5 * log_variance) * noise.to(mu.device)
        return self.maps(z, scaled.shape[-1]), mu, log_variance

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """Negative log likelihood plus beta times the divergence of images in GeV/100.

        Returns:
            `loss`, `reconstruction` and `kl`, each with shape `(n,)`; with the likelihood
            "squared" those of `vae_loss`.
        """
        scaled = self.scaling(images)
        maps, mu, log_variance = self(scaled, noise)
        error, kl = self.likelihood(maps, scaled), kl_divergence(mu, log_variance)
        return {"loss": error + self._beta() * kl, "reconstruction": error, "kl": kl}

    def _beta(self) -> float | Tensor:
        if not (self.training and self.warm_up):
            return self.beta
        self.warm_batches += 1
        return self.beta * (self.warm_batches / self.warm_up).clamp_max(1)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Decode the posterior's mean; scaled, with the shape of `images` (in GeV/100)."""
        return self.likelihood.mean(self._maps_of(images))

    def reconstruct_gev(self, images: Tensor) -> Tensor:
        """The mean image in GeV/100 instead: of a sparse image, more than the scaled one's."""
        return self.likelihood.mean_gev(self._maps_of(images), self.scaling)

    def typical(self, images: Tensor) -> Tensor:
        """A sharp image in GeV/100, if the likelihood knows any, with pixels lit or not."""
        return self.likelihood.typical(self._maps_of(images), self.scaling)

    def _maps_of(self, images: Tensor) -> Tensor:
        mu, _ = self.encode(self.scaling(images))
        return self.maps(mu, images.shape[-1])

    @torch.no_grad()
    def draw(self, n: int) -> Tensor:
        """New images in GeV/100, `(n, 3, 125, 125)`, of random points of the prior."""
        z, totals = self.prior.sample(n)
        return self.likelihood.sample(self.maps(z), self.scaling, totals)
