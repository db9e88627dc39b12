"""The cache is used when it is good, made again when it is not, and never wrong."""

import errno
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import SafetensorError

from qghelpers import DataError, load_jets, locks
from qghelpers.data import cache, reading
from qghelpers.data.checks import reason


@pytest.fixture
def path(sample_file, tmp_path) -> Path:
    copy = tmp_path / "jets.hdf5"
    with h5py.File(sample_file) as file, h5py.File(copy, "w") as some:
        for key, data in file.items():
            some[key] = data[:30]
    return copy


def cache_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sparse.safetensors")


def right(path: Path) -> bool:
    """Whether what `load_jets` gives is what the file holds."""
    with h5py.File(path) as file:
        expected = file["X_jets"][:].transpose(0, 3, 1, 2)
    return np.array_equal(load_jets(path).images(), expected)


def said(capfd) -> str:
    return capfd.readouterr().err


def test_the_second_time_the_cache_is_mapped(path, monkeypatch, capfd):
    assert right(path)
    assert cache_of(path).is_file()
    monkeypatch.setattr(cache, "read_blocks", None)  # would fail
    assert right(path)
    assert load_jets(path, limit=3)._images.nbytes == load_jets(path)._images.nbytes
    assert said(capfd) == ""
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, cache_of(path).name]


def test_a_file_that_has_changed_is_read_again(path, capfd):
    load_jets(path)
    with h5py.File(path, "r+") as file:
        file["X_jets"][3] = 0
    assert right(path)
    assert said(capfd).count("has changed") == 1
    before = path.stat()
    with h5py.File(path, "r+") as file:
        file["X_jets"][4] = 0
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size  # so that the digest alone can see it
    assert right(path)
    assert said(capfd).count("has changed") == 1
    assert right(path)
    assert said(capfd) == ""


@pytest.mark.parametrize("place", [0, -1])
def test_the_digest_sees_both_ends_of_a_file(tmp_path, place):
    content = bytearray(100_000)
    (tmp_path / "file").write_bytes(content)
    before = cache.content_digest(tmp_path / "file")
    content[place] = 1
    (tmp_path / "file").write_bytes(content)
    assert cache.content_digest(tmp_path / "file") != before


def test_another_version_is_not_used(path, monkeypatch, capfd):
    load_jets(path)
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    assert right(path)
    assert "another version" in said(capfd)


def places(size: int) -> list[int]:
    rng = np.random.default_rng(0)
    return sorted({0, 7, 8, 9, 400, size - 1, *rng.integers(0, size, 30), *range(8, 500, 23)})


def test_a_flipped_bit_anywhere_is_noticed(path, capfd):
    load_jets(path)
    file = cache_of(path)
    good = file.read_bytes()
    noticed = 0
    for place in places(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        assert right(path)
        lines = said(capfd).splitlines()
        noticed += len(lines)
        assert len(lines) <= 1
        assert file.read_bytes() == good
    assert noticed == len(places(len(good)))


@pytest.mark.parametrize("size", [0, 1, 8, 100, 4096, 5000, -1])
def test_a_truncated_cache_is_noticed(path, size, capfd):
    load_jets(path)
    good = cache_of(path).read_bytes()
    cache_of(path).write_bytes(good[:size])
    assert right(path)
    assert len(said(capfd).splitlines()) == 1
    assert cache_of(path).read_bytes() == good


def test_something_else_under_its_name_is_replaced_or_left_alone(path, capfd):
    cache_of(path).write_text("a note to myself")
    assert right(path)
    assert len(said(capfd).splitlines()) == 1
    cache_of(path).unlink()
    cache_of(path).mkdir()
    assert right(path)  # from the user's cache folder
    assert said(capfd) == ""
    assert cache_of(path).is_dir()


def test_a_file_without_a_lit_pixel_can_be_cached(tmp_path):
    with h5py.File(tmp_path / "blank.hdf5", "w") as file:
        blank = file.create_dataset("X_jets", (3, 125, 125, 3), "f4")
        for _ in range(2):
            images = cache.open_images(blank)
            assert len(images) == 3
            assert not images.dense(np.arange(3)).any()


def test_the_limit_reads_no_more_than_it_needs_and_leaves_no_cache(path):
    jets = load_jets(path, limit=5, seed=2)
    assert len(jets._images) == 5
    assert not cache_of(path).exists()


def test_a_process_is_sent_a_name_instead_of_the_pixels(path):
    jets = load_jets(path)
    sent = pickle.dumps(jets[:2]._images)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).dense(np.arange(30)), jets.images())


def test_a_cache_that_is_made_anew_while_it_is_in_use(path):
    """A process that starts later gets the same images, or is told that they are others."""
    jets = load_jets(path)
    before, sent = jets.images(), pickle.dumps(jets._images)
    os.utime(path)  # the file is copied again, or only touched
    load_jets(path)
    np.testing.assert_array_equal(pickle.loads(sent).dense(np.arange(30)), before)
    with h5py.File(path, "r+") as file:
        file["X_jets"][3] = 0
    load_jets(path)
    np.testing.assert_array_equal(jets.images(), before)  # the old cache is still mapped
    with pytest.raises(DataError, match="no longer holds these images: open the jets again"):
        pickle.loads(sent)
    cache_of(path).unlink()
    with pytest.raises(DataError, match="no longer holds these images: open the jets again"):
        pickle.loads(sent)


def test_a_cache_that_another_process_makes_meanwhile_is_not_made_again(path, monkeypatch):
    load_jets(path)
    content = cache_of(path).read_bytes()
    cache_of(path).unlink()

    @contextmanager
    def other(which):
        which.write_bytes(content)
        yield

    monkeypatch.setattr(cache, "locked", other)
    monkeypatch.setattr(cache, "read_blocks", None)  # would fail
    assert right(path)


def test_where_the_folder_cannot_be_written_to_the_users_cache_is_used(
    path, tmp_path, monkeypatch, capfd
):
    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr(cache, "user_cache_path", lambda _: elsewhere)

    write = cache._write

    def write_elsewhere(file, *rest):
        if file.parent != elsewhere:
            raise PermissionError
        write(file, *rest)

    monkeypatch.setattr(cache, "_write", write_elsewhere)
    elsewhere.mkdir()
    assert right(path)
    assert not cache_of(path).exists()
    assert len(list(elsewhere.iterdir())) == 1
    monkeypatch.setattr(cache, "read_blocks", None)
    assert right(path)
    assert said(capfd) == ""


def test_where_nothing_can_be_written_to_it_is_read_into_memory(path, monkeypatch, capfd):
    """A folder that is there may still be read-only: it is tried."""

    def refuse(**options):
        raise PermissionError

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(reading, "IMAGES_PER_BLOCK", 1)  # in several blocks
    assert right(path)
    (line,) = said(capfd).splitlines()
    assert "set QGHELPERS_CACHE" in line
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def refusing(*_, **__):
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def failing_first(function, error):
    """A function that fails for the cache beside the file."""

    def fails(path, *arguments):
        if "own" not in str(path) and "cache of" not in str(path):
            raise error
        return function(path, *arguments)

    return fails


# What cannot be done beside the file: the function of `cache` that fails, and how.
FAILURES = {
    "disk full": ("_write", OSError(errno.ENOSPC, "No space left on device")),
    "quota": ("_write", OSError(errno.EDQUOT, "Disk quota exceeded")),
    "read-only": ("_write", OSError(errno.EROFS, "Read-only file system")),
    "another user's folder": ("_write", PermissionError(errno.EACCES, "Permission denied")),
    "no mapping of files": ("_map", OSError(errno.ENODEV, "No such device")),
    "mapping runs out": ("_map", SafetensorError("cannot allocate memory")),
    "a disk that fails": ("_map", OSError(errno.EIO, "Input/output error")),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_cache_that_cannot_be_kept_here_is_kept_there_else_nowhere(
    path, tmp_path, monkeypatch, capfd, kind
):
    name, error = FAILURES[kind]
    elsewhere = tmp_path / "cache of the user"
    monkeypatch.setattr(cache, "user_cache_path", lambda _: elsewhere)
    function = getattr(cache, name)
    monkeypatch.setattr(cache, name, failing_first(function, error))
    assert right(path)
    assert len(list(elsewhere.iterdir())) == 1
    said(capfd)

    def always(*_, **__):
        raise error

    monkeypatch.setattr(cache, name, always)
    for used in elsewhere.iterdir():
        used.unlink()
    assert right(path)
    line = said(capfd).splitlines()[-1]
    assert "set QGHELPERS_CACHE to a folder" in line
    assert str(path.parent) in line
    assert reason(error) in line
    assert not list(elsewhere.iterdir()) or name == "_map"


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "no locks"), NotImplementedError("flock")])
def test_where_nothing_can_be_locked_the_cache_is_made_all_the_same(
    path, monkeypatch, capfd, error
):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    assert right(path)
    assert cache_of(path).is_file()
    assert said(capfd) == ""


def test_without_a_home_folder(path, monkeypatch, capfd):
    monkeypatch.setattr(cache, "user_cache_path", lambda _: Path("~/.cache/qghelpers"))
    monkeypatch.setattr(cache.os.path, "expanduser", str)
    monkeypatch.chdir(path.parent)
    assert right(path)
    assert said(capfd) == ""
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, cache_of(path).name]
    cache_of(path).unlink()
    write = cache._write

    def refusing_here(file, *rest):
        return refusing() if file.parent == path.parent else write(file, *rest)

    monkeypatch.setattr(cache, "_write", refusing_here)
    assert right(path)
    assert "QGHELPERS_CACHE" in said(capfd)
    monkeypatch.setenv("QGHELPERS_CACHE", "~/mine")
    assert right(path)
    assert "no home folder" in said(capfd)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are POSIX")
def test_a_cache_of_another_user_that_cannot_be_read(path, tmp_path, monkeypatch, capfd):
    """It is said once; from then on the user's own one is used."""
    monkeypatch.setattr(cache, "user_cache_path", lambda _: tmp_path / "own")
    monkeypatch.setattr(cache, "_write", failing_first(cache._write, PermissionError()))
    load_jets(path)
    map_ = cache._map

    def forbidden(file, identity):
        if file == cache_of(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return map_(file, identity)

    shutil.copy(next((tmp_path / "own").iterdir()), cache_of(path))
    monkeypatch.setattr(cache, "_map", forbidden)
    assert right(path)
    assert said(capfd) == ""
    monkeypatch.setattr(cache, "read_blocks", None)
    assert right(path)


def test_a_cache_named_by_the_environment_that_cannot_be_kept(path, tmp_path, monkeypatch, capfd):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QGHELPERS_CACHE", str(tmp_path / "file" / "folder"))
    assert right(path)
    (line,) = said(capfd).splitlines()
    assert "QGHELPERS_CACHE" in line
    assert "Not a directory" in line
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("QGHELPERS_CACHE", "~/mine")
    assert right(path)
    assert len(list((tmp_path / "mine").iterdir())) == 1


def test_a_folder_for_the_cache_can_be_named(path, tmp_path, monkeypatch):
    monkeypatch.setenv("QGHELPERS_CACHE", str(tmp_path / "there" / "below"))
    assert right(path)
    assert not cache_of(path).exists()
    assert len(list((tmp_path / "there" / "below").iterdir())) == 1


SCRIPT = "import sys, qghelpers; print(qghelpers.load_jets(sys.argv[1]).images().sum().item())"


def process(path: Path, script: str = SCRIPT) -> subprocess.Popen:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SLOW = (
    """
import sys, time
from qghelpers.data import cache
read = cache.read_blocks
def slow(images):
    for block in read(images):
        yield block
        print("a block", flush=True)
        time.sleep(100)
cache.read_blocks = slow
"""
    + SCRIPT
)


def test_two_processes_at_once(path):
    """While one makes the cache, the others wait; it is made once, and all are right."""
    go = path.with_suffix(".go")
    until_told = f"while not __import__('os').path.exists({str(go)!r}): time.sleep(0.1)"
    slow = SLOW.replace("time.sleep(100)", until_told)
    first = process(path, slow)
    assert first.stdout.readline() == "a block\n"
    others = [process(path) for _ in range(2)]
    for other in others:
        assert other.stderr.readline().endswith("waiting for it\n")
    go.touch()
    printed = {done.communicate()[0] for done in (first, *others)}
    assert [done.returncode for done in (first, *others)] == [0, 0, 0]
    assert len(printed) == 1
    assert right(path)
    go.unlink()
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, cache_of(path).name]


@pytest.mark.posix
def test_a_killed_conversion_leaves_nothing_that_is_taken_for_good(path, capfd):
    running = process(path, SLOW)
    assert running.stdout.readline() == "a block\n"
    running.send_signal(signal.SIGKILL)
    running.communicate()
    left_over = [p for p in path.parent.iterdir() if p.suffix == ".part"]
    assert len(left_over) == 1
    assert right(path)
    assert said(capfd) == ""
    assert not left_over[0].exists()


FULL = """
import resource, signal, sys, qghelpers
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
from qghelpers.__main__ import main
sys.exit(main(["inspect", sys.argv[1]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of the size of a file are POSIX")
def test_a_full_disk_costs_one_clear_line_and_no_more(path):
    out, err = (running := process(path, FULL)).communicate()
    assert running.returncode == 0
    assert "30 jets" in out
    assert len(err.splitlines()) == 1
    assert "QGHELPERS_CACHE" in err
    assert "File too large" in err
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_changes_while_it_is_read_is_not_cached(path, monkeypatch):
    def changing(images):
        yield from reading.read_blocks(images)
        os.utime(path)

    monkeypatch.setattr(cache, "read_blocks", changing)
    with pytest.raises(DataError, match="was changed while it was read"):
        load_jets(path)
    assert not cache_of(path).exists()


def test_a_copy_of_both_files_elsewhere_stays_valid_if_times_are_kept(path, tmp_path, monkeypatch):
    load_jets(path)
    shutil.copytree(path.parent, tmp_path / "copy", copy_function=shutil.copy2)
    monkeypatch.setattr(cache, "read_blocks", None)
    assert right(tmp_path / "copy" / path.name)
