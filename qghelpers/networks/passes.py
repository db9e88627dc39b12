r"""A distribution of jet images: pixel after pixel, each given a code and the pixels before it.

The chain rule makes a likelihood of conditional ones, in which every pixel stands once,
$p(x) = \prod_k p(x_k | x_{<k})$ (van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel Recurrent
Neural Networks", arXiv:1601.06759). Pixels that are far from each other are drawn at once, so that
twelve passes of one network make an image (Reed et al., "Parallel Multiscale Autoregressive
Density Estimation", arXiv:1703.03664): first towers, then crystals, then tracks.

Images are seen as cells of the grid of HCAL towers, `(n, CELLS, 25, 25)`: 25 pixels of Tracks, 25
of ECAL, and the one value that all 25 of HCAL have.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import (
    CHANNELS,
    GEV_PER_UNIT,
    SMALLEST_DEPOSITS,
    TOWER_SIZE,
    TOWERS_PER_SIDE,
)
from qghelpers.networks.layers import Profile, Residual

AREA = TOWER_SIZE**2
CELLS = 2 * AREA + 1
COLOURS = 5  # of pixels, such that no two of the nine around a pixel have the same one
LEVELS, SPAN = 24, 2000.0  # of a lit pixel's energy: so many, and the largest over the smallest
STEP = math.log(SPAN) / LEVELS
RANGE = 4.0  # the logarithm of an energy over the smallest deposit, divided by this, is about 1


def cells_of(images: Tensor) -> Tensor:
    """`(n, 3, 125, 125)` as cells `(n, CELLS, 25, 25)`; of an HCAL tower, the mean."""
    towers = F.pixel_unshuffle(images, TOWER_SIZE)
    tracks, ecal, hcal = towers.split(AREA, dim=1)
    return torch.cat([tracks, ecal, hcal.mean(dim=1, keepdim=True)], dim=1)


def images_of(cells: Tensor) -> Tensor:
    """The inverse of `cells_of`."""
    tracks, ecal, hcal = cells.split([AREA, AREA, 1], dim=1)
    towers = torch.cat([tracks, ecal, hcal.expand(-1, AREA, -1, -1)], dim=1)
    return F.pixel_shuffle(towers, TOWER_SIZE)


def order() -> Tensor:
    """In which pass each cell is drawn: `(CELLS, 25, 25)`.

    HCAL like the fields of a chessboard, in two passes; then ECAL, then Tracks, in five passes
    each, so that no pixel is drawn together with one of its eight neighbours.
    """
    side = torch.arange(TOWERS_PER_SIDE)
    board = (side[:, None] + side) % 2
    pixel = torch.arange(TOWER_SIZE)
    colour = ((pixel[:, None] + 2 * pixel) % COLOURS).flatten()
    ecal = (2 + colour).view(-1, 1, 1).expand(-1, TOWERS_PER_SIDE, TOWERS_PER_SIDE)
    return torch.cat([ecal + COLOURS, ecal, board[None]])


class PixelPasses(nn.Module):
    """The distribution of the pixels of an image, given features of its code.

    What is known so far, the cells of earlier passes and the features, goes through residual
    blocks on the grid of towers. So does the image's profile, as it is promised and as it is so
    far, since pixels that are drawn each by itself do not add up to a jet. Two convolutions on the
    grid of pixels add what lies around a pixel: they are the same everywhere, so that what a
    shower looks like is learnt once. Each pass has a last layer of its own, which gives the
    probabilities of a pixel not to be lit and of the levels of its energy. Inside a level, the
    logarithm of the energy is uniform. The first level begins at the smallest deposit; more
    energy than that of the last one counts as in it.

    Args:
        features: their number, at 25 x 25 places.
        width: channels of the residual blocks.
        blocks: how many of these.
        near: channels on the grid of pixels.
    """

    drawn: Tensor
    shown: Tensor
    smallest: Tensor

    def __init__(self, features: int, width: int = 64, blocks: int = 1, near: int = 16) -> None:
        super().__init__()
        when = order()
        self.number = int(when.max()) + 1
        passes = torch.arange(self.number).view(-1, 1, 1, 1)
        self.register_buffer("drawn", when == passes, persistent=False)
        self.register_buffer("shown", when < passes, persistent=False)
        self.cells = [torch.nonzero(own.flatten(1).any(dim=1)).flatten() for own in self.drawn]
        counts = torch.tensor([AREA, AREA, 1])
        smallest = torch.tensor(SMALLEST_DEPOSITS).repeat_interleave(counts) / GEV_PER_UNIT
        self.register_buffer("smallest", smallest.view(-1, 1, 1), persistent=False)
        self.start = nn.Conv2d(2 * CELLS + features, width, 1)
        self.which = nn.Embedding(self.number, width)
        self.profile = Profile()
        self.so_far = nn.Linear(2 * self.profile.size, width)
        self.trunk = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.to_near = nn.Conv2d(width, AREA * near, 1)
        self.near = nn.Conv2d(3 * len(CHANNELS), near, 3, padding=1)
        self.nearer = nn.Conv2d(near, near, 3, padding=1)
        self.heads = nn.ModuleList(
            nn.Conv2d(width if AREA * 2 in own else near, 1 + LEVELS, 1) for own in self.cells
        )
        for head in self.heads:
            _start_dark(head)

    def levels(self, cells: Tensor) -> Tensor:
        """0 where a cell is not lit, else the level of its energy, from 1: the shape of `cells`."""
        level = 1 + torch.floor(torch.log((cells / self.smallest).clamp_min(0.5)) / STEP)
        lit = cells > self.smallest / 2
        return torch.where(lit, level.clamp(1, LEVELS), torch.zeros_like(level)).long()

    def forward(self, images: Tensor, features: Tensor, profile: Tensor, passes: Tensor) -> Tensor:
        """Negative log likelihood of images in GeV/100, in nats: an estimate from one pass of each.

        Of all levels alike, it leaves out the density inside a level.

        Args:
            images: with shape `(n, 3, 125, 125)`.
            features: with shape `(n, features, 25, 25)`.
            profile: that is promised, `(n, profile.size)`.
            passes: which one of each, `(n,)`; it counts as often as there are passes.

        Returns:
            With shape `(n,)`; over all passes, its mean is the negative log likelihood.
        """
        cells = cells_of(images)
        truth, towers = self.levels(cells), self._towers(cells, features, profile, passes)
        cost = torch.zeros(len(images), device=images.device)
        for number in passes.unique().tolist():
            rows, own = torch.nonzero(passes == number).flatten(), self.cells[number]
            logits = self._logits(cells[rows], towers[rows], number)
            nats = F.cross_entropy(logits.transpose(1, 2), truth[rows][:, own], reduction="none")
            nats = (nats * self.drawn[number, own]).flatten(1).sum(dim=1)
            cost = cost.index_add(0, rows, nats, alpha=self.number)
        return cost

    def _known(self, cells: Tensor, number: int | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled energies, what is lit, and what is known, before a pass: the shape of `cells`."""
        shown = self.shown[number].expand(cells.shape).to(cells)
        energy = torch.log1p(cells.clamp_min(0) / self.smallest) / RANGE
        return energy * shown, (cells > self.smallest / 2) * shown, shown

    def _towers(self, cells: Tensor, features: Tensor, profile: Tensor, passes: Tensor) -> Tensor:
        """What each of `passes` `(n,)` knows around a tower, `(n, width, 25, 25)`."""
        energy, lit, shown = self._known(cells, passes)
        known = self.start(torch.cat([energy, lit, features], dim=1))
        so_far = self.profile(images_of(cells * shown)).to(profile)
        whole = self.which(passes) + self.so_far(torch.cat([profile, so_far], dim=1))
        return self.trunk(F.relu(known + whole[:, :, None, None]))

    def _logits(self, cells: Tensor, towers: Tensor, number: int) -> Tensor:
        """Of the levels of a pass's own cells, `(n, own cells, 1 + LEVELS, 25, 25)`."""
        own, head = self.cells[number], self.heads[number]
        if AREA * 2 in own:  # a tower of HCAL
            return head(towers).float().unsqueeze(1)
        known = torch.cat([images_of(part) for part in self._known(cells, number)], dim=1)
        known, towers = (  # the layout in which convolutions of few channels are faster
            part.contiguous(memory_format=torch.channels_last) for part in (known, towers)
        )
        around = self.to_near(towers)
        pixels = self.nearer(F.relu(self.near(known) + F.pixel_shuffle(around, TOWER_SIZE)))
        places = own % AREA  # in a tower
        corners = (divmod(place, TOWER_SIZE) for place in places.tolist())
        chosen = [pixels[:, :, row::TOWER_SIZE, column::TOWER_SIZE] for row, column in corners]
        around = around.unflatten(1, (-1, AREA))[:, :, places]
        chosen = F.relu(torch.stack(chosen, dim=2) + around).transpose(1, 2).flatten(0, 1)
        return head(chosen).float().unflatten(0, (-1, len(own)))

    @torch.no_grad()
    def sample(self, features: Tensor, profile: Tensor, noise: "Noise") -> Tensor:
        """Draw images in GeV/100, `(n, 3, 125, 125)`.

        Args:
            features: with shape `(n, features, 25, 25)`.
            profile: that is promised, `(n, profile.size)`.
            noise: of these images.
        """
        cells = features.new_zeros(len(features), CELLS, TOWERS_PER_SIDE, TOWERS_PER_SIDE)
        for number, own in enumerate(self.cells):
            passes = torch.full((len(features),), number, device=features.device)
            logits = self._logits(cells, self._towers(cells, features, profile, passes), number)
            gumbel = -torch.log(-torch.log(noise(logits.shape[1:]).to(features)))
            level = (logits + gumbel).max(dim=2).indices  # `argmax` is four times slower
            place = level - 1 + noise(level.shape[1:]).to(features)
            energy = self.smallest[own] * torch.exp(STEP * place)
            lit = self.drawn[number, own] & (level > 0)
            cells[:, own] = torch.where(lit, energy, cells[:, own])
        return images_of(cells)


class Noise:
    """Uniform random numbers, an own series of them for each image.

    Args:
        seeds: one for each image.
    """

    def __init__(self, seeds: Tensor) -> None:
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def __call__(self, shape: torch.Size) -> Tensor:
        """The next ones, above 0 and below 1: `(n, *shape)`."""
        numbers = torch.stack([torch.rand(shape, generator=own) for own in self.generators])
        return numbers.clamp_(1e-7, 1 - 1e-7)


def _start_dark(head: nn.Conv2d) -> None:
    """Let a last layer begin with one of about 50 pixels lit, whatever it is given."""
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    head.bias.data[0] = math.log(50 * LEVELS)
