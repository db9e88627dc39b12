"""Damaged and strange files: each costs one clear line or gives the right data, and no more.

The tables say what is done to a good file, and what is then said about it; RIGHT is for files that
are unusual and nevertheless hold what they should. Nothing may end in a traceback, in images that
differ from what h5py reads, or in waiting for ever.
"""

import os
import shutil
import socket
import sys
import zipfile

import h5py
import numpy as np
import pytest

from qghelpers import DataError, load_jets
from qghelpers.__main__ import main

RIGHT = None
SHAPE = (125, 125, 3)


@pytest.fixture(scope="module")
def good(sample_file):
    with h5py.File(sample_file) as file:
        return {key: data[:24] for key, data in file.items()}


def write(path, good, drop=(), images=None, **changes):
    """A good file with some datasets changed or left out; `images`: how X_jets is stored."""
    with h5py.File(path, "w") as file:
        for key, data in (good | changes).items():
            if key == "X_jets":
                options = {"chunks": (4, *SHAPE), "compression": "gzip"}
                file.create_dataset(key, data=data, **(options if images is None else images))
            elif key not in drop:
                file[key] = data
        for key in drop:
            if key in file:
                del file[key]


def replace(key, change, **options):
    """A table entry's action: change one dataset."""
    return lambda path, good: write(path, good, **options, **{key: change(good[key])})


def stored(**images):
    return lambda path, good: write(path, good, images=images)


def after(action):
    """Write a good file, then do something to its bytes."""

    def make(path, good):
        write(path, good)
        action(path)

    return make


def cut(share):
    return after(lambda path: os.truncate(path, int(path.stat().st_size * share)))


def poke(place, bytes_=b"\xff" * 8):
    def action(path):
        data = bytearray(path.read_bytes())
        start = place if isinstance(place, int) else int(len(data) * place)
        data[start : start + len(bytes_)] = bytes_
        path.write_bytes(data)

    return after(action)


def pixel(value, jet=0, at=(60, 60, 1)):
    def change(images):
        images = images.copy()
        images[(jet, *at)] = value
        return images

    return replace("X_jets", change)


def linked(kind):
    def make(path, good):
        other = path.with_name("other.hdf5")
        write(other, good)
        if kind == "broken":
            other.rename(path.with_name("gone.hdf5"))
        with h5py.File(path, "w") as file:
            if kind == "virtual":
                layout = h5py.VirtualLayout((24, *SHAPE), "f4")
                layout[:] = h5py.VirtualSource(other, "X_jets", (24, *SHAPE))
                file.create_virtual_dataset("X_jets", layout)
            elif kind == "soft":
                file["elsewhere"] = good["X_jets"]
                file["X_jets"] = h5py.SoftLink("/elsewhere")
            elif kind == "loop":
                file["X_jets"] = h5py.SoftLink("/X_jets")
            elif kind == "raw":
                name = str(path.with_name("pixels.bin"))
                external = [(name, 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("X_jets", data=good["X_jets"], external=external)
            else:
                file["X_jets"] = h5py.ExternalLink("other.hdf5", "/X_jets")
            for key in ("y", "pt", "m0"):
                file[key] = good[key]

    return make


def zipped(path, good):
    inside = path.with_name("inside.hdf5")
    write(inside, good)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inside)


def other_object(path, good):
    write(path, good, drop=["X_jets"])
    with h5py.File(path, "r+") as file:
        file.create_group("X_jets")


def bad_chunk(path, good):
    """A chunk that ends too early, with a valid checksum."""
    import zlib

    write(path, good)
    with h5py.File(path, "r+") as file:
        file["X_jets"].id.write_direct_chunk((4, 0, 0, 0), zlib.compress(b"short"))


def long_chunk(path, good):
    import zlib

    write(path, good)
    with h5py.File(path, "r+") as file:
        data = zlib.compress(bytes(5 * 187_500))
        file["X_jets"].id.write_direct_chunk((4, 0, 0, 0), data)


def open_elsewhere(path, good):
    write(path, good)
    with h5py.File(path, "r+") as file:
        file["X_jets"][0] = good["X_jets"][0]
        file.flush()


def fifo(path, good):
    os.mkfifo(path)


def unix_socket(path, good):
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as unbound:
        unbound.bind(path.name)
    os.chdir(here)


def text(value, dtype="S3"):
    return lambda column: np.full(np.shape(column), value, dtype)


def objects(path, good):
    write(path, good, drop=["y"])
    with h5py.File(path, "r+") as file:
        file.create_dataset("y", data=["quark"] * 24, dtype=h5py.string_dtype())


def dangling(path, good):
    path.symlink_to(path.with_name("nowhere.hdf5"))


def symbolic(path, good):
    real = path.with_name("real.hdf5")
    write(real, good)
    path.symlink_to(real)


def compound(column):
    return np.zeros(len(column), [("a", "f4"), ("b", "f4")])


STRANGE = {
    # what is not an HDF5 file
    "missing": (lambda path, good: None, "does not exist"),
    "folder": (lambda path, good: path.mkdir(), "is a folder"),
    "zero bytes": (lambda path, good: path.touch(), "cannot be read as HDF5"),
    "one byte": (lambda path, good: path.write_bytes(b"\x89"), "cannot be read as HDF5"),
    "text": (lambda path, good: path.write_text("jets"), "cannot be read as HDF5"),
    "zip": (zipped, "cannot be read as HDF5"),
    "web page": (lambda p, good: p.write_text("<!DOCTYPE html>" * 99), "cannot be read as HDF5"),
    "pipe": (fifo, "no regular file"),
    "socket": (unix_socket, "no regular file"),
    "symbolic link": (symbolic, RIGHT),
    "symbolic link to nothing": (dangling, "does not exist"),
    # what is missing or of another shape
    "no images": (lambda path, good: write(path, good, drop=["X_jets"]), "no dataset X_jets"),
    "no labels": (lambda path, good: write(path, good, drop=["y"]), "no dataset y"),
    "only images": (
        lambda path, good: write(path, good, drop=["y", "pt", "m0"]),
        "no dataset y (found: X_jets (24, 125, 125, 3)",
    ),
    "group for images": (other_object, "no dataset X_jets"),
    "more datasets": (lambda path, good: write(path, good, extra=np.ones(3)), RIGHT),
    "channels first": (
        replace("X_jets", lambda x: x.transpose(0, 3, 1, 2), images={}),
        "channels last",
    ),
    "one channel": (replace("X_jets", lambda x: x[..., :1], images={}), "has shape"),
    "flat images": (replace("X_jets", lambda x: x.reshape(24, -1), images={}), "has shape"),
    "one image": (
        lambda path, good: write(path, good, images={}, X_jets=good["X_jets"][0]),
        "has shape",
    ),
    "scalar": (lambda path, good: write(path, good, images={}, X_jets=np.float32(1)), "has shape"),
    "nothing": (
        lambda path, good: write(path, good, images={"dtype": "f4"}, X_jets=h5py.Empty("f4")),
        "has shape None",
    ),
    "no jets": (
        lambda path, good: write(path, {k: v[:0] for k, v in good.items()}, images={}),
        "holds no jets",
    ),
    "labels too short": (replace("y", lambda y: y[:-1]), "one entry per jet"),
    "labels as column": (replace("y", lambda y: y[:, None]), "one entry per jet"),
    # types
    "labels as integers": (replace("y", lambda y: y.astype(int)), RIGHT),
    "labels as truth": (replace("y", lambda y: y > 0), RIGHT),
    "labels as doubles": (replace("y", lambda y: y.astype("f8")), RIGHT),
    "labels as text": (replace("y", text(b"1")), "y holds text, not numbers"),
    "labels as objects": (objects, "y holds text, not numbers"),
    "labels of three kinds": (replace("y", lambda y: y * 2), "other than 0"),
    "labels that are no numbers": (replace("y", lambda y: y * np.nan), "no numbers"),
    "pt infinite": (replace("pt", lambda pt: pt / 0), "pt has values that are no numbers"),
    "images as text": (replace("X_jets", text(b"0")), "not numbers"),
    "images as complex": (replace("X_jets", lambda x: x.astype("c8")), "not numbers"),
    "images as records": (
        lambda path, good: write(path, good, images={}, X_jets=compound(good["y"])),
        "not numbers",
    ),
    "images as long doubles": (replace("X_jets", lambda x: x.astype("g")), "not numbers"),
    "images as doubles": (replace("X_jets", lambda x: x.astype("f8")), RIGHT),
    "images as halves": (replace("X_jets", lambda x: x.astype("f2")), RIGHT),
    "images of the other byte order": (replace("X_jets", lambda x: x.astype(">f4")), RIGHT),
    # pixels
    "NaN": (pixel(np.nan), "1 values are not finite"),
    "infinity": (pixel(np.inf, jet=23), "1 values are not finite"),
    "double too large": (
        replace("X_jets", lambda x: np.where(x > x.max() * 0.9, 1e300, x.astype("f8"))),
        "not finite",
    ),
    "negative": (pixel(-0.217), RIGHT),
    "enormous": (pixel(756.6, at=(60, 60, 0)), RIGHT),
    "blank": (replace("X_jets", np.zeros_like), "all pixels are zero"),
    "dense": (replace("X_jets", lambda x: x + np.float32(1)), "most pixels are not zero"),
    "HCAL first": (replace("X_jets", lambda x: x[..., ::-1]), "the pixels say HCAL, ECAL, Tracks"),
    "ECAL first": (
        replace("X_jets", lambda x: x[..., [1, 0, 2]]),
        "the pixels say ECAL, Tracks, HCAL",
    ),
    # ways of storing
    "contiguous": (stored(), RIGHT),
    "chunks of one image": (stored(chunks=(1, *SHAPE), compression="gzip"), RIGHT),
    "one chunk for all": (stored(chunks=(24, *SHAPE), compression="gzip"), RIGHT),
    "chunks that cut images": (stored(chunks=(5, 50, 60, 2), compression="gzip"), RIGHT),
    "chunks of one pixel's jets": (stored(chunks=(24, 5, 125, 1), compression="gzip"), RIGHT),
    "shuffled": (stored(chunks=(4, *SHAPE), compression="gzip", shuffle=True), RIGHT),
    "lzf": (stored(chunks=(4, *SHAPE), compression="lzf"), RIGHT),
    "chunks chosen by h5py": (stored(compression="gzip"), RIGHT),
    "checksummed": (stored(chunks=(4, *SHAPE), compression="gzip", fletcher32=True), RIGHT),
    "may grow": (stored(maxshape=(None, *SHAPE), compression="gzip"), RIGHT),
    "written twice": (open_elsewhere, RIGHT),
    # links
    "external link": (linked("external"), RIGHT),
    "soft link": (linked("soft"), RIGHT),
    "external link to nothing": (linked("broken"), "is a link to /X_jets of other.hdf5"),
    "link to itself": (linked("loop"), "too many links"),
    "virtual": (linked("virtual"), "in other files"),
    "pixels in a raw file": (linked("raw"), "in other files"),
    # damage
    "last byte gone": (after(lambda p: os.truncate(p, p.stat().st_size - 1)), "cannot be read"),
    "half": (cut(0.5), "cannot be read"),
    "a tenth": (cut(0.1), "cannot be read"),
    "no signature": (poke(0, bytes(8)), "cannot be read"),
    "signature alone": (after(lambda path: os.truncate(path, 8)), "cannot be read"),
    "superblock": (poke(8), "cannot be read"),
    "pixels overwritten": (poke(0.5, bytes(500)), "cannot be read"),
    "chunk too short": (bad_chunk, "wrong size"),
    "chunk too long": (long_chunk, "wrong size"),
}


def make(kind, path, good):
    action, message = STRANGE[kind]
    if kind in ("pipe", "socket") and sys.platform == "win32":
        pytest.skip("no such thing there")
    with np.errstate(all="ignore"):
        action(path, good)
    return message


def agrees_with_h5py(path) -> bool:
    found = load_jets(path).images().numpy()
    with h5py.File(path) as file, np.errstate(over="ignore"):
        expected = file["X_jets"][:].astype(np.float32).transpose(0, 3, 1, 2)
    return np.array_equal(*(np.ascontiguousarray(x).view(np.uint32) for x in (found, expected)))


def test_the_table_is_long():
    assert len(STRANGE) >= 40


@pytest.mark.parametrize("kind", STRANGE)
def test_one_clear_line_or_the_right_data(tmp_path, good, kind):
    path = tmp_path / "my jets é.hdf5"
    message = make(kind, path, good)
    if message is RIGHT:
        assert agrees_with_h5py(path)
        assert agrees_with_h5py(path)  # from the cache
        return
    with pytest.raises(DataError) as error:
        load_jets(path)
    line = str(error.value)
    assert message in line
    assert line.count(str(path)) == 1  # no message within another
    assert "\n" not in line
    assert "errno" not in line


@pytest.mark.parametrize(
    "kind", ["zip", "no labels", "NaN", "last byte gone", "pixels overwritten"]
)
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_the_command_line_says_the_same(tmp_path, good, capfd, kind, command):
    path = tmp_path / "my jets é.hdf5"
    message = make(kind, path, good)
    options = ["vae", "--out", str(tmp_path / "run"), "--data"] if command == "train" else []
    status = main([command, *options, str(path)])
    out, err = capfd.readouterr()
    assert not (tmp_path / "run").exists()
    if command == "inspect" and kind == "NaN":  # looked at, and warned of
        assert status == 0
        assert "WARNING: pixels that are no numbers" in out
        return
    assert status == 2
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("share", np.linspace(0.02, 0.999, 12))
def test_cut_anywhere(tmp_path, good, share):
    path = tmp_path / "jets.hdf5"
    cut(share)(path, good)
    with pytest.raises(DataError):
        load_jets(path)


def test_a_bit_flipped_anywhere(tmp_path, good):
    write(tmp_path / "good.hdf5", {key: data[:6] for key, data in good.items()})
    whole = (tmp_path / "good.hdf5").read_bytes()
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        path = tmp_path / f"{number}.hdf5"
        damaged = bytearray(whole)
        place = rng.integers(4096) if number % 2 else rng.integers(len(whole))
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            load_jets(path)
        except DataError as error:
            lines.append(str(error))
        else:
            assert agrees_with_h5py(path)  # it did no harm
    assert 20 < len(lines) < 60
    assert not any("\n" in line for line in lines)


def test_a_file_that_may_not_be_read(tmp_path, good):
    path = tmp_path / "jets.hdf5"
    write(path, good)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read all: try as somebody else
        shutil.rmtree(tmp_path / "none", ignore_errors=True)
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match="cannot be") as error:
            load_jets(path)
    finally:
        os.seteuid(os.getuid())
    assert "ermission denied" in str(error.value)


def test_a_path_through_a_file(tmp_path, good):
    write(tmp_path / "jets.hdf5", good)
    with pytest.raises(DataError, match="cannot be opened"):
        load_jets(tmp_path / "jets.hdf5" / "inside.hdf5")


def test_channels_in_another_order_can_be_named(tmp_path, good):
    path = tmp_path / "jets.hdf5"
    write(path, good, X_jets=good["X_jets"][..., [2, 0, 1]])
    jets = load_jets(path, channels=("HCAL", "Tracks", "ECAL"))
    expected = good["X_jets"].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(jets.images(), expected)
    np.testing.assert_array_equal(jets[3:5].to("cpu").images(), expected[3:5])
    np.testing.assert_array_equal(jets.pixel_counts(), (expected != 0).sum(axis=(2, 3)))
    with pytest.raises(DataError, match="the pixels say HCAL, Tracks, ECAL"):
        load_jets(path, channels=("ECAL", "Tracks", "HCAL"))
    with pytest.raises(ValueError, match="channels are Tracks"):
        load_jets(path, channels=("ECAL", "ECAL", "HCAL"))
