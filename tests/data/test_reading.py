"""Whatever the layout of a file, what is read is what h5py reads, bit by bit."""

import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sparse import bits, images

from qghelpers.data import packing, reading
from qghelpers.data.hdf5 import DataError
from qghelpers.data.packing import AT_ONCE
from qghelpers.data.sparse import SparseImages

FILTERS = (
    {},
    {"compression": "gzip"},
    {"compression": "gzip", "compression_opts": 0},
    {"compression": "gzip", "shuffle": True},
    {"compression": "lzf"},
    {"compression": "lzf", "shuffle": True},
    {"shuffle": True},
    {"compression": "gzip", "fletcher32": True},
)
DTYPES = ("<f4", ">f4", "<f8", "<f2", "<i4", "u1")


def read(dataset, **options) -> SparseImages:
    return SparseImages.join(reading.read_blocks(dataset, **options))


def check(dataset, rows=None, threads=None) -> None:
    sparse = read(dataset, rows=rows, threads=threads)
    rows = np.arange(len(dataset)) if rows is None else rows
    assert len(sparse) == len(rows)
    with np.errstate(over="ignore"):
        expected = dataset[:][rows].astype(np.float32)
    back = sparse.dense(np.arange(len(rows))).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(bits(back), bits(expected))


def memory_file():
    return h5py.File.in_memory()


@settings(max_examples=80, deadline=None)
@given(
    made=images(most=7),
    chunks=st.one_of(
        st.none(),
        st.tuples(st.integers(1, 7), st.just(125), st.just(125), st.just(3)),
        st.tuples(st.integers(1, 7), st.integers(20, 125), st.integers(20, 125), st.integers(1, 3)),
    ),
    filters=st.sampled_from(FILTERS),
    dtype=st.sampled_from(DTYPES),
    some=st.booleans(),
    threads=st.integers(1, 3),
)
def test_what_is_read_is_what_h5py_reads(made, chunks, filters, dtype, some, threads):
    with np.errstate(all="ignore"), memory_file() as file:
        if np.dtype(dtype).kind in "iu":
            made = np.nan_to_num(made, posinf=3)
        if chunks is not None:
            chunks = (min(chunks[0], len(made)), *chunks[1:])
        elif filters:
            chunks = True
        data = file.create_dataset("X", data=made.astype(dtype), chunks=chunks, **filters)
        rows = np.arange(len(made))[:: 2 if some else 1]
        check(data, rows if some else None, threads)


def test_chunks_that_were_never_written_hold_the_fill_value():
    for fill in (0, 2.5):
        with memory_file() as file:
            options = {"chunks": (2, 125, 125, 3), "compression": "gzip", "fillvalue": fill}
            data = file.create_dataset("X", (7, 125, 125, 3), "f4", **options)
            data[2:4, :60] = 1.5
            check(data)


def test_chunks_that_reach_beyond_the_images():
    with memory_file() as file:
        options = {"chunks": (4, 128, 126, 4), "compression": "gzip", "maxshape": (None,) * 4}
        data = file.create_dataset("X", (6, 125, 125, 3), "f4", **options)
        data[...] = np.random.default_rng(0).random(data.shape)
        check(data)


def test_what_lies_beyond_the_images_in_a_chunk_is_left_out():
    with memory_file() as file:
        options = {"chunks": (4, 128, 126, 4), "compression": "gzip", "maxshape": (None,) * 4}
        data = file.create_dataset("X", (3, 125, 125, 3), "f4", **options)
        full = np.random.default_rng(0).random(options["chunks"]).astype("f4")
        data.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(full.tobytes()))
        check(data)


def test_a_chunk_that_skipped_its_filters():
    with memory_file() as file:
        data = file.create_dataset(
            "X", (2, 125, 125, 3), "f4", chunks=(1, 125, 125, 3), compression="gzip"
        )
        data[1] = 1
        image = np.random.default_rng(0).random((125, 125, 3)).astype("f4")
        data.id.write_direct_chunk((0, 0, 0, 0), image.tobytes(), filter_mask=1)
        check(data)


@pytest.mark.parametrize("chunks", [(1, 125, 125, 3), (20, 125, 125, 3), (20, 25, 40, 2), None])
@pytest.mark.parametrize("shuffle", [False, True])
def test_blocks_with_too_many_pixels_are_divided(monkeypatch, chunks, shuffle):
    monkeypatch.setattr(reading, "MAX_LIT_PER_BLOCK", 200_000)  # about four dense images
    options = {"compression": "gzip", "shuffle": shuffle} if chunks else {}
    with memory_file() as file:
        dense = np.random.default_rng(0).random((23, 125, 125, 3), dtype=np.float32)
        data = file.create_dataset("X", data=dense, chunks=chunks, **options)
        check(data)
        check(data, np.array([0, 1, 8, 20, 21, 22]))
        assert max(map(len, reading.read_blocks(data))) <= AT_ONCE


@pytest.mark.parametrize("library", [reading.zlib, zlib])
@pytest.mark.parametrize("piece", [999, 40_000, 10**6])
@pytest.mark.parametrize("fed", [10, 10**5])
def test_chunks_are_inflated_whole_or_not_at_all(monkeypatch, library, piece, fed):
    monkeypatch.setattr(reading, "zlib", library)
    monkeypatch.setattr(reading, "INFLATE_BYTES", fed)
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 3, 100_000, np.uint8).tobytes()
    data = zlib.compress(whole)
    pieces = list(reading._pieces(data, len(whole), piece))
    assert b"".join(pieces) == whole
    assert {len(part) for part in pieces[:-1]} <= {piece}
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    for bad, size in (
        (data[:-1], len(whole)),
        (data[: len(data) // 2], len(whole)),
        (data, len(whole) - 1),
        (data, len(whole) + 1),
        (bytes(flipped), len(whole)),
        (b"", len(whole)),
    ):
        with pytest.raises(OSError, match="a chunk"):
            list(reading._pieces(bad, size, piece))


def test_large_chunks_are_read_in_pieces(monkeypatch):
    monkeypatch.setattr(reading, "INFLATE_IMAGES", 2)
    with memory_file() as file:
        dense = np.random.default_rng(0).random((5, 125, 125, 3), dtype=np.float32)
        check(file.create_dataset("X", data=dense, compression="gzip", chunks=dense.shape))


def test_only_the_chunks_that_are_wanted_are_touched(monkeypatch):
    touched = []
    original = reading._Chunks._stored

    def stored(self, start):
        touched.append(start[0])
        return original(self, start)

    monkeypatch.setattr(reading._Chunks, "_stored", stored)
    with memory_file() as file:
        shape = (400, 125, 125, 3)
        data = file.create_dataset("X", shape, "f4", chunks=(2, *shape[1:]), compression="gzip")
        data[7] = 1
        check(data, np.array([6, 7, 300]))
    assert sorted(touched) == [6, 300]


def test_chunks_that_do_not_fit_into_memory_are_refused():
    with memory_file() as file:
        options = {"chunks": (6000, 125, 125, 3), "compression": "lzf"}
        data = file.create_dataset("X", (6000, 125, 125, 3), "f4", **options)
        with pytest.raises(DataError, match="h5repack -l X_jets:CHUNK"):
            read(data)


def test_where_the_compiler_cannot_keep_its_work_it_works_all_the_same(monkeypatch):
    calls = []

    def njit(nogil, cache=False):
        def decorated(function):
            def run(*arguments):
                calls.append(cache)
                if cache:
                    raise OSError(28, "No space left on device")
                return function(*arguments)

            return run

        return decorated

    monkeypatch.setattr(packing, "njit", njit)
    double = packing._compiled(lambda x: 2 * x)
    assert [double(3), double(4)] == [6, 8]
    assert calls == [True, False, False]
