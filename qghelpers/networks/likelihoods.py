"""How probable a decoder finds an image: what reconstruction means, pixel by pixel.

A likelihood is a layer. `maps` images of numbers a channel come out of the decoder; what they
mean, and what an image costs given them, stands here and nowhere else.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Gamma
from torch.nn import functional as F

from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT, SMALLEST_DEPOSITS, TOWER_SIZE
from qghelpers.networks.scaling import LogScale

WEIGHT_OF_TOTALS = 20.0  # tried as well: 1, by which the number of lit pixels is hardly learnt
STEPS_OF_TILT = 10  # each leaves a part of the gap, the mean probability of the lit pixels


class SquaredError(nn.Module):
    """The usual sum of squared errors: one map, the scaled image itself.

    As a likelihood: a Gaussian whose variance is 1/2 for every pixel, in scaled units.
    """

    maps = 1
    totals = 0  # how many sums of an image can be asked for when one is drawn
    blank = (0.0,)  # of each map, for an image of zeros

    def forward(self, maps: Tensor, scaled: Tensor) -> Tensor:
        """Cost of scaled images `(n, 3, H, W)`, given maps of the same shape: `(n,)`."""
        return F.mse_loss(maps.float(), scaled, reduction="none").sum(dim=(1, 2, 3))

    def mean(self, maps: Tensor) -> Tensor:
        """Mean scaled image."""
        return maps

    def mean_gev(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """The mean image in GeV/100, for which that of the mean scaled image is taken."""
        return scaling.inverse(maps)

    def typical(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """The same: nothing is known of how images differ from their mean."""
        return self.mean_gev(maps, scaling)

    def sample(self, maps: Tensor, scaling: nn.Module, totals: Tensor | None = None) -> Tensor:
        """The same again."""
        return self.mean_gev(maps, scaling)

    def totals_of(self, scaled: Tensor) -> Tensor:
        """None: `(n, 0)`."""
        return scaled.new_zeros(len(scaled), 0)


class Gaussian(SquaredError):
    r"""A Gaussian whose standard deviation is learnt, one for each channel: a calibrated decoder.

    Squared errors are weighted with $1 / 2\sigma^2$, so $2\sigma^2$ is what beta is without it
    (Rybkin, Daniilidis and Levine, "Simple and Effective VAE Training with Calibrated
    Decoders", arXiv:2006.13202).
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.full((len(CHANNELS), 1, 1), math.log(0.05)))

    def forward(self, maps: Tensor, scaled: Tensor) -> Tensor:
        """Negative log likelihood in nats, without the constant of the Gaussian: `(n,)`."""
        pull = (maps - scaled) * torch.exp(-self.log_sigma)
        return (0.5 * pull.square() + self.log_sigma).flatten(1).sum(dim=1)


class Hurdle(nn.Module):
    r"""Is a pixel lit, and if so with what energy: what a sparse image is made of.

    Three maps a channel: the log odds of being lit; the logarithm of the mean energy of a lit
    pixel, around which it has a gamma distribution, of a shape learnt for each channel (a hurdle
    model: Mullahy, Journal of Econometrics 33 (1986) 341); and the mean scaled image, again with
    a calibrated Gaussian. The last could be had from the others, but asking for it makes the
    latent numbers say first what matters most for it. A tower of HCAL is lit or not as a whole,
    so each of its pixels counts as a part of one.

    Thousands of pixels weigh more than their sums, of which physics asks first. So the maps are
    asked for these too, with calibrated Gaussians and a weight of their own: in each channel,
    the logarithms of the number of lit pixels and of the energy.

    Its images are of the log scaling.

    Args:
        weight_of_totals: in the cost.
    """

    maps = 3
    totals = 2 * len(CHANNELS)
    blank = (-4.0, 0.5, 0.0)

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
        lit = torch.nonzero(scaled > 0, as_tuple=True)  # the rest has no energy to speak of
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
        true = self.totals_of(scaled).view_as(promised)
        pull = (promised - true) * torch.exp(-self.log_sigma_of_totals)
        return (0.5 * pull.square() + self.log_sigma_of_totals).flatten(1).sum(dim=1)

    def mean(self, maps: Tensor) -> Tensor:
        """Mean scaled image."""
        return maps.float().chunk(3, dim=1)[2]

    def _energy_if_lit(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """Its mean, in GeV/100."""
        return scaling.noise * (scaling.unit * maps.float().chunk(3, dim=1)[1]).exp()

    def mean_gev(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """Mean image in GeV/100: the probability of being lit times the mean energy if lit."""
        odds = maps.float().chunk(3, dim=1)[0]
        return torch.sigmoid(odds) * self._energy_if_lit(maps, scaling)

    def typical(self, maps: Tensor, scaling: nn.Module) -> Tensor:
        """A sharp image in GeV/100, without dice: as many pixels lit as are expected.

        Going from tower to tower, and through the pixels of each, one is lit whenever the
        expected number so far passes another whole number and a half (systematic sampling, Madow
        and Madow, Annals of Mathematical Statistics 15 (1944) 1).
        """
        lit = torch.sigmoid(maps.float().chunk(3, dim=1)[0])
        mean = self._energy_if_lit(maps, scaling)
        return _share(self._light(lit, _systematic) * mean, _sums(lit * mean))

    def totals_of(self, scaled: Tensor) -> Tensor:
        """Logarithms of the numbers of lit pixels, then of the energies, of each channel: `(n, 6)`.

        Of one more than each, with energies in units of the scaling's noise.
        """
        return _totals(scaled > 0, torch.expm1(LogScale.unit * scaled)).flatten(1)

    def sample(self, maps: Tensor, scaling: nn.Module, totals: Tensor | None = None) -> Tensor:
        """An image in GeV/100, drawn pixel by pixel, and tower by tower in HCAL.

        It has the `totals` asked for, as `totals_of` counts them; unless given, as many lit
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
    """The way back of `_towers`."""
    n, c, number, _ = towers.shape
    side = math.isqrt(number)
    squares = towers.transpose(2, 3).reshape(n, c * TOWER_SIZE**2, side, side)
    return F.pixel_shuffle(squares, TOWER_SIZE)


def _totals(lit: Tensor, energy: Tensor) -> Tensor:
    """Logarithms of one more than the sums of both over the pixels: `(n, 2, 3)`."""
    return torch.log1p(torch.stack([lit.sum(dim=(2, 3)), energy.sum(dim=(2, 3))], dim=1))


def _tilted(odds: Tensor, number: Tensor) -> Tensor:
    """Log odds, all of a channel moved alike until `number` `(n, c, 1, 1)` of them are expected."""
    for _ in range(STEPS_OF_TILT):
        ratio = number.clamp_min(1e-3) / _sums(torch.sigmoid(odds))
        odds = odds + ratio.log()
    return odds


def _sums(images: Tensor) -> Tensor:
    """Of each channel: `(n, c, 1, 1)`."""
    return images.sum(dim=(2, 3), keepdim=True)


def _share(energy: Tensor, total: Tensor) -> Tensor:
    """Energies scaled, in each channel, so that they are `total` `(n, c, 1, 1)` together."""
    return energy * (total / _sums(energy).clamp_min(1e-12))


LIKELIHOODS = {"squared": SquaredError, "gaussian": Gaussian, "hurdle": Hurdle}
