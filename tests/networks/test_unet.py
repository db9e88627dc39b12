"""The U-Net's own parts: skips, and what the masked one hides."""

import pytest
import torch
from torch.nn import functional as F

from qghelpers import UNetAutoencoder
from qghelpers.networks.layers import PadToEven, conv
from qghelpers.networks.unet import BalancedUNet, MaskedUNet, MergeSkip, l1_loss


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


def ways(images_to_output, size):
    """Through how many weights each pixel takes part, all of them being 1: by its place modulo 2.

    Those near the border, where there are fewer, are left out.
    """
    pixels = torch.ones(1, 1, size, size, requires_grad=True)
    images_to_output(pixels).sum().backward()
    grid = pixels.grad[0, 0]
    found = [
        [grid[4 + i : -4 : 2, 4 + j : -4 : 2].unique().tolist() for j in (0, 1)] for i in (0, 1)
    ]
    assert all(len(values) == 1 for row in found for values in row)
    return [[values[0] for values in row] for row in found]


def all_ones(convolution):
    torch.nn.init.ones_(convolution.weight)
    return convolution


@pytest.mark.parametrize(
    ("network", "expected"), [(UNetAutoencoder, [[1, 2], [2, 4]]), (BalancedUNet, [[4, 4], [4, 4]])]
)
def test_how_often_a_pixel_is_seen_and_made_depends_on_its_place_only_in_the_plain_network(
    network, expected
):
    model = network()
    convolutions = (m for m in model.down[0].modules() if isinstance(m, torch.nn.Conv2d))
    first = torch.nn.Sequential(*(m for m in model.down[0] if isinstance(m, PadToEven)))
    first.append(all_ones(next(convolutions)))
    share = 3 * model.widths[0]  # of three channels one is asked here
    seen = ways(lambda pixels: first(pixels.expand(1, 3, -1, -1)), 33)
    assert (torch.tensor(seen) / share).tolist() == expected
    last = all_ones(model.up[-1])
    made = last(torch.ones(1, model.widths[0], 17, 17))[0, 0] / model.widths[0]
    assert made[8:10, 8:10].tolist() == expected


@pytest.mark.parametrize("size", [125, 64, 50])
def test_the_balanced_network_returns_any_size(size):
    model = BalancedUNet().eval()
    images = torch.rand(2, 3, size, size)
    assert model(images).shape == images.shape


def test_the_balanced_network_is_cropped_where_zeros_were_added():
    """Those of `even_down` are the last row and column; a step up must lose the same."""
    maps = torch.rand(2, 3, 126, 64)
    assert torch.equal(BalancedUNet()._fit(maps, (125, 63)), maps[..., :125, :63])
    one = torch.zeros(1, 1, 5, 5)
    one[..., 4, 4] = 1
    assert PadToEven()(one)[0, 0].nonzero().tolist() == [[4, 4]]
    assert PadToEven()(one).shape == (1, 1, 6, 6)
    assert PadToEven()(one[..., 1:, :]).shape == (1, 1, 4, 6)


def fixed(model, energy):
    """The network answers everything with these images in GeV/100."""
    model.reconstruct = lambda shown: model.scaling(energy)
    return model


def test_lost_pixels_count_more_while_it_is_trained(jets):
    model, images = BalancedUNet(), jets.images(range(3))
    model.scaling.fit(jets)
    plain = l1_loss(model.scaling(images), model.scaling(0.51 * images))["loss"]
    for kept, weight in ((0.51, 1), (0.49, 20)):
        fixed(model.train(), kept * images)
        found = model.loss(images)["loss"]
        expected = weight * plain * (1 - kept) / 0.49
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    del model.reconstruct
    model.eval()
    expected = l1_loss(model.scaling(images), model.reconstruct(images))["loss"]
    torch.testing.assert_close(model.loss(images)["loss"], expected)


def test_pixels_below_what_a_detector_notices_are_never_lost():
    model = BalancedUNet().train()
    for gev, weight in zip((0.04, 0.06), (1, 20), strict=True):  # Tracks: 0.05 is half a deposit
        images = torch.zeros(1, 3, 125, 125)
        images[0, 0, 7, 7] = gev / 100
        found = fixed(model, torch.zeros_like(images)).loss(images)["loss"]
        assert found.item() == pytest.approx(weight * gev / 100 / 46875, rel=1e-4)


@pytest.mark.parametrize(("kind", "weight"), [(BalancedUNet, 4), (MaskedUNet, 1)])
def test_false_pixels_count_more_where_nothing_is_hidden(jets, kind, weight):
    """Those with at least half of the smallest deposit: in Tracks, 0.05 GeV."""
    model, images = kind().train(), jets.images(range(3))
    model.scaling.fit(jets)
    for gev, expected in ((0.06, weight), (0.04, 1)):
        ghosts = images.clone()
        ghosts[:, 0] += gev / 100 * (images[:, 0] == 0)
        plain = l1_loss(model.scaling(images), model.scaling(ghosts))["loss"]
        found = fixed(model, ghosts)._weighted_loss(images, images)["loss"]
        torch.testing.assert_close(found, expected * plain, rtol=1e-4, atol=0)


def test_the_masked_network_is_shown_the_visible_towers_and_asked_for_all(jets):
    """Against an explicit mask; in evaluation nothing is hidden."""
    torch.manual_seed(0)
    model, images = MaskedUNet(mask_ratio=0.75), jets.images(range(4))
    model.scaling.fit(jets)
    noise = torch.arange(625.0).view(1, 1, 25, 25).expand(4, -1, -1, -1) / 625
    mask = F.interpolate((noise >= 0.75).float(), scale_factor=5)
    assert mask.mean() == pytest.approx(0.25, abs=0.001)
    found = model.loss(images, noise)["loss"]
    answer = model.reconstruct(images * mask)
    off = (answer - model.scaling(images)).abs()
    half = model.scaling(images / 2)
    lost = (mask * images > 0) & (answer < half)
    assert 0 < lost.float().mean() < 0.1
    torch.testing.assert_close(found, (off + 19 * off * lost).mean(dim=(1, 2, 3)))
    model.eval()
    whole = l1_loss(model.scaling(images), model.reconstruct(images))["loss"]
    torch.testing.assert_close(model.loss(images, noise)["loss"], whole)
    assert model.draw_noise(3).shape == (3, 1, 25, 25)


def test_any_share_of_a_jet_up_to_the_ratio_is_hidden():
    torch.manual_seed(0)
    noise = MaskedUNet().draw_noise(4000)
    hidden = (noise < 0.9).double().mean(dim=(1, 2, 3))  # of each jet
    for level in (0.1, 0.5, 0.8):
        assert (hidden < 0.9 * level).double().mean() == pytest.approx(level, abs=0.03)
    assert hidden.max() < 0.95
    towers = (noise < 0.9).double().mean(dim=0).flatten()  # each of them as often as any other
    assert towers.std() < 0.012
    assert towers.mean() == pytest.approx(0.45, abs=0.02)
