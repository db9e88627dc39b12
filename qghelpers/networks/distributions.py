"""Probability distributions: of pixels given a code (likelihoods), and of codes (the prior).

A likelihood is a layer. The decoder makes `maps_per_channel` maps for each channel; what they
mean, and what an image costs given them, stands here and nowhere else.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.distributions import Gamma
from torch.nn import functional as F

from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT, SMALLEST_DEPOSITS, TOWER_SIZE
from qghelpers.networks.layers import LogScale

WEIGHT_OF_TOTALS = 20.0  # with 1 the number of lit pixels is hardly learnt
TILT_ITERATIONS = 10  # each one shrinks the gap by the mean probability of the lit pixels
PRIOR_LEVELS = np.linspace(0, 1, 201)  # shares of the jets whose quantiles the prior keeps


class Gaussian(nn.Module):
    r"""A Gaussian whose standard deviation is learnt, one for each channel: a calibrated decoder.

    Squared errors are weighted with $1 / 2\sigma^2$, so $2\sigma^2$ plays the role of beta
    (Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", arXiv:2006.13202).
    """

    maps_per_channel = 1  # the mean scaled image
    n_totals = 0  # how many sums of an image can be fixed when one is drawn
    start = (0.0,)  # value of each map for an image of zeros

    def __init__(self) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.full((len(CHANNELS), 1, 1), math.log(0.05)))

    def forward(self, maps: Tensor, scaled: Tensor) -> Tensor:
        """Negative log likelihood in nats, without the constant of the Gaussian: `(n,)`."""
        pull = (maps - scaled) * torch.exp(-self.log_sigma)
        return (0.5 * pull.square() + self.log_sigma).flatten(1).sum(dim=1)

    def mean(self, maps: Tensor) -> Tensor:
        """Mean scaled image, `(n, 3, H, W)`."""
        return maps

    def sample(self, maps: Tensor, scaling: nn.Module, totals: Tensor | None = None) -> Tensor:
        """The mean image in GeV/100; noise in every pixel would make it no more jet-like."""
        return scaling.inverse(maps)

    mean_energy = sharp = sample  # a Gaussian has only its mean image

    def totals(self, scaled: Tensor) -> Tensor:
        """No sums: `(n, 0)`."""
        return scaled.new_zeros(len(scaled), 0)


class Hurdle(nn.Module):
    r"""Whether a pixel is lit, and if so with what energy.

    Three maps for each channel: the log odds of being lit; the logarithm of the mean energy of a
    lit pixel, around which it has a gamma distribution, of a shape learnt for each channel (a
    hurdle model: Mullahy, Journal of Econometrics 33 (1986) 341); and the mean scaled image,
    again with a calibrated Gaussian. The last follows from the others, but with a cost of its own
    the code holds first what matters most for it. A tower of HCAL is lit or not as a whole, so
    each of its pixels counts as a 25th of one.

    The cost of thousands of pixels outweighs that of their sums, which matter most in physics. So
    two sums of each channel have calibrated Gaussians and a weight of their own: the logarithms
    of the number of lit pixels and of the energy.

    Scaled images are those of the log scaling.

    Args:
        weight_of_totals: weight of the sums in the cost.
    """

    maps_per_channel = 3
    n_totals = 2 * len(CHANNELS)
    start = (-4.0, 0.5, 0.0)

    weight: Tensor

    def __init__(self, weight_of_totals: float = WEIGHT_OF_TOTALS) -> None:
        super().__init__()
        self.weight_of_totals = weight_of_totals
        self.log_shape = nn.Parameter(torch.zeros(len(CHANNELS), 1, 1))
        self.log_sigma_of_totals = nn.Parameter(torch.full((2, len(CHANNELS)), math.log(0.1)))
        self.around_mean = Gaussian()
        weight = torch.tensor([1.0, 1.0, 1 / TOWER_SIZE**2]).view(len(CHANNELS), 1, 1)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, maps: Tensor, scaled: Tensor) -> Tensor:
        """Negative log likelihood in nats, of energies in units of the scaling's noise: `(n,)`.

        The constant of the Gaussian is left out.
        """
        odds, log_energy, mean = maps.float().chunk(3, dim=1)
        weight, log_shape = self.weight.flatten(), self.log_shape.flatten()
        lit = torch.nonzero(scaled > 0, as_tuple=True)  # negative pixels count as not lit
        jet, channel = lit[:2]
        shape, energy = log_shape.exp()[channel], torch.expm1(LogScale.unit * scaled[lit])
        relative = energy.log() - LogScale.unit * log_energy[lit]  # to the mean
        density = shape * (log_shape[channel] + relative - relative.exp()) - torch.lgamma(shape)
        gain = weight[channel] * (odds[lit] + density - energy.log())
        cost = (self.weight * F.softplus(odds)).flatten(1).sum(dim=1)
        cost = cost.index_add(0, jet, gain, alpha=-1) + self.around_mean(mean, scaled)
        return cost + self.weight_of_totals * self._cost_of_totals(odds, log_energy, scaled)

    def _cost_of_totals(self, odds: Tensor, log_energy: Tensor, scaled: Tensor) -> Tensor:
        lit = torch.sigmoid(odds)
        promised = _totals(lit, lit * torch.exp(LogScale.unit * log_energy))
        true = self.totals(scaled).view_as(promised)
        pull = (promised - true) * torch.exp(-self.log_sigma_of_totals)
        return (0.5 * pull.square() + self.log_sigma_of_totals).flatten(1).sum(dim=1)

    def mean(self, maps: Tensor) -> Tensor:
        """Mean scaled image."""
        return maps.float().chunk(3, dim=1)[2]

    def _energy_if_lit(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """Mean energy of a pixel if it is lit, in GeV/100, `(n, 3, H, W)`."""
        return scaling.noise * (scaling.unit * maps.float().chunk(3, dim=1)[1]).exp()

    def mean_energy(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """Mean image in GeV/100: the probability of being lit times the mean energy if lit."""
        odds = maps.float().chunk(3, dim=1)[0]
        return torch.sigmoid(odds) * self._energy_if_lit(maps, scaling)

    def sharp(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """Deterministic sharp image in GeV/100 with the expected number of lit pixels.

        Going from tower to tower, and through the pixels of each, one is lit whenever the
        expected number so far passes another whole number and a half (systematic sampling, Madow
        and Madow, Annals of Mathematical Statistics 15 (1944) 1).
        """
        lit = torch.sigmoid(maps.float().chunk(3, dim=1)[0])
        mean = self._energy_if_lit(maps, scaling)
        return _share(self._light(lit, _systematic) * mean, _sums(lit * mean))

    def totals(self, scaled: Tensor) -> Tensor:
        """Logarithms of the numbers of lit pixels, then of the energies, of each channel: `(n, 6)`.

        Of one more than each, with energies in units of the scaling's noise.
        """
        return _totals(scaled > 0, torch.expm1(LogScale.unit * scaled)).flatten(1)

    def sample(self, maps: Tensor, scaling: nn.Module, totals: Tensor | None = None) -> Tensor:
        """An image in GeV/100, drawn pixel by pixel, and tower by tower in HCAL.

        It has the `totals` asked for, as `totals` counts them; unless given, as many lit
        pixels and as much energy as the maps expect.
        """
        odds, mean = maps.float().chunk(3, dim=1)[0], self._energy_if_lit(maps, scaling)
        energy = _sums(torch.sigmoid(odds) * mean)
        if totals is not None:
            number, energy = torch.expm1(totals).view(-1, 2, len(CHANNELS), 1, 1).unbind(dim=1)
            odds, energy = _tilted(odds, number), scaling.noise * energy
        shape = self.log_shape.exp()
        drawn = Gamma(shape, shape / mean).sample()
        smallest = drawn.new_tensor(SMALLEST_DEPOSITS).view(-1, 1, 1) / GEV_PER_UNIT
        drawn = torch.maximum(drawn, smallest)  # of which a gamma distribution knows nothing
        towers = _towers(drawn[:, 2:])
        drawn[:, 2:] = _pixels(towers[..., :1].expand_as(towers))
        return _share(self._light(torch.sigmoid(odds), _from_random_start) * drawn, energy)

    def _light(self, probability: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
        """Decide by `choose` which pixels, and which towers of HCAL, are lit: zeros and ones."""
        pixels, towers = _towers(probability[:, :2]), _towers(probability[:, 2:])
        lit = choose(pixels.flatten(2)).view(pixels.shape)
        lit_towers = choose(towers.mean(dim=-1)).unsqueeze(-1).expand_as(towers)
        return _pixels(torch.cat([lit, lit_towers], dim=1))


def _from_random_start(probability: Tensor) -> Tensor:
    return _systematic(probability, torch.rand_like(probability[..., :1]))


def _systematic(probability: Tensor, start: float | Tensor = 0.5) -> Tensor:
    passed = (probability.double().cumsum(dim=-1) + start).floor()
    return torch.diff(passed, dim=-1, prepend=torch.zeros_like(passed[..., :1])).float()


def _towers(images: Tensor) -> Tensor:
    """`(n, c, H, W)` as `(n, c, towers, pixels of a tower)`."""
    n, c = images.shape[:2]
    squares = F.pixel_unshuffle(images, TOWER_SIZE).view(n, c, TOWER_SIZE**2, -1)
    return squares.transpose(2, 3)


def _pixels(towers: Tensor) -> Tensor:
    """The inverse of `_towers`, `(n, c, H, W)`."""
    n, c, number, _ = towers.shape
    side = math.isqrt(number)
    squares = towers.transpose(2, 3).reshape(n, c * TOWER_SIZE**2, side, side)
    return F.pixel_shuffle(squares, TOWER_SIZE)


def _totals(lit: Tensor, energy: Tensor) -> Tensor:
    """Logarithms of one more than the sums of both over the pixels: `(n, 2, 3)`."""
    return torch.log1p(torch.stack([lit.sum(dim=(2, 3)), energy.sum(dim=(2, 3))], dim=1))


def _tilted(odds: Tensor, number: Tensor) -> Tensor:
    """Log odds, all of a channel moved alike until `number` `(n, c, 1, 1)` of them are expected."""
    for _ in range(TILT_ITERATIONS):
        ratio = number.clamp_min(1e-3) / _sums(torch.sigmoid(odds))
        odds = odds + ratio.log()
    return odds


def _sums(images: Tensor) -> Tensor:
    """Sum over the pixels of each channel, `(n, c, 1, 1)`."""
    return images.sum(dim=(2, 3), keepdim=True)


def _share(energy: Tensor, total: Tensor) -> Tensor:
    """Energies scaled, in each channel, so that they are `total` `(n, c, 1, 1)` together."""
    return energy * (total / _sums(energy).clamp_min(1e-12))


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
        self.register_buffer("quantiles", torch.zeros(len(PRIOR_LEVELS), totals))

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
            "quantiles": np.quantile(totals, PRIOR_LEVELS, axis=0),
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
        totals = [np.interp(shares, PRIOR_LEVELS, values) for shares, values in columns]
        return z, torch.from_numpy(np.stack(totals, axis=1)).to(z)
