"""The U-Net's own parts: skips, and what the masked one hides."""

import pytest
import torch
from torch.nn import functional as F

from qghelpers import UNetAutoencoder
from qghelpers.networks.layers import conv
from qghelpers.networks.unet import MaskedUNet, MergeSkip, l1_loss


def test_merging_is_a_convolution_of_all_maps_where_a_closed_skip_is_zero():
    torch.manual_seed(0)
    merge, plain = MergeSkip(8), conv(16, 8)
    plain.load_state_dict(merge.state_dict())
    first, second = torch.randn(2, 4, 8, 9, 9)
    for given, seen in {second: second, None: torch.zeros_like(second)}.items():
        found, wanted = merge(first, given), plain(torch.cat([first, seen], dim=1))
        torch.testing.assert_close(found, wanted)


def test_a_closed_skip_hands_over_zeros(jets):
    torch.manual_seed(0)
    model = UNetAutoencoder(skips=[True, True, True, False]).eval()
    images = jets.images([0])
    closed = model.reconstruct(images)
    model.skips = [True] * 4
    merge, forward = model.refine[3], model.refine[3].forward
    merge.forward = lambda x, skip: forward(x, torch.zeros_like(skip))
    torch.testing.assert_close(model.reconstruct(images), closed)


def test_the_masked_network_is_shown_the_visible_towers_and_asked_for_all(jets):
    """Against an explicit mask; in evaluation nothing is hidden."""
    torch.manual_seed(0)
    model, images = MaskedUNet(mask_ratio=0.75), jets.images(range(4))
    model.scaling.fit(jets)
    noise = torch.arange(625.0).view(1, 1, 25, 25).expand(4, -1, -1, -1) / 625
    mask = F.interpolate((noise >= 0.75).float(), scale_factor=5)
    assert mask.mean() == pytest.approx(0.25, abs=0.001)
    found = model.loss(images, noise)["loss"]
    expected = l1_loss(model.scaling(images), model.reconstruct(images * mask))["loss"]
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(
        found, l1_loss(model.scaling(images), model.reconstruct(images))["loss"]
    )
    model.eval()
    whole = l1_loss(model.scaling(images), model.reconstruct(images))["loss"]
    torch.testing.assert_close(model.loss(images, noise)["loss"], whole)
    assert model.draw_noise(3).shape == (3, 1, 25, 25)
