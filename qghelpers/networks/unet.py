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
from qghelpers.networks.layers import conv, down

WIDTHS = (64, 32, 16, 8, 4)  # channels at 63, 32, 16, 8 and 4 pixels a side


def l1_loss(images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """Mean absolute error over the pixels of each image: `loss` with shape `(n,)`.

    Args:
        images, reconstruction: scaled, with shape `(n, *)`.
    """
    return {"loss": (reconstruction - images).abs().flatten(1).mean(dim=1)}


class UNetAutoencoder(JetAutoencoder, name="unet"):
    """Five strided convolutions down to 4 x 4 x 4, five transposed ones up, skips between.

    Args:
        scaling: "zscore" or "log".
        skips: whether each skip connection is open, from the deepest (8 pixels a side) to the
            shallowest (63). A closed one passes zeros; the attribute can be changed later.
    """

    def __init__(self, scaling: str = "zscore", skips: Sequence[bool] = (True,) * 4) -> None:
        super().__init__(scaling)
        self.skips = list(skips)
        self.down = nn.ModuleList(down(a, b) for a, b in pairwise((3, *WIDTHS)))
        widths = WIDTHS[::-1]  # 4, 8, 16, 32, 64
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, kernel_size=3, stride=2, padding=1, bias=False)
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
            x = up(x, output_size=level.shape[-2:])
            x = merge(x, level if is_open else None)
        x = self.up[-1](x) + self.bias
        if x.shape == scaled.shape:  # as for jet images: the last step makes 125 pixels of 63
            return x
        return F.interpolate(x, size=scaled.shape[-2:], mode="bilinear")

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


class MaskedUNet(UNetAutoencoder, name="masked-unet"):
    """A U-Net that is shown a part of each training image and asked for all of it.

    A denoising autoencoder: Vincent et al., "Extracting and Composing Robust Features with
    Denoising Autoencoders", ICML 2008.

    Args:
        scaling: "zscore" or "log".
        mask_ratio: share of the towers (5x5 pixels, all channels) that are hidden in training.
    """

    def __init__(self, scaling: str = "zscore", mask_ratio: float = 0.9) -> None:
        super().__init__(scaling)
        self.mask_ratio = mask_ratio

    def draw_noise(self, n: int) -> Tensor:
        """Uniform numbers that decide which towers are hidden, `(n, 1, 25, 25)`."""
        return torch.rand(n, 1, TOWERS_PER_SIDE, TOWERS_PER_SIDE)

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`l1_loss` with the whole images, `(n,)`; in training, the input is masked."""
        if not self.training:
            return super().loss(images)
        noise = self.draw_noise(len(images)) if noise is None else noise
        visible = (noise.to(images.device) >= self.mask_ratio).float()
        shown = images * F.interpolate(visible, scale_factor=TOWER_SIZE)
        return l1_loss(self.scaling(images), self.reconstruct(shown))


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
