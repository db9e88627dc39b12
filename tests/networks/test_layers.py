"""Layers that replace a simple one do the same."""

import torch
from torch import nn

from qghelpers.networks.layers import LastUp


def test_the_last_doubling_is_a_transposed_convolution_with_its_bias():
    torch.manual_seed(0)
    last, plain = LastUp(8, 3), nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
    plain.load_state_dict(last.state_dict())
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(last(x), plain(x))
