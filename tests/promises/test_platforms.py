"""Habits of Windows and macOS, imitated here; the workflow runs the tests on the real ones."""

import ast
import io
import os
import sys
from pathlib import Path

import h5py
import pytest

import qghelpers as qg
from qghelpers import __main__ as command_line
from qghelpers.__main__ import main
from qghelpers.data import hdf5
from qghelpers.data.hdf5 import replacing

PACKAGE = Path(qg.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def test_no_handle_is_synced_that_is_open_for_reading_alone(tmp_path, sample_file, monkeypatch):
    """Windows answers EBADF; the store, a run and a simulated file are all written this way."""
    fcntl = pytest.importorskip("fcntl")
    synced, sync = [], os.fsync

    def as_windows_does(descriptor):
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        synced.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", as_windows_does)
    with replacing(tmp_path / "a file") as temporary:
        temporary.write_text("whole")
    with h5py.File(sample_file) as file, h5py.File(tmp_path / "jets.hdf5", "w") as some:
        for key, data in file.items():
            some[key] = data[:30]
    qg.load_jets(tmp_path / "jets.hdf5")
    assert len(synced) == 2


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_another_program_reads_is_replaced_when_it_is_closed(
    tmp_path, monkeypatch, times
):
    replace, refused = Path.replace, []

    def as_windows_does(path, target):
        if len(refused) < times:
            refused.append(path)
            raise PermissionError(13, "Access is denied")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", as_windows_does)
    monkeypatch.setattr(hdf5, "WINDOWS", True)
    monkeypatch.setattr(hdf5, "PATIENCE", (0.0,) * 3)
    with replacing(tmp_path / "history.csv") as temporary:
        temporary.write_text("new")
    assert len(refused) == times
    assert (tmp_path / "history.csv").read_text() == "new"


def test_a_file_that_stays_open_is_one_line_with_the_cure(tmp_path, monkeypatch):
    def as_windows_does(path, target):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(Path, "replace", as_windows_does)
    monkeypatch.setattr(hdf5, "WINDOWS", True)
    monkeypatch.setattr(hdf5, "PATIENCE", (0.0,) * 3)
    with (
        pytest.raises(qg.DataError, match=r"history.csv cannot be written .*close the program"),
        replacing(tmp_path / "history.csv") as temporary,
    ):
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == []


def test_where_to_ask_for_a_process_kills_it_nobody_is_asked(tmp_path, monkeypatch):
    """A half-written file, closed for a moment, could be removed there: only old ones are."""
    monkeypatch.setattr(hdf5, "WINDOWS", True)
    monkeypatch.setattr(os, "kill", None)
    recent, old = (tmp_path / f".a.{hdf5._host()}-999999-{i:08x}.part" for i in (1, 2))
    recent.touch()
    old.touch()
    os.utime(old, (0, 0))
    hdf5.remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [recent]


class Console(io.TextIOWrapper):
    """Output that goes to a file or a pipe, in an encoding of its own."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "✓ more pixels: 2 ± 1"),
        ("cp1252", "OK more pixels: 2 ± 1"),
        ("ascii", "OK more pixels: 2 ? 1"),
    ],
)
def test_a_claim_is_printed_on_any_console(monkeypatch, encoding, expected):
    console = Console(encoding)
    monkeypatch.setattr(sys, "stdout", console)
    qg.claim("more pixels: 2 ± 1", True)
    assert console.text().splitlines() == [expected]


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_the_command_line_prints_on_any_console(monkeypatch, encoding):
    out, error = Console(encoding), Console(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(command_line, "_benchmark", lambda names: print("0.5 ± 0.1, Δη ✓"))
    assert main(["benchmark"]) == 0
    assert out.text().startswith("0.5 ")
    assert main(["inspect", "Δη.hdf5"]) == 2
    assert "hdf5 does not exist" in error.text()


def text_calls(path: Path):
    """Calls that open a file as text, or may do so."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            name, mode = function.rpartition(".")[2], ast.unparse(node)
            if name in ("read_text", "write_text"):
                yield node
            if (
                name == "open"
                and function not in ("os.open", "Image.open")
                and not any(f"'{kind}'" in mode for kind in ("rb", "wb", "ab", "r+b"))
            ):
                yield node


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_of_text_are_utf8_whatever_the_system_prefers(path):
    for call in text_calls(path):
        assert "utf-8" in ast.unparse(call), ast.unparse(call)


def test_the_stub_can_be_read_in_any_encoding():
    """It is read as the system prefers, by lazy_loader."""
    assert (PACKAGE / "__init__.pyi").read_bytes().isascii()


@pytest.mark.parametrize("variable", ["QGHELPERS_HOME", "QGHELPERS_CACHE"])
def test_a_tilde_is_the_home_folder(tmp_path, sample_file, monkeypatch, variable):
    """No shell replaces it in the settings of Windows, of a notebook or of a container."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv(variable, "~/qg")
    monkeypatch.chdir(tmp_path)
    if variable == "QGHELPERS_HOME":
        assert qg.home() == tmp_path / "qg"
    else:
        qg.load_jets(sample_file)
        assert [path.suffix for path in (tmp_path / "qg").iterdir()] == [".safetensors"]
    assert not (tmp_path / "~").exists()
