"""Situations that people meet: in each the right data are given, or one line with the right cure.

The table says what the situation is, which kind it is of, what is done to a good file, and what is
said then; RIGHT means that the images are those of the file.
"""

import gzip
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_strange_files import RIGHT, agrees_with_h5py, cut, replace, write

import qghelpers as qg
from qghelpers import DataError, load_jets
from qghelpers.__main__ import main
from qghelpers.data import checks

OPEN, WRONG, THEIRS = "why it cannot be opened", "wrong data", "files as people have them"


@pytest.fixture(scope="module")
def good(sample_file):
    with h5py.File(sample_file) as file:
        return {key: data[:24] for key, data in file.items()}


def begins(*contents: bytes):
    return lambda path, good: path.write_bytes(b"".join(contents))


def packed(pack):
    """A good file, packed by a function from its path and its bytes to other bytes."""

    def make(path, good):
        write(path, good)
        path.write_bytes(pack(path, path.read_bytes()))

    return make


def in_zip(path, content):
    with zipfile.ZipFile(target := io.BytesIO(), "w") as archive:
        archive.writestr(path.name, content)
    return target.getvalue()


def in_tar(path, content):
    with tarfile.open(fileobj=(target := io.BytesIO()), mode="w") as archive:
        archive.add(path, path.name)
    return target.getvalue()


def numpy_archive(path, good):
    with path.open("wb") as file:
        np.savez(file, **good)


def numpy_array(path, good):
    with path.open("wb") as file:
        np.save(file, good["pt"])


def unfinished(path, good):
    write(path.with_name(path.name + ".crdownload"), good)


def compressed_by(code: int):
    """Pixels behind a filter that is not installed here."""

    def make(path, good):
        write(path, good, drop=["X_jets"])
        with h5py.File(path, "r+") as file:
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_chunk((4, 125, 125, 3))
            plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (3,))
            space = h5py.h5s.create_simple((24, 125, 125, 3))
            h5py.h5d.create(file.id, b"X_jets", h5py.h5t.NATIVE_FLOAT, space, plan)

    return make


def pixels(change):
    return replace("X_jets", lambda x: change(x.astype(np.float64)).astype(np.float32))


def each(images, function):
    """A number for each image, to divide it by."""
    return function(images, axis=(1, 2, 3), keepdims=True)


def alike(images):
    """ECAL has the Tracks of the next jet."""
    images[..., 1] = np.roll(images[..., 0], 1, axis=0)
    return images


def renamed(path, good):
    write(path, good, drop=["X_jets", "y"], images_=good["X_jets"], label=good["y"])


def only_images_and_labels(path, good):
    write(path, {key: good[key] for key in ("X_jets", "y")})


def jet_net(path, good):
    with h5py.File(path, "w") as file:
        file["particle_features"], file["jet_features"] = np.zeros((5, 30, 4)), np.zeros((5, 4))


def table_in_group(path, good):
    with h5py.File(path, "w") as file:
        file.create_group("table")["table"] = np.zeros(5, [("index", "i8"), ("E_0", "f4")])


SITUATIONS = {
    # what it is, and what helps
    "a web page": (OPEN, begins(b"\n<!DOCTYPE html><html>"), "web page", "qghelpers fetch"),
    "an error of a server": (OPEN, begins(b"<?xml version='1.0'?><Error>"), "error message", "fet"),
    "a page with a mark of UTF-8": (OPEN, begins(b"\xef\xbb\xbf <html>"), "web page", "fetch"),
    "an answer in JSON": (OPEN, begins(b'{"error": "quota"}'), "text that begins with '{", "fetch"),
    "Git LFS": (
        OPEN,
        begins(b"version https://git-lfs.github.com/spec/v1\n"),
        "Git LFS",
        "lfs pull",
    ),
    "git-annex": (OPEN, begins(b"/annex/objects/SHA256E-s7"), "git-annex", "git annex get"),
    "Parquet": (OPEN, begins(b"PAR1", bytes(99)), "Parquet", "convert 'my jets.hdf5' OUT.hdf5`"),
    "a NumPy array": (
        OPEN,
        numpy_array,
        "NumPy array",
        "h5py",
    ),
    "a NumPy archive": (OPEN, numpy_archive, "NumPy archive", "with h5py"),
    "gzip": (OPEN, packed(lambda _, content: gzip.compress(content, 1)), "gzip", "`gunzip`"),
    "zip": (OPEN, packed(in_zip), "zip archive", "unpack it"),
    "tar": (OPEN, packed(in_tar), "tar archive", "`tar xf`"),
    "bzip2": (OPEN, begins(b"BZh91AY"), "bzip2", "`bunzip2`"),
    "a pickle": (OPEN, lambda p, good: p.write_bytes(pickle.dumps(good["pt"])), "pickle", "h5py"),
    "ROOT": (OPEN, begins(b"root\x00\x00\xf2"), "ROOT file", "uproot"),
    "notes of macOS": (OPEN, begins(b"\x00\x05\x16\x07\x00\x02"), "macOS", "without ._"),
    "nothing": (OPEN, begins(b""), "it is empty", "download it again"),
    "space that was reserved": (
        OPEN,
        begins(bytes(5000)),
        "begins with zeros",
        "download it again",
    ),
    "any bytes": (OPEN, begins(b"\xfe\x01\x02\x03" * 50), "not begin as HDF5", "give an HDF5 file"),
    "cut short": (OPEN, cut(0.6), "it ends after", "was cut short: make it again"),
    "being downloaded": (OPEN, unfinished, "download is not complete", ".crdownload"),
    "an unknown filter": (OPEN, compressed_by(400), "filter 400 (unknown)", "h5repack"),
    # units
    "divided by 255": (WRONG, pixels(lambda x: x / 255), "the mean pixel is", "--divide FACTOR"),
    "in GeV": (
        WRONG,
        pixels(lambda x: x * 100),
        "times the public file's",
        "convert 'my jets.hdf5' OUT.hdf5 --divide 100",
    ),
    "a z-score": (WRONG, pixels(lambda x: (x - x.mean()) / x.std()), "z-score", "as it was before"),
    "a logarithm": (WRONG, pixels(lambda x: np.log(x + 1e-6)), "below zero", "as it was before"),
    "logarithm of GeV": (WRONG, pixels(lambda x: np.log1p(100 * x)), "the mean pixel is", "before"),
    "square roots": (WRONG, pixels(np.sqrt), "the mean pixel is", "as it was before"),
    "bytes": (
        WRONG,
        replace("X_jets", lambda x: (x * 99).astype("u1")),
        "whole numbers",
        "made from",
    ),
    "bytes as floats": (
        WRONG,
        pixels(lambda x: np.ceil(x / x.max() * 255)),
        "mean pixel",
        "before",
    ),
    "each image up to 1": (
        WRONG,
        pixels(lambda x: x / each(x, np.max)),
        "in every image",
        "before",
    ),
    "each image sums to 1": (
        WRONG,
        pixels(lambda x: x / each(x, np.sum)),
        "in every image",
        "before",
    ),
    "HCAL not divided by 25": (WRONG, pixels(lambda x: x * [1, 1, 25]), "mean pixel is", "before"),
    "divided by the largest": (WRONG, pixels(lambda x: x / 756.6), "mean pixel is", "as it was"),
    "background of noise": (
        WRONG,
        pixels(lambda x: x + 1e-3),
        "most pixels are not zero",
        "before",
    ),
    "never filled": (WRONG, pixels(np.zeros_like), "all pixels are zero", "download it again"),
    "a dead channel": (
        WRONG,
        pixels(lambda x: x * [1, 1, 0]),
        ", 0 times the public file's",
        "before",
    ),
    "Tracks for ECAL": (WRONG, pixels(alike), "do not show which channel is which", "inspect"),
    "HCAL first": (
        WRONG,
        pixels(lambda x: x[..., [2, 0, 1]]),
        "say HCAL, Tracks, ECAL",
        "--channels HCAL Tracks ECAL`",
    ),
    # layouts
    "only images and labels": (THEIRS, only_images_and_labels, RIGHT, ""),
    "other names": (THEIRS, renamed, "images_ (24, 125, 125, 3)", "--names X_jets=ITS_NAME y=ITS"),
    "channels first": (
        THEIRS,
        replace("X_jets", lambda x: x.transpose(0, 3, 1, 2), images={}),
        "channels last",
        "convert",
    ),
    "labels -1 and 1": (
        THEIRS,
        replace("y", lambda y: 2 * y - 1),
        ": -1, 1",
        "--labels gluon=VALUE",
    ),
    "labels as text": (
        THEIRS,
        replace("y", lambda y: y.astype("S")),
        "y holds text",
        "--labels glu",
    ),
    "two columns": (
        THEIRS,
        replace("y", lambda y: np.eye(2)[y.astype(int)]),
        "one entry per jet",
        "--labels gluon=COLUMN quark=COLUMN`",
    ),
    "NaN in pt": (
        THEIRS,
        replace("pt", lambda pt: np.where(pt == pt[-1], np.nan, pt)),
        "jet 23",
        "--skip-bad",
    ),
    "NaN in a pixel": (THEIRS, pixels(lambda x: x / (x != x.max())), "not finite", "--skip-bad"),
    "particles": (THEIRS, jet_net, "particle_features (5, 30, 4)", "give another file"),
    "a table in a group": (THEIRS, table_in_group, "table/table (5,)", "give another file"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_right_data_or_one_line_with_the_right_cure(tmp_path, good, situation):
    _, make, found, cure = SITUATIONS[situation]
    path = tmp_path / "my jets.hdf5"
    with np.errstate(all="ignore"):
        make(path, good)
    if found is RIGHT:
        assert agrees_with_h5py(path)
        return
    with pytest.raises(DataError) as error:
        load_jets(path)
    line = str(error.value)
    assert found in line
    assert cure in line
    assert line.count(str(path)) == 1
    assert "\n" not in line
    assert "download or simulate it again" not in line or situation == "any bytes"


def test_the_table_is_long():
    assert len(SITUATIONS) >= 35
    assert {kind for kind, *_ in SITUATIONS.values()} == {OPEN, WRONG, THEIRS}


def test_a_file_that_another_program_has_locked(tmp_path, good):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "jets.hdf5"
    write(path, good)
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"another program has it open.*USE_FILE_LOCKING=FALSE"):
            load_jets(path)
    assert agrees_with_h5py(path)


@pytest.mark.parametrize("number", sorted(checks.NO_LOCKS))
def test_a_file_system_without_locks(tmp_path, good, monkeypatch, number):
    path = tmp_path / "jets.hdf5"
    write(path, good)
    opened = h5py.File

    def refusing(name, mode="r", locking=None):
        if locking is not False:
            raise OSError(number, "unable to lock file")
        return opened(name, mode, locking=False)

    monkeypatch.setattr(h5py, "File", refusing)
    assert len(load_jets(path)) == 24


def test_a_filter_is_used_where_its_plug_in_is_installed(tmp_path, good, monkeypatch):
    plugin = pytest.importorskip("hdf5plugin")
    path = tmp_path / "jets.hdf5"
    write(path, good, images={"chunks": (4, 125, 125, 3), **plugin.Zstd()})
    monkeypatch.delitem(sys.modules, "hdf5plugin")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda _: "hdf5plugin" in sys.modules)
    assert agrees_with_h5py(path)


def test_a_filter_whose_plug_in_is_not_installed(tmp_path, good, monkeypatch):
    path = tmp_path / "jets.hdf5"
    compressed_by(32015)(path, good)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(DataError, match=r"32015 \(Zstandard\), .* here: `pip install hdf5plugin`"):
        load_jets(path)


@pytest.mark.parametrize("situation", ["in GeV", "a z-score"])
def test_who_insists_gets_other_units_and_a_warning(tmp_path, good, situation, capfd):
    path = tmp_path / "jets.hdf5"
    SITUATIONS[situation][1](path, good)
    jets = load_jets(path, check_units=False)
    assert "WARNING" in (said := capfd.readouterr().err)
    assert len(said.splitlines()) == 1
    assert len(jets) == 24
    assert main(["inspect", str(path)]) == 0
    assert "WARNING: no energies in GeV/100" in capfd.readouterr().out


@pytest.mark.parametrize("factor", [0.3, 8])
def test_fainter_and_brighter_jets_are_not_refused(tmp_path, good, factor):
    """From 70 GeV without pile-up to 1 TeV; and one mis-measured track changes nothing."""
    path = tmp_path / "jets.hdf5"
    images = good["X_jets"] * np.float32(factor)
    images[3, 60, 60, 0] = 756.6
    write(path, good, X_jets=images)
    assert agrees_with_h5py(path)
    two = {key: values[:2] for key, values in good.items()} | {"X_jets": images[:2]}
    write(path, two, images={})
    assert agrees_with_h5py(path)


def test_labels_that_look_swapped(sample_file, tmp_path, capfd):
    path = tmp_path / "jets.hdf5"
    path.write_bytes(sample_file.read_bytes())
    load_jets(path)
    assert capfd.readouterr().err == ""
    with h5py.File(path, "r+") as file:
        file["y"][:] = 1 - file["y"][:]
    load_jets(path)
    (line,) = [text for text in capfd.readouterr().err.splitlines() if "not used" not in text]
    assert "labels look swapped" in line
    assert "--labels gluon=1 quark=0" in line


def test_the_same_jets_in_two_files_do_not_end_in_train_and_test(sample_file, tmp_path, capfd):
    with h5py.File(sample_file) as file:
        every = {key: data[:60] for key, data in file.items()}
    paths = []
    for name, rows in (("a", slice(0, 40)), ("b", slice(20, 60))):
        paths.append(tmp_path / f"{name}.hdf5")
        write(paths[-1], {key: values[rows] for key, values in every.items()})
    load_jets(paths[0])
    assert capfd.readouterr().err == ""
    for limit in (None, 70):
        jets = load_jets(paths, limit=limit)
        said = capfd.readouterr().err
        copies = len(jets) - len(set(jets.pt))
        assert f"{copies} of the {len(jets)} jets of a.hdf5, b.hdf5 are copies" in said
        train, test = jets.split((0.5, 0.5))
        assert len(train) + len(test) == len(jets)
        assert not set(train.pt) & set(test.pt)
    for path in paths:  # of which pT and mass are not known
        with h5py.File(path, "r+") as file:
            del file["pt"], file["m0"]
    jets = load_jets(paths)
    assert "20 of the 80 jets of a.hdf5, b.hdf5 are copies" in capfd.readouterr().err
    assert len(set(jets.twin)) == 60


@pytest.mark.parametrize("pt", [np.zeros(24), np.full(24, 100.0), np.arange(24) // 4])
def test_jets_are_no_copies_because_pt_and_mass_are_rounded_or_not_known(tmp_path, good, capfd, pt):
    path, other = tmp_path / "jets.hdf5", tmp_path / "other.hdf5"
    write(path, good, pt=pt, m0=np.zeros(24))
    jets = load_jets(path)
    assert capfd.readouterr().err == ""
    assert jets.twin.tolist() == list(range(24))
    write(other, {key: values[:5] for key, values in good.items()}, pt=pt[:5], m0=np.zeros(5))
    jets = load_jets([path, other])
    assert "5 of the 29 jets of jets.hdf5, other.hdf5 are copies" in capfd.readouterr().err
    assert jets.twin[24:].tolist() == jets.twin[:5].tolist()


def test_a_file_whose_writer_has_not_closed_it(tmp_path):
    path = tmp_path / "jets.hdf5"
    writer = "import h5py, os, sys; file = h5py.File(sys.argv[1], 'w', libver='latest'); "
    writer += "file.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", writer, str(path)], check=True)
    with pytest.raises(DataError, match=r"is writing it, or was killed.*close it.*h5clear -s FILE"):
        load_jets(path)


def test_without_pt_and_mass_they_are_not_known(tmp_path, good, capfd):
    path = tmp_path / "jets.hdf5"
    only_images_and_labels(path, good)
    jets = load_jets(path)
    (line,) = capfd.readouterr().err.splitlines()
    assert "jets.hdf5: pT or mass is not stored, and NaN" in line
    assert np.isnan([jets.pt, jets.mass]).all()
    same = jets[::2].fingerprint()
    assert same == load_jets(path)[::2].fingerprint()
    changed = good["X_jets"] * (1 + np.arange(24) % 2)[:, None, None, None]
    write(path, {"X_jets": changed[::-1], "y": good["y"]})
    other = load_jets(path)
    assert other[::2].fingerprint() != same
    assert other.source != jets.source
    assert main(["inspect", str(path)]) == 0
    assert "pt     not stored" in capfd.readouterr().out
    assert main(["simulate", str(tmp_path / "x.hdf5"), "--jets", "5", "--like", str(path)]) == 2
    assert "has no pT to compare with" in capfd.readouterr().err


def test_jets_say_where_they_are_from(sample_file, tmp_path, good):
    mine = tmp_path / "mine.hdf5"
    write(mine, good)
    jets = load_jets(mine)
    kinds = f"({len(jets.quarks)} quark, {len(jets.gluons)} gluon)"
    assert repr(jets) == f"24 jets {kinds} of mine.hdf5"
    simulated = load_jets(sample_file)
    assert repr(simulated.quarks[:3]) == f"3 jets (3 quark) of {sample_file.name} (simulated)"
    assert simulated.to("cpu").origin == f"{sample_file.name} (simulated)"
    both = load_jets([mine, sample_file])
    assert both.origin == f"mine.hdf5, {sample_file.name} (simulated)"


def test_load_jets_says_first_which_file_it_takes(sample_file, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "simulated_jets.hdf5").write_bytes(sample_file.read_bytes())
    qg.load_jets()
    assert capfd.readouterr().out == "opened data/simulated_jets.hdf5 (simulated)\n"
    for name in ("mine.h5", "twin.parquet", "quark-gluon.hdf5.crdownload"):
        (data / name).touch()
    qg.load_jets()
    (line,) = capfd.readouterr().out.splitlines()
    assert (
        "not mine.h5, quark-gluon.hdf5.crdownload, twin.parquet, for which load_jets(path)" in line
    )
    (data / qg.layout.PUBLIC_FILE).write_bytes(sample_file.read_bytes())
    qg.load_jets()
    assert f"opened data/{qg.layout.PUBLIC_FILE} (simulated)" in capfd.readouterr().out


@pytest.mark.parametrize("folder", ["data", "."])
def test_the_public_file_is_found_under_another_name(
    folder, sample_file, tmp_path, monkeypatch, capfd, good
):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    monkeypatch.setattr(qg.layout, "PUBLIC_JETS", 24)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "simulated_jets.hdf5").write_bytes(sample_file.read_bytes())
    write(tmp_path / folder / "qg jets.h5", good)
    jets = qg.load_jets()
    assert len(jets) == 24
    assert jets.origin == "qg jets.h5 (the public file, by its number of jets)"
    assert "/qg jets.h5 (the public file, by its number of jets)" in capfd.readouterr().out


def test_as_many_simulated_jets_are_not_the_public_file(sample_file, tmp_path, monkeypatch):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    monkeypatch.setattr(qg.layout, "PUBLIC_JETS", 400)
    (tmp_path / "data").mkdir()
    for name in ("simulated_jets.hdf5", "mine.hdf5"):
        (tmp_path / "data" / name).write_bytes(sample_file.read_bytes())
    assert qg.load_jets().origin == "simulated_jets.hdf5 (simulated)"


def test_paths_as_people_give_them(sample_file, monkeypatch):
    monkeypatch.setenv("HOME", str(sample_file.parent))
    monkeypatch.setenv("USERPROFILE", str(sample_file.parent))
    for path in (f"~/{sample_file.name}", str(sample_file).encode(), Path("~") / sample_file.name):
        assert len(load_jets(path)) == 400
    assert main(["inspect", f"~/{sample_file.name}"]) == 0  # as where no shell replaces the ~
    with h5py.File(sample_file) as file, sample_file.open("rb") as opened:
        for handle in (file, opened, file["X_jets"]):
            with pytest.raises(TypeError, match="opens the file by itself: give its path"):
                load_jets(handle)
    for nothing in (7, [7]):
        with pytest.raises(TypeError, match="is no path"):
            load_jets(nothing)


def test_of_few_jets_the_channels_are_judged_together(tmp_path, good):
    """Two jets may have hardly a track, and then a few in another channel."""
    path = tmp_path / "jets.hdf5"
    images = good["X_jets"][:2] * np.float32([0.03, 1, 1])
    write(path, {key: values[:2] for key, values in good.items()} | {"X_jets": images}, images={})
    assert agrees_with_h5py(path)


def test_twins_are_no_copies(tmp_path, good, capfd):
    path = tmp_path / "jets.hdf5"
    twins = {key: np.repeat(good[key][::2], 2) for key in ("y", "pt", "m0")}
    write(path, good, **twins, twin=np.arange(24) // 2)
    jets = load_jets(path)
    assert capfd.readouterr().err == ""
    assert jets.twin.tolist() == [i // 2 for i in range(24)]
    load_jets([path, path])
    assert "24 of the 48 jets" in capfd.readouterr().err
