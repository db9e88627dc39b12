"""Pixels drawn in passes: each once, given only what is known, with the probabilities they say."""

import math

import pytest
import torch

from qghelpers.data.layout import GEV_PER_UNIT, SMALLEST_DEPOSITS
from qghelpers.networks import passes
from qghelpers.networks.passes import CELLS, LEVELS, SPAN, Noise, PixelPasses, cells_of, images_of

SMALLEST = torch.tensor(SMALLEST_DEPOSITS) / GEV_PER_UNIT


@pytest.fixture
def model():
    """With random last layers, so that all that it is given matters."""
    torch.manual_seed(0)
    made = PixelPasses(features=3, width=8, near=4).eval()
    for head in made.heads:
        torch.nn.init.normal_(head.weight, std=0.5)
    return made


def test_cells_and_images_are_each_others_inverse(jets):
    images = jets.images([0, 1])
    cells = cells_of(images)
    assert cells.shape == (2, CELLS, 25, 25)
    torch.testing.assert_close(images_of(cells), images)
    assert torch.equal(cells[1, :25, 2, 6], images[1, 0, 10:15, 30:35].flatten())
    assert torch.equal(cells[1, 25:50, 2, 6], images[1, 1, 10:15, 30:35].flatten())
    torch.testing.assert_close(cells[1, 50, 2, 6], images[1, 2, 10, 30])


def test_no_pixel_is_drawn_together_with_a_neighbour():
    tracks, ecal, hcal = images_of(passes.order()[None].double())[0]
    assert set(hcal.unique().tolist()) == {0, 1}
    assert set(ecal.unique().tolist()) == {2, 3, 4, 5, 6}
    assert set(tracks.unique().tolist()) == {7, 8, 9, 10, 11}
    for image, steps in (
        (tracks, ((0, 1), (1, 0), (1, 1), (1, -1))),
        (ecal, ((0, 1), (1, 0), (1, 1), (1, -1))),
        (hcal[::5, ::5], ((0, 1), (1, 0))),
    ):
        for down, right in steps:
            moved = torch.roll(image, (-down, -right), dims=(0, 1))
            assert (moved != image)[1:-1, 1:-1].all()


def test_levels_divide_energies_evenly_in_their_logarithm(model):
    step = SPAN ** (1 / LEVELS)
    factors = torch.tensor([-3.0, 0.0, 0.49, 0.51, 1.01, 0.99 * step, 1.01 * step, 0.99 * SPAN])
    expected = [0, 0, 0, 1, 1, 1, 2, LEVELS]
    for channel, cell in enumerate((24, 49, 50)):
        cells = torch.zeros(1, CELLS, 25, 25)
        cells[0, cell, 0, : len(factors)] = factors * SMALLEST[channel]
        cells[0, cell, 0, len(factors)] = 1e4
        levels = model.levels(cells)[0, cell, 0]
        assert levels[: len(factors) + 1].tolist() == [*expected, LEVELS]


def test_at_the_start_a_pixel_costs_what_one_of_fifty_does(jets):
    images = jets.images([0, 1, 2])
    made = PixelPasses(features=3).eval()
    cells = cells_of(images)
    lit = (cells != 0).flatten(1).sum(dim=1)
    dark = CELLS * 625 - lit
    expected = -dark * math.log(50 / 51) + lit * math.log(51 * LEVELS)
    known = torch.randn(3, 3, 25, 25), torch.randn(3, made.profile.size)
    cost = sum(made(images, *known, torch.full((3,), number)) for number in range(12)) / 12
    torch.testing.assert_close(cost, expected.float(), rtol=1e-4, atol=0)


def test_the_cost_is_that_of_each_pixel_given_those_before_it(jets, model):
    images, features = jets.images([4, 7]), torch.randn(2, 3, 25, 25)
    profile = torch.randn(2, model.profile.size)
    cells = cells_of(images)
    levels, when = model.levels(cells), passes.order()
    expected = torch.zeros(2, 12)
    for number, own in enumerate(model.cells):
        known = torch.where(when < number, cells, 0)  # as when it is drawn
        towers = model._towers(known, features, profile, torch.full((2,), number))
        logits = model._logits(known, towers, number)
        for place, cell in enumerate(own.tolist()):
            nats = -logits[:, place].log_softmax(dim=1).gather(1, levels[:, None, cell])[:, 0]
            expected[:, number] += (nats * (when[cell] == number)).flatten(1).sum(dim=1)
    for chosen in ([3, 9], [11, 0], [5, 5], [2, 1], [7, 8]):
        cost = model(images, features, profile, torch.tensor(chosen))
        torch.testing.assert_close(cost, 12 * expected[[0, 1], chosen], rtol=1e-4, atol=1e-2)


def test_a_pass_knows_the_earlier_ones_and_no_later_one(jets, model):
    features, when = torch.zeros(1, 3, 25, 25), passes.order()
    cells = cells_of(jets.images([0]))

    profile = torch.zeros(1, model.profile.size)

    def logits(cells, number, features=features, profile=profile, of=None):
        passes = torch.tensor([number if of is None else of])
        return model._logits(cells, model._towers(cells, features, profile, passes), number)

    for number in range(12):
        before = logits(cells, number)
        later = torch.where(when >= number, cells + 1, cells)
        assert torch.equal(logits(later, number), before)
        if number:
            earlier = torch.where(when == number - 1, cells + 1, cells)
            assert not torch.allclose(logits(earlier, number), before)
        assert not torch.allclose(logits(cells, number, features + 1), before)
        assert not torch.allclose(logits(cells, number, profile=profile + 1), before)
        if number > 2:  # the same cells are known of HCAL, and none of the others
            other = logits(torch.zeros_like(cells), number, of=number - 1)
            assert not torch.allclose(logits(torch.zeros_like(cells), number), other)


def test_a_pass_knows_how_much_of_the_whole_image_is_drawn(model):
    """Also of what lies further off than any convolution sees."""
    features, profile = torch.zeros(1, 3, 25, 25), torch.zeros(1, model.profile.size)
    cells = torch.zeros(2, CELLS, 25, 25)
    cells[1, :50, 12, 12] = 0.1  # known to the last pass only in part
    cells[1, passes.order()[:, 12, 12] == 11, 12, 12] = 0
    both = torch.full((2,), 11)
    towers = model._towers(cells, features.expand(2, -1, -1, -1), profile.expand(2, -1), both)
    corner = towers[:, :, 0, 0]
    assert not torch.allclose(corner[0], corner[1])


def test_images_are_drawn_with_the_probabilities_that_are_said():
    made = PixelPasses(features=1).eval()
    profile = torch.zeros(40, made.profile.size)
    drawn = made.sample(torch.zeros(40, 1, 25, 25), profile, Noise(range(40)))
    assert drawn.shape == (40, 3, 125, 125)
    cells = cells_of(drawn)
    assert torch.allclose(images_of(cells), drawn)  # towers are towers
    for channel, own in enumerate((cells[:, :25], cells[:, 25:50], cells[:, 50:])):
        lit = own > 0
        error = math.sqrt(1 / 51 / lit.numel())
        assert abs(lit.float().mean().item() - 1 / 51) < 5 * error
        place = torch.log(own[lit] / SMALLEST[channel]) / math.log(SPAN)
        assert place.min() >= -1e-5
        assert place.max() <= 1 + 1e-5
        assert place.mean().item() == pytest.approx(0.5, abs=5 * math.sqrt(1 / 12 / lit.sum()))
        assert (place * LEVELS % 1).std().item() == pytest.approx(math.sqrt(1 / 12), rel=0.15)


def test_what_is_drawn_follows_from_what_was_drawn_before():
    """Trained on images in which a pixel of Tracks is as its crystal, the drawn ones are so too."""
    torch.manual_seed(0)
    made = PixelPasses(features=1, width=8, near=8)
    optimizer = torch.optim.AdamW(made.parameters(), 2e-2)
    features, profile = torch.zeros(16, 1, 25, 25), torch.zeros(16, made.profile.size)
    for _ in range(180):
        image = torch.zeros(16, 3, 125, 125)
        image[:, 0] = image[:, 1] = (torch.rand(16, 125, 125) < 0.1) * 0.01
        made(image, features, profile, torch.randint(12, (16,))).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    drawn = made.eval().sample(features[:4], profile[:4], Noise(range(4))) > 0
    tracks, ecal = drawn[:, 0], drawn[:, 1]
    assert ecal.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (tracks & ecal).sum() > 0.95 * ecal.sum()
    assert (tracks & ~ecal).sum() < 0.05 * tracks.sum()


def test_each_image_has_noise_of_its_own():
    both, one, seen = Noise(torch.tensor([7, 8])), Noise([8]), []
    for shape in ((2, 3), (5,)):
        first, second = both(torch.Size(shape))
        assert torch.equal(second, one(torch.Size(shape))[0])
        assert not torch.equal(first, second)
        seen.append(first.flatten()[:5])
    assert not torch.equal(*seen)  # each call goes on where the one before stopped
    assert 0 < first.min() < first.max() < 1
