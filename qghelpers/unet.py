"""A U-Net autoencoder for jet images, and its loss.

Ronneberger, Fischer and Brox, "U-Net", arXiv:1505.04597, used to reproduce its own input.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.layers import halve, refine
from qghelpers.scaling import SCALINGS

WIDTHS = (64, 32, 16, 8, 4)  # channels after each halving: 63, 32, 16, 8 and 4 pixels a side


def l1_loss(images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """Mean absolute error over the pixels of each jet: `loss` with shape `(n,)`."""
    return {"loss": (reconstruction - images).abs().flatten(1).mean(dim=1)}


class UNetAutoencoder(nn.Module):
    """Five strided convolutions down to 4 x 4 x 4, five transposed ones up, skips between.

    Args:
        scaling: "zscore" or "log".
    """

    def __init__(self, scaling: str = "zscore") -> None:
        super().__init__()
        self.arguments = {"scaling": scaling}
        self.scaling = SCALINGS[scaling]()
        widths = (3, *WIDTHS)
        self.down = nn.ModuleList(halve(a, b) for a, b in pairwise(widths))
        ups = WIDTHS[::-1]  # 4, 8, 16, 32, 64
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, kernel_size=3, stride=2, padding=1, bias=False)
            for a, b in zip(ups, (*ups[1:], 3), strict=True)
        )
        # Of the last of these. Inside, a bias made transposed convolutions up to twelve times
        # slower on a CPU; of the others the batch normalisation that follows leaves little.
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))
        self.refine = nn.ModuleList(refine(2 * width, width) for width in ups[1:])

    def encode(self, scaled: Tensor) -> Tensor:
        """The bottleneck, `(n, 4, 4, 4)`; the skip connections carry more than this."""
        for down in self.down:
            scaled = down(scaled)
        return scaled

    def forward(self, scaled: Tensor) -> Tensor:
        """Reconstruct scaled images `(n, 3, H, W)`."""
        levels = []
        x = scaled
        for down in self.down:
            x = down(x)
            levels.append(x)
        skips = levels[-2::-1]  # from the deepest to the shallowest
        for up, merge, skip in zip(self.up[:-1], self.refine, skips, strict=True):
            x = up(x, output_size=skip.shape[-2:])
            x = merge(torch.cat([x, skip], dim=1))
        x = self.up[-1](x) + self.bias
        if x.shape == scaled.shape:  # as for jet images: the last step makes 125 pixels of 63
            return x
        return F.interpolate(x, size=scaled.shape[-2:], mode="bilinear")

    def loss(self, images: Tensor) -> dict[str, Tensor]:
        """`l1_loss` of images in GeV/100, with shape `(n,)`."""
        scaled = self.scaling(images)
        return l1_loss(scaled, self(scaled))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Scaled reconstruction, with the shape of `images` (in GeV/100)."""
        return self(self.scaling(images))
