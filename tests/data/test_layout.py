"""The published figures, against physics and against each other."""

import numpy as np
import pytest

from qghelpers.data import layout
from qghelpers.data.layout import GLUON, QUARK


def test_gluon_jets_light_more_pixels_in_every_channel_and_quark_jets_heat_the_calorimeters():
    """A gluon radiates more, by C_A / C_F; so a quark jet has fewer and harder particles."""
    gluon, quark = (np.array(layout.PUBLIC_LIT_SHARE[label]) for label in (GLUON, QUARK))
    assert (gluon > quark).all()
    gluon, quark = (np.array(layout.PUBLIC_MEAN[label]) for label in (GLUON, QUARK))
    assert (gluon < quark).tolist() == [False, True, True]


@pytest.mark.parametrize("label", [GLUON, QUARK])
def test_tracks_are_the_sparsest_and_hcal_has_the_most_lit_pixels(label):
    tracks, ecal, hcal = layout.PUBLIC_LIT_SHARE[label]
    assert tracks < ecal < hcal < 0.05
    assert max(layout.PUBLIC_MEAN[label]) < 1e-4
    assert min(layout.PUBLIC_LARGEST[label]) > 0.4
    assert np.argmax(layout.PUBLIC_LARGEST[label]) == 0  # mis-measured tracks


def test_labels_and_channels_are_those_of_the_producer():
    assert (GLUON, QUARK, layout.NEITHER) == (0, 1, -1)
    assert layout.CHANNELS == ("Tracks", "ECAL", "HCAL")
    assert layout.IMAGE_SHAPE == (125, 125, 3)
    assert (layout.TOWER_SIZE, layout.TOWERS_PER_SIDE) == (5, 25)
    assert pytest.approx(2 * np.pi / 360, rel=0.01) == layout.PIXEL_WIDTH


def test_channels_are_named_only_where_one_alone_has_constant_blocks():
    rng = np.random.default_rng(0)
    towers = np.kron(rng.random((30, 25, 25)) < 0.03, np.ones((1, 5, 5)))
    pixels = [rng.random((30, 125, 125)) < share for share in (0.005, 0.02)]
    tracks, ecal, hcal = (part.astype(np.float32) for part in (*pixels, towers))
    for channels, names in (
        ((tracks, ecal, hcal), layout.CHANNELS),
        ((hcal, ecal, tracks), ("HCAL", "ECAL", "Tracks")),
        ((hcal, ecal, hcal), ("?", "?", "?")),
        ((tracks, ecal, tracks), ("?", "?", "?")),
    ):
        assert layout.channels_by_evidence(np.stack(channels, axis=-1)) == names


def test_every_pixel_that_is_not_zero_is_lit():
    """A copy of the public jets in another format holds a few negative ones."""
    images = np.zeros((2, 125, 125, 3), np.float32)
    images[0, :25, :, 0], images[1, :50, :, 0] = 1, -1
    images[:, 0, 0, 2] = 0.5
    np.testing.assert_allclose(layout.lit_share(images), [0.3, 0, 1 / 125**2])


def jets_of(tracks: float, ecal: float, seed: int = 0) -> np.ndarray:
    """30 images whose crystals and tracks are lit here and there, with HCAL in towers."""
    rng = np.random.default_rng(seed)
    lit = [rng.random((30, 125, 125)) < share for share in (tracks, ecal)]
    towers = (rng.random((30, 25, 25)) < 0.03) * rng.exponential(0.001, (30, 25, 25))
    parts = (part * rng.exponential(0.003, part.shape) for part in lit)
    return np.stack([*parts, np.kron(towers, np.ones((1, 5, 5)))], axis=-1).astype(np.float32)


def test_blocks_that_are_lit_in_part_are_not_constant():
    """One block of ECAL that happens to be constant makes no HCAL of it."""
    images = jets_of(0.005, 0.02)
    images[0, 10:15, 20:25, 1] = 0.01
    share = layout.constant_tower_share(images)
    assert share[2] == 1
    assert 0 < share[1] < 0.01
    assert layout.channels_by_evidence(images) == layout.CHANNELS


def test_negative_pixels_are_counted_among_the_lit_ones():
    """As where only lit pixels were standardised: 1 of 100 pixels is negative, half of the lit."""
    images = jets_of(0.005, 0.02)
    assert layout.units_problem(images) is None
    sign = np.where(np.arange(125) % 2, np.float32(1), np.float32(-1))[:, None]
    found, cure = layout.units_problem(images * sign)
    assert "below zero, as in a z-score" in found
    assert "as it was before" in cure


def test_one_mis_measured_track_does_not_make_the_units_wrong():
    """Such as that of 75,660 GeV in the public file: it is most of all energy in the sample."""
    images = jets_of(0.005, 0.02)
    images[3, 60, 60, 0] = 756.6
    assert images[3, ..., 0].sum() > 10 * images[..., 0].sum() / 11
    assert layout.units_problem(images) is None
