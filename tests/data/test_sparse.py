"""Sparse images are the dense ones, to the last bit, wherever they are kept."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qghelpers.data.packing import AT_ONCE, Packer
from qghelpers.data.sparse import (
    PIXELS,
    TOWERS_PER_IMAGE,
    JoinedImages,
    ResidentImages,
    SparseImages,
)

ODD = (0.0, -0.0, 1.0, -1.0, 756.6, 1e-45, np.nan, np.inf)


def pack(images: np.ndarray) -> SparseImages:
    packer = Packer()
    for start in range(0, len(images), AT_ONCE):
        packer.add(images[start : start + AT_ONCE].reshape(-1, PIXELS))
    return packer.packed()


def bits(images) -> np.ndarray:
    return np.ascontiguousarray(images, np.float32).view(np.uint32)


@st.composite
def images(draw, most=4) -> np.ndarray:
    """Images from blank to dense, with towers that are constant, nearly so, or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, most))
    lit = draw(st.sampled_from([0, 1e-4, 0.02, 0.5, 1]))
    values = rng.choice(np.array(ODD, np.float32), (count, 125, 125, 3))
    made = np.where(rng.random(values.shape) < lit, values, np.float32(0))
    towers = rng.choice(np.array(ODD, np.float32), (count, 25, 25)).repeat(5, 1).repeat(5, 2)
    kept = (rng.random((count, 25, 25)) < draw(st.sampled_from([0, 0.1, 1]))).repeat(5, 1)
    made[..., 2] = np.where(kept.repeat(5, 2), towers, made[..., 2])
    if draw(st.booleans()):
        made[0, rng.integers(125), rng.integers(125), 2] = 3
    return made


@settings(max_examples=60, deadline=None)
@given(images())
def test_dense_gives_back_every_bit(made):
    back = pack(made).dense(np.arange(len(made)))
    np.testing.assert_array_equal(bits(back.permute(0, 2, 3, 1)), bits(made))


@settings(max_examples=20, deadline=None)
@given(images(), st.lists(st.integers(0, 3), max_size=6))
def test_everywhere_the_same(made, rows):
    rows = np.array(rows, int) % len(made)
    expected = bits(made[rows].transpose(0, 3, 1, 2))
    whole = pack(made)
    parts = JoinedImages((pack(made[:1]), pack(made[1:]))) if len(made) > 1 else whole
    for where in (whole, parts, ResidentImages(whole, "cpu"), whole.take(np.arange(len(made)))):
        assert len(where) == len(made)
        np.testing.assert_array_equal(bits(where.dense(rows)), expected)
        np.testing.assert_array_equal(bits(where.take(rows).dense(np.arange(len(rows)))), expected)


def test_a_constant_tower_is_one_entry_and_no_other_block_is():
    made = np.zeros((3, 125, 125, 3), np.float32)
    made[0, 10:15, 20:25, 2] = 0.5
    made[1, 10:15, 20:25, 1] = 0.5  # not HCAL
    made[2, 11:16, 20:25, 2] = 0.5  # not on the grid
    sparse = pack(made)
    assert np.diff(sparse.offsets).tolist() == [1, 25, 25]
    assert sparse.positions[0] == PIXELS + 2 * 25 + 4
    assert PIXELS + TOWERS_PER_IMAGE < 2**16
    np.testing.assert_array_equal(sparse.dense(np.arange(3)).permute(0, 2, 3, 1), made)


@pytest.mark.parametrize("kind", ["whole", "joined", "resident"])
def test_sums_are_those_of_the_dense_images(kind, jets):
    sparse = jets._images.take(np.arange(60))
    where = {
        "whole": sparse,
        "joined": JoinedImages((sparse.take(np.arange(20)), sparse.take(np.arange(20, 60)))),
        "resident": ResidentImages(sparse, "cpu"),
    }[kind]
    rows = np.array([30, 2, 59, 2, 21])
    dense = jets.images(rows).double()
    for function in (np.asarray, np.square):
        expected = function(dense.numpy()).sum(axis=(2, 3))
        np.testing.assert_allclose(where.sums(rows, function), expected, rtol=1e-12)
    assert where.sums(np.zeros(0, int), np.square).shape == (0, 3)


def test_images_lie_channels_last_in_memory(jets):
    assert jets.images([1, 2]).is_contiguous(memory_format=torch.channels_last)
    assert jets.to("cpu").images([1, 2]).is_contiguous(memory_format=torch.channels_last)


def test_real_jets_take_little_memory(jets):
    assert jets._images.nbytes < len(jets) * 125 * 125 * 3 * 4 / 80
