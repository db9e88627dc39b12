"""The building blocks that the networks share."""

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from qghelpers.data.layout import CHANNELS, TOWER_SIZE


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the images of all processes that share a batch.

    Thus a batch trains the network in the same way on one device as on many; PyTorch's
    `SyncBatchNorm` does this on GPUs alone. In a single process it is `nn.BatchNorm2d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(n, C, H, W)`; n may differ between processes."""
        shared = self.training and distributed.is_initialized() and distributed.get_world_size() > 1
        if not shared:
            return super().forward(x)
        values = x.float()
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        total = _Sum.apply(torch.cat([values.sum((0, 2, 3)), count]))
        count, mean = total[-1], total[:-1] / total[-1]
        centred = values - mean.view(1, -1, 1, 1)
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Sum over all processes; since each one's loss depends on it, so does the gradient sum."""

    @staticmethod
    def forward(ctx, ours: Tensor) -> Tensor:
        ours = ours.clone()
        distributed.all_reduce(ours)
        return ours

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient.contiguous())


class LastDouble(nn.ConvTranspose2d):
    """Transposed convolution, `(n, inputs, H, W)` to `(n, outputs, 2 H, 2 W)`, with a bias.

    That is added afterwards: inside, it makes the way back slower on a CPU.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Twice as large."""
        grown = F.conv_transpose2d(x, self.weight, None, self.stride, self.padding)
        return grown + self.bias.view(1, -1, 1, 1)


def halve(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution with stride 2, batch normalisation, ReLU: `(n, inputs, H, W)` to half of H, W."""
    return _normalised(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))


def refine(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU: `(n, inputs, H, W)` to `(n, outputs, H, W)`."""
    return _normalised(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Transposed convolution, batch normalisation, ReLU: `(n, inputs, H, W)` to twice H, W."""
    return _normalised(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False))


def shrink(inputs: int, outputs: int, factor: int = TOWER_SIZE) -> nn.Sequential:
    """Convolution of squares that do not overlap, batch normalisation, ReLU.

    From `(n, inputs, H, W)` to `(n, outputs, H / factor, W / factor)`; written as a matrix
    product, which is several times as fast as a convolution with this stride.
    """
    convolution = nn.Conv2d(factor**2 * inputs, outputs, 1, bias=False)
    return nn.Sequential(nn.PixelUnshuffle(factor), *_normalised(convolution))


def grow(inputs: int, outputs: int, factor: int = TOWER_SIZE) -> nn.Sequential:
    """The way back of `shrink`: `(n, inputs, H, W)` to `factor` times H, W."""
    convolution = nn.Conv2d(inputs, factor**2 * outputs, 1, bias=False)
    return nn.Sequential(
        convolution, nn.PixelShuffle(factor), BatchNorm(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two convolutions that add to what they are given, `(n, width, H, W)`.

    He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.change = nn.Sequential(refine(width, width), second, BatchNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        """As many, as large."""
        return F.relu(x + self.change(x))


class Merge(nn.Sequential):
    """What `refine` makes of two sets of maps together, `(n, width, H, W)` each.

    The convolution's weights are those for both in one tensor, `(n, 2 width, H, W)`. That tensor
    would be the largest in the network, and is not made.
    """

    def __init__(self, width: int) -> None:
        super().__init__(*refine(2 * width, width))

    def forward(self, first: Tensor, second: Tensor | None) -> Tensor:
        """As many maps as one set has, as large; None stands for zeros."""
        convolution, *others = self
        of_first, of_second = convolution.weight.chunk(2, dim=1)
        x = F.conv2d(first, of_first, padding=convolution.padding)
        if second is not None:
            x += F.conv2d(second, of_second, padding=convolution.padding)
        for layer in others:
            x = layer(x)
        return x


class Towers(nn.Module):
    """Spread HCAL evenly over its towers, as the detector does.

    Of `(n, 3 * k, H, W)`, every third map is of HCAL, and is averaged over squares of 5x5.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """As many, as large."""
        *others, hcal = (maps[:, index :: len(CHANNELS)] for index in range(len(CHANNELS)))
        towers = F.interpolate(F.avg_pool2d(hcal, TOWER_SIZE), scale_factor=TOWER_SIZE)
        return torch.stack([*others, towers], dim=2).flatten(1, 2)


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """The convolution needs no bias: the normalisation would take it away again."""
    return nn.Sequential(convolution, BatchNorm(convolution.out_channels), nn.ReLU(inplace=True))
