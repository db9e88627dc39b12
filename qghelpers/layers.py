"""The building block that the networks share."""

from torch import nn


def halve(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution with stride 2, batch normalisation, ReLU: `(n, inputs, H, W)` to half of H, W."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
