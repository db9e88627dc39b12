"""A U-Net autoencoder for jet images, and its loss.

Ronneberger, Fischer and Brox, "U-Net", arXiv:1505.04597, used to reproduce its own input.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import TOWER_SIZE, TOWERS_PER_SIDE
from qghelpers.networks.base import JetAutoencoder
from qghelpers.networks.layers import conv, down, even_down, lit

# of pixels in the training of a `BalancedUNet`; any other has 1
LOST_WEIGHT = 20.0  # lit, and comes back with less than half of its energy
FALSE_WEIGHT = 4.0  # empty, and comes back lit


def l1_loss(images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """Mean absolute error over the pixels of each image: `loss` with shape `(n,)`.

    Args:
        images, reconstruction: scaled, with shape `(n, *)`.
    """
    return {"loss": (reconstruction - images).abs().flatten(1).mean(dim=1)}


class UNetAutoencoder(JetAutoencoder, name="unet"):
    """Five strided convolutions down to 4 x 4 x 4, five transposed ones up, skips between.

    Their kernels of 3 pixels reach the pixels of an even row and an even column through one
    weight, and those of an odd row and an odd column through four. Trained with the L1 loss, it
    tends to return little or nothing on the former; `BalancedUNet` treats all alike.

    Args:
        scaling: "zscore" or "log".
        skips: whether each skip connection is open, from the deepest (8 pixels a side) to the
            shallowest (63). A closed one passes zeros; the attribute can be changed later.
    """

    widths = (64, 32, 16, 8, 4)  # channels at 63, 32, 16, 8 and 4 pixels a side
    step_down, kernel = staticmethod(down), 3

    def __init__(self, scaling: str = "zscore", skips: Sequence[bool] = (True,) * 4) -> None:
        super().__init__(scaling)
        self.skips = list(skips)
        self.down = nn.ModuleList(self.step_down(a, b) for a, b in pairwise((3, *self.widths)))
        widths = self.widths[::-1]  # from 4 pixels a side to 63
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, self.kernel, stride=2, padding=1, bias=False)
            for a, b in pairwise((*widths, 3))
        )
        self.refine = nn.ModuleList(MergeSkip(width) for width in widths[1:])
        # of the last transposed convolution; added separately, as in `layers.LastUp`
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))

    def _levels(self, scaled: Tensor) -> list[Tensor]:
        """The result of each step down: 64 x 63 x 63, 32 x 32 x 32, ..., 4 x 4 x 4."""
        levels = []
        for layer in self.down:
            scaled = layer(scaled)
            levels.append(scaled)
        return levels

    def forward(self, scaled: Tensor) -> Tensor:
        """Reconstruct scaled images `(n, 3, 125, 125)`."""
        *levels, x = self._levels(scaled)
        for up, merge, level, is_open in zip(
            self.up[:-1], self.refine, levels[::-1], self.skips, strict=True
        ):
            x = merge(self._rise(up, x, level.shape[-2:]), level if is_open else None)
        return self._fit(self.up[-1](x) + self.bias, scaled.shape[-2:])

    def _rise(self, up: nn.ConvTranspose2d, x: Tensor, size: Sequence[int]) -> Tensor:
        """A step up, to the size of the level there."""
        return up(x, output_size=size)

    def _fit(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """The last step's result at the size of the image; of jets, 125 pixels come of 63."""
        return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear")

    def encode(self, images: Tensor) -> Tensor:
        """The bottleneck, `(n, 64)`; the skip connections carry far more than this."""
        return self._levels(self.scaling(images))[-1].flatten(1)

    def reconstruct(self, images: Tensor) -> Tensor:
        return self(self.scaling(images))

    def error(self, scaled: Tensor, reconstruction: Tensor) -> Tensor:
        return l1_loss(scaled, reconstruction)["loss"]

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        scaled = self.scaling(images)
        return l1_loss(scaled, self(scaled))


class BalancedUNet(UNetAutoencoder, name="balanced-unet"):
    """A U-Net that reaches every pixel alike, and whose loss counts lost and false ones more.

    The kernels of its steps down and up are 4 pixels wide, a multiple of the stride: each pixel is
    seen, and made, through as many weights as its neighbours (Odena, Dumoulin and Olah,
    "Deconvolution and Checkerboard Artifacts", Distill 2016). Of 100 pixels in Tracks 99 are
    empty, and an image of zeros is a local minimum of the L1 loss. In training, a lit pixel that
    comes back with less than half of its energy counts `LOST_WEIGHT` times, which lifts the network
    out of it; what it lights too many in return, an empty pixel that comes back lit, counts
    `false_weight` times. Otherwise the loss is the L1 loss.

    Args:
        scaling: "zscore" or "log".
        skips: as in `UNetAutoencoder`.
    """

    widths = (32, 32, 16, 8, 4)  # channels at 63, 32, 16, 8 and 4 pixels a side
    step_down, kernel = staticmethod(even_down), 4
    false_weight = FALSE_WEIGHT

    def _rise(self, up: nn.ConvTranspose2d, x: Tensor, size: Sequence[int]) -> Tensor:
        return self._fit(up(x), size)

    def _fit(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """The first rows and columns: what is over belongs to the zeros of `even_down`."""
        return x[..., : size[0], : size[1]]

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`l1_loss`, `(n,)`; in training, lost and false pixels count more."""
        if not self.training:
            return super().loss(images)
        return self._weighted_loss(images, images)

    def _weighted_loss(self, images: Tensor, shown: Tensor) -> dict[str, Tensor]:
        """L1 loss with `images` of the reconstruction of `shown`; some pixels count more."""
        scaled, found = self.scaling(images), self.reconstruct(shown)
        energy = self.scaling.inverse(found)
        lost = lit(shown) * (energy < shown / 2)
        false = (1 - lit(images)) * lit(energy)
        weights = 1 + (LOST_WEIGHT - 1) * lost + (self.false_weight - 1) * false
        return {"loss": (weights * (found - scaled).abs()).flatten(1).mean(dim=1)}


class MaskedUNet(BalancedUNet, name="masked-unet"):
    """A U-Net that is shown a part of each training image and asked for all of it.

    A denoising autoencoder: Vincent et al., "Extracting and Composing Robust Features with
    Denoising Autoencoders", ICML 2008. The share that is hidden differs from jet to jet, so that
    whole images are within what the network has learnt.

    Args:
        scaling: "zscore" or "log".
        mask_ratio: share of the towers (5x5 pixels, all channels) of a jet that are hidden in
            training, at most: any share from none to this one is as likely.
    """

    false_weight = 1.0  # what it guesses behind the mask is often false, and ought to be tried

    def __init__(self, scaling: str = "zscore", mask_ratio: float = 0.9) -> None:
        super().__init__(scaling)
        self.mask_ratio = mask_ratio

    def draw_noise(self, n: int) -> Tensor:
        """Numbers that decide which towers are hidden, `(n, 1, 25, 25)`: those below `mask_ratio`.

        Uniform ones for the towers, divided by a uniform one for the jet.
        """
        share = 1 - torch.rand(n, 1, 1, 1)  # above 0
        return torch.rand(n, 1, TOWERS_PER_SIDE, TOWERS_PER_SIDE) / share

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`l1_loss` with the whole images, `(n,)`; in training, the input is masked.

        Visible pixels count more where they are lost; hidden ones do not, for whose energy the
        network can but give the median.
        """
        if not self.training:
            return super().loss(images)
        noise = self.draw_noise(len(images)) if noise is None else noise
        visible = (noise.to(images.device) >= self.mask_ratio).float()
        return self._weighted_loss(images, images * F.interpolate(visible, scale_factor=TOWER_SIZE))


class MergeSkip(nn.Sequential):
    """`conv(2 * width, width)` of two tensors `(n, width, H, W)`, without concatenating them.

    The concatenation would be the largest tensor in the network; instead the convolution's
    weights are split in two, and the results added. The layers are those of `conv`.
    """

    def __init__(self, width: int) -> None:
        super().__init__(*conv(2 * width, width))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Same shape as `x`; a closed skip, None, stands for zeros."""
        convolution, *others = self
        of_x, of_skip = convolution.weight.chunk(2, dim=1)
        merged = F.conv2d(x, of_x, padding=convolution.padding)
        if skip is not None:
            merged += F.conv2d(skip, of_skip, padding=convolution.padding)
        for layer in others:
            merged = layer(merged)
        return merged
