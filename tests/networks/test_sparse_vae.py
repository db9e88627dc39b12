"""The VAEs on the grid of towers: what they cost, start from, ask for and draw."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from qghelpers.analysis import latent
from qghelpers.data.layout import GEV_PER_UNIT, PIXEL_WIDTH
from qghelpers.explorers.codes import decoded
from qghelpers.networks import sparse_vae
from qghelpers.networks.layers import Profile
from qghelpers.networks.passes import Noise, cells_of, images_of
from qghelpers.networks.sparse_vae import SparseVAE, TowerVAE

CONSTANT = 0.5 * math.log(2 * math.pi)  # of a Gaussian, which the costs leave out


@pytest.fixture
def vae(jets):
    """Small, fitted, and with random last layers: at the start, no code matters."""
    torch.manual_seed(0)
    made = SparseVAE(latent_dim=6, beta=3, widths=(8, 16), components=2)
    made.prepare(jets)
    for layer in (made.to_image[0], made.to_energy[0], *made.passes.heads):
        torch.nn.init.normal_(layer.weight, std=0.1)
    made.log_sigma.data.uniform_(-0.5, 0.5)
    return made.eval()


@pytest.mark.parametrize("kind", [TowerVAE, SparseVAE])
def test_a_vae_starts_blank_and_gives_images_of_every_kind(jets, kind):
    torch.manual_seed(0)
    vae = kind().eval()
    images = jets.images([0, 1])
    before = images.clone()
    assert (vae.reconstruct(images) == 0).all()
    made = [vae.reconstruct_energy(images), vae.sharp(images), vae.draw(2)]
    assert all(image.shape == images.shape for image in made)
    assert all(part.shape == (2,) for part in vae.loss(images).values())
    assert torch.equal(images, before)


def test_mean_images_are_asked_for_pixel_by_pixel(jets, vae):
    """As squared errors are counted, an HCAL tower has 25 pixels."""
    images = jets.images([0])
    mean = torch.zeros_like(images)
    for cost, scaled in ((vae.image, vae.scaling(images)), (vae.energy, vae.zscore(images))):
        sigma = cost.log_sigma.exp()
        nats = -(Normal(mean, sigma).log_prob(scaled) + CONSTANT).sum(dim=(1, 2, 3))
        torch.testing.assert_close(cost(mean, scaled), nats, rtol=1e-4, atol=1)


def test_hcal_comes_out_in_towers(jets, vae):
    images = jets.images([0, 1])
    for made in (vae.reconstruct(images), vae.reconstruct_energy(images), vae.sharp(images)):
        cells = cells_of(made)
        torch.testing.assert_close(images_of(cells)[:, 2], made[:, 2])
        assert not torch.allclose(cells[:, 25], cells[:, 26])


def test_the_mean_energy_of_a_code_is_that_of_its_reconstruction(jets, vae):
    images = jets.images([0, 1])
    codes = latent.encode(vae, jets[[0, 1]])
    energy = latent.decode(vae, codes, energy=True)
    torch.testing.assert_close(energy, vae.reconstruct_energy(images), rtol=1e-3, atol=1e-5)
    assert not torch.allclose(energy, vae.scaling.inverse(latent.decode(vae, codes)))
    (start, end), ends = codes, vae.reconstruct_energy(images).detach().numpy()
    walk = decoded(vae, np.stack([start, end]))
    np.testing.assert_allclose(walk, GEV_PER_UNIT * ends, rtol=1e-3, atol=1e-3)


def test_the_cost_of_a_tower_vae_is_that_of_torch_distributions(jets):
    torch.manual_seed(0)
    vae, images = TowerVAE(beta=3).eval(), jets.images([0, 1])
    torch.nn.init.normal_(vae.to_image[0].weight, std=0.1)
    noise, scaled = vae.draw_noise(2), vae.scaling(images)
    mu, log_variance = vae.posterior(images)
    mean = cells_of(vae.decode(mu + (0.5 * log_variance).exp() * noise))  # one for each tower
    deviations = vae.image.log_sigma.exp().flatten().repeat_interleave(torch.tensor([25, 25, 1]))
    nats = -Normal(mean, deviations.view(-1, 1, 1)).log_prob(cells_of(scaled)) - CONSTANT
    loss = vae.loss(images, noise)
    torch.testing.assert_close(loss["image"], nats.flatten(1).sum(dim=1), rtol=1e-4, atol=1)
    torch.testing.assert_close(loss["loss"], loss["image"] + 3 * loss["kl"])


def test_the_loss_is_the_likelihood_and_what_the_code_is_asked_for(jets, vae):
    images = jets.images([2, 5, 6])
    noise = vae.draw_noise(3)
    mu, log_variance = vae.posterior(images)
    z = mu + (0.5 * log_variance).exp() * noise[:, :6]
    features = vae.features(z)
    loss = vae.loss(images, noise)
    lit = (images != 0).flatten(1).sum(dim=1)
    profile = vae.to_profile(z)
    torch.testing.assert_close(loss["pixels"], vae.passes(images, features, profile, lit % 12))
    torch.testing.assert_close(loss["image"], vae.image(vae.decode(z), vae.scaling(images)))
    mean = vae.to_energy(features)
    torch.testing.assert_close(loss["energy"], vae.energy(mean, vae.zscore(images)))
    normal = Normal(profile, vae.log_sigma.exp())
    nats = -(normal.log_prob(vae.passes.profile(images)) + CONSTANT).sum(dim=1)
    torch.testing.assert_close(loss["profile"], nats)
    expected = loss["pixels"] + 3 * loss["kl"] + loss["image"]
    expected += 0.5 * loss["energy"] + 20 * loss["profile"]
    torch.testing.assert_close(loss["loss"], expected)
    vae.weight_of_energy, vae.weight_of_profile = 0, 0
    plain = vae.loss(images, noise)["loss"]
    torch.testing.assert_close(plain, loss["pixels"] + 3 * loss["kl"] + loss["image"])


def test_in_training_all_passes_are_chosen_equally_often(jets, vae):
    images, normal = torch.zeros(6000, 1, 1, 1), torch.randn(6000)
    vae.train()
    chosen = vae._passes(images, normal)
    assert chosen.shape == (6000,)
    counts = np.bincount(chosen, minlength=12)
    assert len(counts) == 12
    assert abs(counts - 500).max() < 5 * math.sqrt(500)
    assert vae._passes(images[:2], torch.tensor([-40.0, 40.0])).tolist() == [0, 11]


def test_both_reconstructions_are_means_in_their_own_units(jets, vae):
    images = jets.images([0, 1])
    z = vae.encode(images)
    torch.testing.assert_close(vae.reconstruct(images), vae.to_image(vae.features(z)))
    mean = vae.zscore.inverse(vae.to_energy(vae.features(z)))
    assert (mean < 0).any()
    torch.testing.assert_close(vae.reconstruct_energy(images), mean.clamp_min(0))


def test_the_encoder_sees_energies_and_lit_pixels_and_the_profile(jets, vae):
    images = jets.images([0])
    scaled, lit = vae.scaling(images), (images > 0).float()
    seen = vae.encoder(torch.cat([scaled, lit], dim=1)).flatten(1)
    mu, odds = vae.to_posterior(torch.cat([seen, vae.passes.profile(images)], dim=1)).chunk(
        2, dim=1
    )
    found = vae.posterior(images)
    torch.testing.assert_close(found[0], mu)
    torch.testing.assert_close(found[1], torch.sigmoid(odds).log())
    assert (found[1] < 0).all()


def test_a_sharp_image_is_the_same_each_time_and_in_each_batch(jets, vae, monkeypatch):
    images = jets.images([0, 1, 2])
    sharp = vae.sharp(images)
    monkeypatch.setattr(sparse_vae, "AT_ONCE", 2)
    torch.testing.assert_close(vae.sharp(images), sharp)
    torch.manual_seed(5)
    torch.testing.assert_close(vae.sharp(images[1:2]), sharp[1:2])
    again = vae.sharp(images[[0, 0]])
    assert torch.equal(again[0], again[1])
    assert not torch.equal(sharp[0], sharp[1])


def test_drawn_images_follow_torchs_seed(vae):
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(vae.draw(2))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0][0], drawn[0][1])
    torch.manual_seed(1)
    z = vae.prior.sample(2)
    seeds = torch.randint(2**62, (2,))
    assert torch.equal(
        vae.passes.sample(vae.features(z), vae.to_profile(z), Noise(seeds)), drawn[0]
    )


def test_a_profile_is_made_of_the_sums_that_it_says():
    """Of one image with a few pixels, each number by hand."""
    pixels = {  # channel, row, column: GeV
        (0, 62, 62): 30.0,
        (0, 62, 66): 10.0,
        (1, 60, 62): 5.0,
        (1, 0, 0): 2.0,
    }
    images = torch.zeros(1, 3, 125, 125)
    for place, gev in pixels.items():
        images[(0, *place)] = gev / GEV_PER_UNIT
    images[0, 2, 60:65, 65:70] = 0.4 / GEV_PER_UNIT  # one tower
    found = Profile()._sums(images)[0].double().numpy()
    rows, columns = np.mgrid[:125, :125]
    eta, phi = (rows - 62) * PIXEL_WIDTH, (columns - 62) * PIXEL_WIDTH
    distance, gev = np.hypot(eta, phi), images[0].double().numpy() * GEV_PER_UNIT
    counts, energies = [], []
    for channel, weight in enumerate((1, 1, 1 / 25)):
        rings = zip(Profile.RINGS, Profile.RINGS[1:], strict=False)
        masks = [(distance >= low) & (distance < high) for low, high in rings]
        assert len(masks) == 10
        own = gev[channel]
        counts += [weight * (own[m] > 0).sum() for m in (*masks, distance < 0.5)]
        energies += [own[m].sum() for m in masks]
    expected = list(np.log1p(counts)) + list(np.log1p(energies))
    jet = distance < 0.5
    for pt in (gev[0], gev[1] + gev[2]):
        pt, total = pt * jet, (pt * jet).sum()
        second = (pt * distance**2).sum()
        expected += [
            math.log((pt * distance).sum() / total + 1e-3),
            math.log(second / total + 1e-3),
            math.log(math.sqrt((pt**2).sum()) / total + 1e-2),
            math.log1p(math.sqrt(second * total)),
        ]
        expected += [(pt * x).sum() / total for x in (eta, phi, eta**2 - phi**2, 2 * eta * phi)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_profile_is_standardised_on_training_jets_and_bounded(jets):
    profile = Profile().fit(jets)
    found = profile(jets.images())
    assert found.shape == (len(jets), profile.size)
    raw = profile._sums(jets.images())
    varies = raw.std(dim=0) > 1e-2
    assert varies.sum() > 70
    pulled = (raw - raw.mean(dim=0)) / raw.std(dim=0)
    near = (pulled.abs() < 5) & varies
    torch.testing.assert_close(found[near], pulled[near], atol=2e-2, rtol=1e-2)
    assert found.abs().max() <= 5
    assert torch.isfinite(profile(torch.zeros(1, 3, 125, 125))).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(profile(jets.images()), found)


def test_what_is_asked_for_starts_with_the_weights_that_the_module_names():
    made = SparseVAE(latent_dim=3, widths=(4, 4), components=2)
    assert made.weight_of_profile == sparse_vae.WEIGHT_OF_PROFILE
    assert made.weight_of_energy == sparse_vae.WEIGHT_OF_ENERGY
