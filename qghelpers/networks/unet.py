"""A U-Net autoencoder for jet images, and its loss.

Ronneberger, Fischer and Brox, "U-Net", arXiv:1505.04597, used to reproduce its own input.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import IMAGE_SIZE, TOWER_SIZE
from qghelpers.networks.layers import Merge, halve
from qghelpers.networks.scaling import SCALINGS

WIDTHS = (64, 32, 16, 8, 4)  # channels after each halving: 63, 32, 16, 8 and 4 pixels a side


def l1_loss(images: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """Mean absolute error over the pixels of each jet: `loss` with shape `(n,)`."""
    return {"loss": (reconstruction - images).abs().flatten(1).mean(dim=1)}


class UNetAutoencoder(nn.Module):
    """Five strided convolutions down to 4 x 4 x 4, five transposed ones up, skips between.

    Args:
        scaling: "zscore" or "log".
        skips: for each skip connection, from the deepest (8 pixels a side) to the shallowest
            (63), whether it is open. One that is closed hands over zeros; so does one that is
            closed later, in the attribute of this name.
        hidden: share of the places, each as large as a tower, that are hidden from the network
            in training, though it is asked for the whole image: a denoising autoencoder
            (Vincent et al., "Extracting and Composing Robust Features with Denoising
            Autoencoders", ICML 2008).
    """

    def __init__(
        self,
        scaling: str = "zscore",
        skips: tuple[bool, ...] = (True, True, True, True),
        hidden: float = 0.0,
    ) -> None:
        super().__init__()
        self.arguments = {"scaling": scaling, "skips": list(skips), "hidden": hidden}
        self.skips, self.hidden = list(skips), hidden
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
        self.refine = nn.ModuleList(Merge(width) for width in ups[1:])

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
        deepest_first = levels[-2::-1]
        steps = zip(self.up[:-1], self.refine, deepest_first, self.skips, strict=True)
        for up, merge, level, is_open in steps:
            x = up(x, output_size=level.shape[-2:])
            x = merge(x, level if is_open else None)
        x = self.up[-1](x) + self.bias
        if x.shape == scaled.shape:  # as for jet images: the last step makes 125 pixels of 63
            return x
        return F.interpolate(x, size=scaled.shape[-2:], mode="bilinear")

    def noise(self, jets: int) -> Tensor:
        """Uniform numbers that decide what is hidden, one for each place of each jet."""
        return torch.rand(jets, 1, IMAGE_SIZE // TOWER_SIZE, IMAGE_SIZE // TOWER_SIZE)

    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """`l1_loss` of images in GeV/100, with shape `(n,)`."""
        scaled, seen = self.scaling(images), images
        if self.training and self.hidden:
            noise = self.noise(len(images)) if noise is None else noise
            visible = noise.to(images.device) >= self.hidden
            seen = images * F.interpolate(visible.float(), scale_factor=TOWER_SIZE)
        return l1_loss(scaled, self.reconstruct(seen))

    def reconstruct(self, images: Tensor) -> Tensor:
        """Scaled reconstruction, with the shape of `images` (in GeV/100)."""
        return self(self.scaling(images))

    def reconstruct_gev(self, images: Tensor) -> Tensor:
        """Reconstruction in GeV/100 of images in GeV/100, with their shape."""
        return self.scaling.inverse(self.reconstruct(images))
