"""Parts of the networks one by one: scalings, layers, what is saved, who sees what."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import qghelpers as qg
from qghelpers.networks import base, layers
from qghelpers.networks.distributions import Prior
from qghelpers.networks.passes import Noise
from qghelpers.networks.pca import FIT_JETS, PCAVAE, PrincipalComponents
from qghelpers.networks.sparse_vae import SparseVAE
from qghelpers.networks.unet import MaskedUNet
from qghelpers.networks.vae import reparameterise
from qghelpers.training.recipes import RECIPES


def ready(network: str, recipe: str, jets) -> qg.JetAutoencoder:
    """A network whose every number differs from those that it is made with."""
    torch.manual_seed(1)
    model = qg.build(network, recipe)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not name.startswith("scaling"):
            tensor.add_(0.02 * (torch.rand_like(tensor) - 0.5))
    model.scaling.fit(jets)
    return model.eval()


# --- scalings


def test_the_log_scaling_is_its_formula():
    images = torch.tensor([[[[0.3, -0.3], [2e-3, 0.0]]] * 3]).view(1, 3, 2, 2)
    scaled = qg.LogScale()(images)
    for channel, noise in enumerate((0.005, 0.001, 0.0005)):
        for place, x in (((0, 0), 0.3), ((1, 0), 2e-3), ((1, 1), 0.0)):
            expected = math.log(1 + x / noise) / math.log(51)
            assert scaled[0, channel][place].item() == pytest.approx(expected, rel=1e-5)
        assert scaled[0, channel, 0, 1] == -scaled[0, channel, 0, 0]
        assert qg.LogScale()(50 * noise * torch.ones(1, 3, 1, 1))[0, channel] == pytest.approx(1)


def test_the_z_score_is_that_of_each_channel():
    scaling = qg.ZScore()
    scaling.mean.copy_(torch.tensor([1.0, 2, 3]).view(3, 1, 1))
    scaling.std.copy_(torch.tensor([4.0, 5, 8]).view(3, 1, 1))
    images = torch.full((2, 3, 1, 1), 11.0)
    assert scaling(images)[1].flatten().tolist() == pytest.approx([2.5, 1.8, 1.0])
    assert (images == 11).all()
    assert scaling.inverse(torch.full((1, 3, 1, 1), 2.0)).flatten().tolist() == [9, 12, 19]
    blank = layers.scaled_zero(scaling)
    assert blank.shape == (3, 125, 125)
    assert blank[:, 0, 0].tolist() == pytest.approx([-1 / 4, -2 / 5, -3 / 8])


# --- what is saved


@pytest.mark.parametrize(("network", "recipe"), RECIPES)
def test_a_saved_network_is_the_same_network(jets, network, recipe):
    """Made from its description, with the tensors that it saves and nothing else."""
    model, images = ready(network, recipe, jets), jets.images([3, 1])
    if recipe == "sparse":
        rng = torch.Generator().manual_seed(2)
        model.prior.fit(torch.randn(100, 64, generator=rng).numpy())
    other = base.rebuild(base.description(model))
    other.load_state_dict(model.state_dict())
    other.eval()
    for method in ("reconstruct", "reconstruct_energy", "sharp", "encode"):
        ours, theirs = (getattr(m, method)(images) for m in (model, other))
        assert torch.equal(ours, theirs)
    for m in (model, other):
        torch.manual_seed(5)
        m.answer = m.loss(images)["loss"], m.draw(2) if m.generative else None
    assert torch.equal(model.answer[0], other.answer[0])
    if model.generative:
        assert torch.equal(model.answer[1], other.answer[1])


def test_arguments_are_rebuilt_as_they_were_given():
    for model in (
        qg.VAE(7, beta=0.5, scaling="log"),
        PCAVAE(latent_dim=5, beta=2.0),
        SparseVAE(latent_dim=6, widths=(4, 8), components=3, weight_of_profile=2.0),
        qg.UNetAutoencoder("log", skips=(True, False, True, False)),
        MaskedUNet(mask_ratio=0.3),
    ):
        again = base.rebuild(base.description(model))
        assert type(again) is type(model)
        assert again.arguments == model.arguments
        shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (model, again)]
        assert shapes[0] == shapes[1]
        for name in ("beta", "latent_dim", "skips", "mask_ratio"):
            assert getattr(again, name, None) == getattr(model, name, None)
        assert type(again.scaling) is type(model.scaling)


# --- layers


def test_layers_halve_double_and_keep_size():
    x = torch.randn(2, 4, 13, 13)
    assert layers.down(4, 6)(x).shape == (2, 6, 7, 7)
    assert layers.up(4, 6)(x).shape == (2, 6, 26, 26)
    assert layers.conv(4, 6)(x).shape == (2, 6, 13, 13)
    for layer in (layers.down(4, 6), layers.up(4, 6), layers.conv(4, 6)):
        assert [type(part) for part in layer[1:]] == [nn.BatchNorm2d, nn.ReLU]
        assert layer[0].bias is None
        assert layer(x).min() >= 0


def test_patches_are_convolutions_of_squares_that_do_not_overlap():
    torch.manual_seed(0)
    down, x = layers.patch_down(3, 7).eval(), torch.randn(2, 3, 20, 20)
    weight = down[1].weight.view(7, 3, 5, 5)
    torch.testing.assert_close(down(x), F.relu(F.conv2d(x, weight, stride=5) / math.sqrt(1 + 1e-5)))
    up, y = layers.patch_up(7, 3).eval(), torch.randn(2, 7, 4, 4)
    weight = up[0].weight.view(3, 5, 5, 7).permute(3, 0, 1, 2)
    expected = F.relu(F.conv_transpose2d(y, weight, stride=5) / math.sqrt(1 + 1e-5))
    torch.testing.assert_close(up(y), expected)


def test_a_residual_block_adds_to_its_input():
    torch.manual_seed(0)
    block, x = layers.Residual(4).eval(), torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(x), F.relu(x + block.change(x)))
    nn.init.zeros_(block.change[1].weight)
    torch.testing.assert_close(block(x), F.relu(x))


def test_a_crop_keeps_the_first_rows_and_columns():
    x = torch.arange(2 * 5 * 6.0).view(1, 2, 5, 6)
    assert torch.equal(layers.Crop(4)(x), x[:, :, :4, :4])


def test_hcal_maps_alone_are_averaged_over_towers():
    maps = torch.randn(2, 9, 10, 15)  # three maps for each channel
    spread = layers.SpreadTowers()(maps)
    for index in range(9):
        if index % 3 != 2:
            assert torch.equal(spread[:, index], maps[:, index])
            continue
        for row in range(0, 10, 5):
            for column in range(0, 15, 5):
                square = (slice(None), index, slice(row, row + 5), slice(column, column + 5))
                mean = maps[square].mean(dim=(1, 2), keepdim=True).expand(2, 5, 5)
                torch.testing.assert_close(spread[square], mean)


# --- networks


def test_the_vae_decodes_pixels_where_it_encodes_them():
    """Image and network grids have the same centre: no shift by a pixel or three."""
    model = qg.VAE(latent_dim=2).eval()
    ramp = torch.linspace(-1, 1, 128).expand(1, 3, 128, 128)
    for flipped in (False, True):
        wide = model.decoder[-1](ramp.flip(-1) if flipped else ramp)
        assert wide.shape == (1, 3, 125, 125)
        assert wide[0, 0, 0, 62].item() == pytest.approx(0, abs=1e-5)
        torch.testing.assert_close(wide, -wide.flip(-1), atol=1e-5, rtol=0)
    ramp = torch.linspace(-1, 1, 125).expand(1, 3, 125, 125)
    resized = model.encoder[0](ramp)
    assert resized.shape == (1, 3, 128, 128)
    torch.testing.assert_close(resized, -resized.flip(-1), atol=1e-5, rtol=0)


def test_a_random_point_is_mean_plus_deviation_times_noise():
    mu, log_variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(9)]])
    point = reparameterise(mu, log_variance, torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(point, torch.tensor([[3.0, -5.0]]))
    torch.manual_seed(0)
    drawn = reparameterise(mu.expand(9000, 2), log_variance.expand(9000, 2))
    torch.testing.assert_close(drawn.mean(dim=0), mu[0], atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(dim=0), torch.tensor([1.0, 3.0]), rtol=0.03, atol=0)


@pytest.mark.parametrize("recipe", ["reference", "fast", "sparse"])
def test_codes_are_means_of_posteriors_and_noise_is_normal(jets, recipe):
    model, images = ready("vae", recipe, jets), jets.images([0, 1])
    mu, log_variance = model.posterior(images)
    assert torch.equal(model.encode(images), mu)
    assert torch.equal(model.encode(images), model.encode(images))
    assert mu.shape == log_variance.shape == (2, model.latent_dim)
    assert not torch.equal(mu, log_variance)
    torch.manual_seed(0)
    noise = model.draw_noise(4000)
    assert noise.shape == (4000, 65 if recipe == "sparse" else 32)  # one more to choose a pass
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(model.reconstruct(images), model.decode(mu))


def test_components_are_found_on_so_many_jets_at_most(jets, monkeypatch):
    assert FIT_JETS == 20_000
    monkeypatch.setattr("qghelpers.networks.pca.FIT_JETS", 20)
    model = PCAVAE(latent_dim=3)
    model.prepare(jets)
    expected = PrincipalComponents(3).fit(model.scaling, jets[:20])
    assert torch.equal(model.principal.axes, expected.axes)


def test_components_have_unit_variance_around_the_mean_image(jets):
    linear = PrincipalComponents(4).fit(qg.LogScale(), jets)
    scaled = qg.LogScale()(jets.images())
    codes = linear.encode(scaled)
    torch.testing.assert_close(codes.std(dim=0), torch.ones(4), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        linear.centre.view(3, 125, 125), scaled.mean(dim=0), rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(
        linear.decode(torch.zeros(1, 4))[0], scaled.mean(dim=0), rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(linear.axes @ linear.axes.T, torch.eye(4), rtol=0, atol=1e-4)
    moved = linear.decode(torch.eye(4)) - linear.decode(torch.zeros(1, 4))
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), linear.spread, rtol=1e-3, atol=0)


@pytest.mark.parametrize("index", range(4))
def test_skips_are_counted_from_the_deepest(jets, index):
    """A closed one hands over zeros in place of the level with so many pixels a side."""
    torch.manual_seed(0)
    skips = [i != index for i in range(4)]
    model = qg.UNetAutoencoder(skips=skips).eval()
    images, seen = jets.images([0]), []
    for merge in model.refine:
        merge.register_forward_hook(
            lambda merge, given, out: seen.append((out.shape[-1], given[1] is not None))
        )
    model.reconstruct(images)
    assert [side for side, _ in seen] == [8, 16, 32, 63]
    assert [is_open for _, is_open in seen] == skips


def test_a_skip_hands_over_the_level_of_its_own_size(jets):
    torch.manual_seed(0)
    model = qg.UNetAutoencoder().eval()
    scaled = model.scaling(jets.images([0]))
    levels, given = model._levels(scaled), []
    for merge in model.refine:
        merge.register_forward_pre_hook(lambda merge, inputs: given.append(inputs[1]))
    model(scaled)
    for skip, level in zip(given, levels[3::-1], strict=True):
        assert torch.equal(skip, level)


def test_a_mask_hides_whole_towers_in_all_channels_alike(jets):
    torch.manual_seed(0)
    model, images = MaskedUNet(mask_ratio=0.9), jets.images(range(3))
    shown = []
    model.reconstruct = lambda seen: shown.append(seen) or model.scaling(seen)
    noise = model.draw_noise(3)
    loss = model.loss(images, noise)["loss"]
    hidden = F.interpolate((noise < 0.9).float(), scale_factor=5).bool().expand_as(images)
    assert torch.equal(shown[0], torch.where(hidden, 0, images))
    off = (model.scaling(images) - model.scaling(shown[0])).abs().mean(dim=(1, 2, 3))
    torch.testing.assert_close(loss, off)  # what is visible is returned, so nothing is lost
    assert noise.min() >= 0
    model.loss(images)  # draws its own
    assert not torch.equal(shown[0], shown[1])


# --- drawing


def test_a_mixture_is_drawn_with_its_weights_and_covariances():
    prior = Prior(components=2, latent_dim=2)
    prior.weights.copy_(torch.tensor([0.2, 0.8]))
    prior.means.copy_(torch.tensor([[-50.0, 0.0], [50.0, 3.0]]))
    prior.factors.copy_(torch.tensor([[[1.0, 0], [0, 1]], [[2.0, 0], [1.5, 0.5]]]))
    torch.manual_seed(0)
    z = prior.sample(20_000)
    right = z[:, 0] > 0
    assert right.float().mean().item() == pytest.approx(0.8, abs=0.01)
    expected = torch.tensor([[4.0, 3.0], [3.0, 2.5]])
    torch.testing.assert_close(z[right].T.cov(), expected, atol=0.1, rtol=0.03)
    torch.testing.assert_close(z[right].mean(dim=0), torch.tensor([50.0, 3.0]), atol=0.1, rtol=0)


def test_draws_come_from_the_prior_that_is_given(jets):
    model = ready("vae", "sparse", jets)
    z = torch.randn(2, 64)

    class Given:
        def sample(self, n):
            assert n == 2
            return z[:, : self.size]

    given = Given()
    given.size = 64
    torch.manual_seed(3)
    drawn = model.draw(2, given)
    torch.manual_seed(3)
    seeds = torch.randint(2**62, (2,))
    assert torch.equal(
        drawn, model.passes.sample(model.features(z), model.to_profile(z), Noise(seeds))
    )
    plain, given.size = ready("vae", "reference", jets), 32
    expected = plain.scaling.inverse(plain.decode(z[:, :32]))
    torch.testing.assert_close(plain.draw(2, given), expected)
