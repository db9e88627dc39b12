"""The public file comes complete or not at all, from a server on this machine."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from qghelpers import DataError, layout, load_jets
from qghelpers.__main__ import main
from qghelpers.data import reading
from qghelpers.files import fetch as fetching
from qghelpers.files.fetch import fetch
from qghelpers.locks import locked


@pytest.fixture
def good(sample_file, tmp_path):
    path = tmp_path / "good.hdf5"
    with h5py.File(sample_file) as file, h5py.File(path, "w") as some:
        some.create_dataset(
            "X_jets", data=file["X_jets"][:30], chunks=(5, 125, 125, 3), compression=1
        )
        for key in ("y", "pt", "m0"):
            some[key] = file[key][:30]
    return path.read_bytes()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        content = site.pages.get(self.path)
        asked = self.headers.get("Range")
        site.asked.append((self.path, asked))
        if content is None:
            return self.send_error(404)
        start, size = 0, len(content)
        if asked and site.ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            self.send_response(200)
        if site.lengths:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        drop = site.drops.pop(0) if site.drops else size
        self.wfile.write(content[start : start + drop])
        self.close_connection = True
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def site(monkeypatch):
    """What the server has; after how many bytes it drops connections; what it was asked for."""
    monkeypatch.setattr(fetching, "PAUSE", 0)
    monkeypatch.setattr(fetching, "CHUNK", 100)
    site = SimpleNamespace(pages={}, drops=[], asked=[], ranges=True, lengths=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site, site.url = site, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "good.hdf5")


def test_one_command_puts_it_where_load_jets_finds_it(site, good, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    monkeypatch.setattr(layout, "PUBLIC_JETS", 30)
    monkeypatch.setattr(fetching, "ADDRESSES", (f"{site.url}/gone", f"{site.url}/jets"))
    site.pages["/jets"] = good
    assert main(["fetch"]) == 0
    said = capfd.readouterr()
    assert "30 jets" in said.out
    assert "this is the expected order" in said.out
    assert "100%" in said.err  # progress
    assert (tmp_path / "data" / layout.PUBLIC_FILE).read_bytes() == good
    assert load_jets().origin.endswith("(the public file, by its number of jets)")
    assert len([p for p in names(tmp_path / "data") if "safetensors" not in p]) == 1
    asked = len(site.asked)
    assert main(["fetch"]) == 0
    assert "is there already" in capfd.readouterr().err
    assert len(site.asked) == asked


def test_a_dropped_connection_is_continued(site, good, tmp_path):
    site.pages["/jets"], site.drops = good, [1000, 5000, 300]
    assert fetch(tmp_path / "jets.hdf5", [f"{site.url}/jets"])
    ranges = [None, "bytes=1000-", "bytes=6000-", "bytes=6300-"]
    assert [asked for _, asked in site.asked] == ranges
    assert (tmp_path / "jets.hdf5").read_bytes() == good
    assert names(tmp_path) == ["jets.hdf5"]


def test_from_a_server_that_cannot_continue_it_is_begun_anew(site, good, tmp_path):
    site.pages["/jets"], site.drops, site.ranges = good, [3000], False
    assert fetch(tmp_path / "jets.hdf5", [f"{site.url}/jets"])
    assert (tmp_path / "jets.hdf5").read_bytes() == good


def test_what_has_come_is_kept_for_the_next_time(site, good, tmp_path, capfd):
    site.pages["/jets"], site.drops = good, [7000, 0]
    command = ["fetch", str(tmp_path / "jets.hdf5"), "--url", f"{site.url}/jets"]
    assert main(command) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert "7,000 bytes have come): try again" in line
    (part,) = names(tmp_path)
    assert part.endswith(".part")
    assert main(command) == 0
    assert site.asked[-1][1] == "bytes=7000-"
    assert (tmp_path / "jets.hdf5").read_bytes() == good


def test_what_came_from_one_address_is_not_continued_from_another(site, good, tmp_path):
    site.pages |= {"/other": bytes(9000), "/jets": good}
    site.drops = [3000, 0]
    assert fetch(tmp_path / "jets.hdf5", [f"{site.url}/other", f"{site.url}/jets"])
    assert site.asked == [("/other", None), ("/other", "bytes=3000-"), ("/jets", None)]
    assert (tmp_path / "jets.hdf5").read_bytes() == good


@pytest.mark.parametrize("more", [b"", b"of another file"])
def test_a_part_that_is_complete_or_too_long(site, good, tmp_path, monkeypatch, more):
    site.pages["/jets"] = good
    monkeypatch.setattr(fetching, "_check", lambda *_: 1 / 0)  # killed before the check
    with pytest.raises(ZeroDivisionError):
        fetch(tmp_path / "jets.hdf5", [f"{site.url}/jets"])
    monkeypatch.undo()
    (part,) = names(tmp_path)
    (tmp_path / part).write_bytes(good + more)
    assert fetch(tmp_path / "jets.hdf5", [f"{site.url}/jets"])
    assert (tmp_path / "jets.hdf5").read_bytes() == good


def broken(content):
    place = len(content) // 2
    return content[:place] + bytes(500) + content[place + 500 :]


def other_units(content):
    return of_arrays(content, lambda images: images * 100)


def of_arrays(content, change):
    """A file like this one with other pixels."""
    import io

    with h5py.File(io.BytesIO(content)) as file:
        columns = {key: data[:] for key, data in file.items()}
    with h5py.File(made := io.BytesIO(), "w") as file:
        for key, values in (columns | {"X_jets": change(columns["X_jets"])}).items():
            file[key] = values
    return made.getvalue()


WRONG = {
    "a web page": (lambda good: b"<!DOCTYPE html><html>sign in</html>", "it is a web page"),
    "an archive": (lambda good: b"PK\x03\x04" + bytes(99), "it is a zip archive"),
    "nothing": (lambda good: b"", "it is empty"),
    "a part": (lambda good: good[:-2000], "it cannot be read as HDF5 (it ends after"),
    "damaged pixels": (broken, "it cannot be read as HDF5"),
    "other pixels": (lambda good: of_arrays(good, lambda x: x[..., 0]), "it: X_jets has shape"),
    "other units": (other_units, "not those of jets in GeV/100: the mean pixel"),
    "another file": (lambda good: good, "it holds 30 jets, not 139306 as the public file"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_file_of_jets_gets_no_name(site, good, tmp_path, capfd, monkeypatch, kind):
    monkeypatch.setattr(reading, "IMAGES_PER_BLOCK", 5)  # damage is not in the first block
    make, message = WRONG[kind]
    site.pages["/jets"] = make(good)
    name = layout.PUBLIC_FILE if kind == "another file" else "jets.hdf5"
    path = tmp_path / "data" / name
    assert main(["fetch", str(path), "--url", f"{site.url}/jets"]) == 2
    line = capfd.readouterr().err.splitlines()[-1]
    assert message in line
    assert "name another address, --url" in line
    assert f"{site.url}/jets" in line
    assert names(path.parent) == []


def test_without_a_length_the_content_decides(site, good, tmp_path):
    site.pages["/jets"], site.lengths = good, False
    assert fetch(tmp_path / "jets.hdf5", [f"{site.url}/jets"])
    site.pages["/jets"] = good[:-2000]
    with pytest.raises(DataError, match="it ends after"):
        fetch(tmp_path / "other.hdf5", [f"{site.url}/jets"])
    assert names(tmp_path) == ["jets.hdf5"]


def test_connections_that_fail_cost_one_line(site, good, tmp_path, capfd):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for address, message in (
        (f"{site.url}/none", "the server answers 404 Not Found"),
        (f"http://127.0.0.1:{port}/", "no connection"),
        ("jets.hdf5", "Invalid URL"),
    ):
        assert main(["fetch", str(tmp_path / "jets.hdf5"), "--url", address]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert message in line
        assert names(tmp_path) == []


def test_a_server_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DataError, match=r"no answer for 0\.2 s"):
            fetch(tmp_path / "jets.hdf5", [address])


def test_another_file_of_that_name_is_not_replaced(site, good, tmp_path, capfd):
    site.pages["/jets"] = good
    path = tmp_path / "jets.hdf5"
    path.write_text("my notes")
    assert main(["fetch", str(path), "--url", f"{site.url}/jets"]) == 2
    assert "is there, but it is a text that begins with 'my notes'" in capfd.readouterr().err
    assert path.read_text() == "my notes"


def test_a_folder_is_no_name_for_a_file(tmp_path, capfd):
    (tmp_path / "data").mkdir()
    assert main(["fetch", str(tmp_path / "data")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "is a folder: name the file" in line
    assert str(tmp_path / "data" / layout.PUBLIC_FILE) in line


def test_what_is_there_and_cannot_be_read_costs_one_line(good, tmp_path, capfd, monkeypatch):
    (tmp_path / "jets.hdf5").write_bytes(good)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fetching, "_check", refuse)
    assert main(["fetch", str(tmp_path / "jets.hdf5")]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "jets.hdf5 is there, but Permission denied: move it away" in line


def test_of_two_at_once_one_downloads(site, good, tmp_path, capfd):
    site.pages["/jets"] = good
    target, came = tmp_path / "jets.hdf5", []
    second = threading.Thread(target=lambda: came.append(fetch(target, [f"{site.url}/jets"])))
    with locked(target):
        second.start()
        second.join(1)
        assert second.is_alive()
        target.write_bytes(good)
    second.join()
    assert came == [False]
    assert site.asked == []
    assert "waiting for it" in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_to(site, good, tmp_path, capfd):
    site.pages["/jets"] = good
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "jets.hdf5"
    assert main(["fetch", str(path), "--url", f"{site.url}/jets"]) == 2
    assert "cannot be written" in capfd.readouterr().err


def test_the_published_addresses():
    assert all(address.startswith("https://") for address in fetching.ADDRESSES)
    assert fetching.ADDRESSES[0].endswith(layout.PUBLIC_FILE)
    assert np.size(fetching.ADDRESSES) == 2
