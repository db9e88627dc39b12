"""One process at a time, on file systems with locks; without them, the work goes on."""

import errno
import multiprocessing
import random
import signal
import subprocess
import sys
import time

import filelock
import pytest

from qghelpers.data.hdf5 import replacing
from qghelpers.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from qghelpers.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    print("done", flush=True)
"""


def holder(path, seconds: float) -> subprocess.Popen:
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_who_waits_says_so_and_goes_on_when_the_other_is_done(tmp_path, capfd):
    path = tmp_path / "a file"
    process = holder(path, 1)
    with locked(path):
        assert process.stdout.readline() == "done\n"
    process.communicate()
    assert f"another process is making {path}: waiting for it" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_who_waits_does_so_as_long_as_it_takes(tmp_path, monkeypatch):
    """A simulation takes minutes."""
    given = []

    def acquire(self, timeout=None, **others):
        given.append(self.timeout if timeout is None else timeout)
        if len(given) == 1:
            raise filelock.Timeout(self.lock_file)

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with locked(tmp_path / "a file"):
        pass
    assert given == [0, -1]  # not at all, and without an end


def test_who_does_not_wait_is_told(tmp_path):
    process = holder(tmp_path / "a file", 60)
    with pytest.raises(BlockingIOError), locked(tmp_path / "a file", wait=False):
        pass
    with locked(tmp_path / "another", wait=False):
        pass
    process.kill()
    process.communicate()


@pytest.mark.posix
def test_a_killed_process_holds_no_lock(tmp_path, capfd):
    process = holder(tmp_path / "a file", 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with locked(tmp_path / "a file", wait=False):
        pass
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO, errno.ENOSYS])
def test_without_locks_the_work_goes_on(tmp_path, monkeypatch, capfd, number):
    """As on NFS without a lock service, Lustre without flock, and others."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(descriptor, operation):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        with locked(tmp_path / "a file", wait=False):
            pass
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""


def test_where_no_lock_file_can_be_written_the_work_goes_on(tmp_path):
    with locked(tmp_path / "none" / "a file", wait=False):
        pass


def count(path, barrier, rounds):
    for _ in range(rounds):
        barrier.wait()
        time.sleep(random.random() / 100)
        with locked(path):
            number = int(path.read_text()) if path.exists() else 0
            time.sleep(random.random() / 100)
            with replacing(path) as temporary:
                temporary.write_text(str(number + 1))


def test_two_processes_twenty_times_with_random_delays(tmp_path):
    start = multiprocessing.get_context("spawn")
    barrier, path = start.Barrier(2, timeout=200), tmp_path / "a number"
    both = [start.Process(target=count, args=(path, barrier, 20), daemon=True) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert path.read_text() == "40"
    assert list(tmp_path.iterdir()) == [path]
