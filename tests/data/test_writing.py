"""Files appear whole or not at all, and what was left half written is removed."""

import os
import subprocess
import sys
import time

import pytest

from qghelpers.data import checks, hdf5
from qghelpers.data.hdf5 import DataError, replacing

KILLED = """
import os, signal, sys
from pathlib import Path
from qghelpers.data.hdf5 import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def partial(folder):
    return sorted(path.name for path in folder.glob(".*.part"))


def write(path, text="whole"):
    with replacing(path) as temporary:
        temporary.write_text(text)


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a file"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert partial(tmp_path) == []


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a file"
    write(path, "before")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "before"
    assert partial(tmp_path) == []


def test_a_folder_is_not_replaced(tmp_path):
    with pytest.raises(DataError, match="it is a folder"):
        write(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_the_next_file_sweeps_what_a_killed_process_left(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, tmp_path / "one"], check=False)
    assert len(partial(tmp_path)) == 1
    write(tmp_path / "another")
    assert partial(tmp_path) == []
    assert not (tmp_path / "one").exists()


def test_a_file_that_is_being_written_is_spared(tmp_path):
    with replacing(tmp_path / "one") as temporary:
        temporary.write_text("half")
        write(tmp_path / "another")
        assert partial(tmp_path) == [temporary.name]
    assert (tmp_path / "one").read_text() == "half"


@pytest.mark.parametrize(("hours", "kept"), [(1, True), (25, False)])
def test_another_machines_file_is_removed_after_a_day(tmp_path, hours, kept):
    of_another = tmp_path / f".one.{0:08x}-{os.getpid()}-{1:08x}.part"
    of_another.write_text("half")
    then = time.time() - hours * 3600
    os.utime(of_another, (then, then))
    hdf5.remove_left_overs(tmp_path)
    assert of_another.exists() == kept


@pytest.mark.parametrize("name", [".holiday.mp4.part", f".one.{1:08x}.part"])
def test_other_programs_files_are_never_touched(tmp_path, name):
    path = tmp_path / name
    path.write_text("half")
    os.utime(path, (0, 0))
    write(tmp_path / "another")
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there, to ask is to kill")
@pytest.mark.parametrize(
    ("error", "kept"), [(PermissionError, True), (ProcessLookupError, False), (None, True)]
)
def test_a_file_of_a_process_that_lives_is_spared_whosever_it_is(
    tmp_path, monkeypatch, error, kept
):
    def kill(pid, number):
        assert (pid, number) == (12345, 0)
        if error is not None:
            raise error

    path = tmp_path / f".one.{hdf5._host()}-12345-{1:08x}.part"
    path.write_text("half")
    monkeypatch.setattr(os, "kill", kill)
    hdf5.remove_left_overs(tmp_path)
    assert path.exists() == kept


def test_a_truncated_file_says_how_much_of_it_is_there(tmp_path):
    error = OSError("unable to open file (truncated file: eof = 1500, sblock, stored_eof = 4000)")
    (tmp_path / "jets.hdf5").write_bytes(checks.SIGNATURE)
    cause, cure = checks.explain(tmp_path / "jets.hdf5", error)
    assert cause == "it ends after 1,500 of 4,000 bytes"
    assert "cut short" in cure
