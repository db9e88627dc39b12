"""Download the public file, and check what came by its content: no checksum is published."""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pooch
import requests

from qghelpers.data import checks, hdf5, layout
from qghelpers.data.checks import DataError, reason
from qghelpers.data.reading import read_blocks
from qghelpers.locks import locked

__all__ = ["ADDRESSES", "fetch"]

# as published; they may move
ADDRESSES = (
    f"https://cernbox.cern.ch/remote.php/dav/public-files/b5WrtcHe0xQ26M4/{layout.PUBLIC_FILE}",
    "https://drive.usercontent.google.com/download?id=1WO2K-SfU2dntGU4Bb3IYBp9Rh7rtTYEr"
    "&export=download&confirm=t",
)
TIMEOUT = 30  # seconds without a byte, after which a connection counts as broken
CHUNK = 2**16  # bytes that are written at once, and lost if the connection breaks
PAUSE = 1  # seconds before the next connection
JETS_TO_CHECK = 100  # whose pixels are compared with the public file's


def fetch(path: str | Path, addresses: Sequence[str] = ADDRESSES) -> bool:
    """Download a file of jets to `path`; False if it is there already.

    What has come is kept beside it, under a name of its own, and continued after a broken
    connection or by the next call; a second process waits for the first. The file gets its name
    once it is complete and holds jet images; as many as the public file, if it has that file's
    name.

    Args:
        path: where the file is wanted.
        addresses: URLs, which are tried one after the other.

    Raises:
        qghelpers.DataError: no address gives such a file, it cannot be written, or another file
            has its name.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        file = path / layout.PUBLIC_FILE
        raise DataError(f"{path} is a folder: name the file that is wanted there, such as {file}")
    with locked(path):
        if path.exists():
            _check_what_is_there(path)
            return False
        _fetch_from_any(path, addresses)
    return True


def _check_what_is_there(path: Path) -> None:
    try:
        _check(path, path.name)
    except (DataError, OSError) as error:
        why = reason(error)
        raise DataError(f"{path} is there, but {why}: move it away, and try again") from error


def _fetch_from_any(path: Path, addresses: Sequence[str]) -> None:
    """Download from the first address that gives such a file."""
    failures = []
    for address in addresses:
        try:
            _fetch(path, address)
            return
        except DataError as error:
            failures.append(f"{address}: {error}")
    raise DataError(
        f"{path.name} could not be downloaded ({'; '.join(failures)}): try again, or download it "
        f"with a browser into {path.parent}, or name another address, --url"
    )


def _fetch(path: Path, address: str) -> None:
    """Download from one address, check, and give the file its name."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    part = path.with_name(f"{path.name}.{digest}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(address, part)
        try:
            _check(part, path.name)
        except DataError:
            part.unlink()  # it has come completely, and cannot be used
            raise
        part.replace(path)
    except OSError as error:
        raise DataError(f"{part} cannot be written, {reason(error)}") from error


def _download(address: str, part: Path) -> None:
    """Download what `part` lacks, through as many connections as bring more of it."""
    most = -1
    while True:
        with part.open("ab") as file:
            try:
                if _append(address, file):
                    return
                error = "the connection broke"
            except requests.RequestException as broken:
                error = _words(broken)
            size = file.tell()
        if size <= most or size == 0:
            if size == 0:
                part.unlink()
            raise DataError(f"{error}, {size:,} bytes have come")
        most = size
        time.sleep(PAUSE)


def _append(address: str, file: BinaryIO) -> bool:
    """Download to a file that is open for appending; whether it is complete then."""
    have, total = file.tell(), None

    def look(response: requests.Response, **_) -> None:
        """Take the length of the file, and begin anew if the server does not continue it."""
        nonlocal total
        length = response.headers.get("content-range", "").rpartition("/")[2]
        if response.status_code == 200:
            file.truncate(0)
            length = response.headers.get("content-length", "")
        total = int(length) if length.isdigit() else None

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    download = pooch.HTTPDownloader(
        progressbar=True,
        chunk_size=CHUNK,
        headers=headers,
        hooks={"response": look},
        timeout=TIMEOUT,
    )
    try:
        download(address, file, None)
    except requests.HTTPError as error:
        if error.response.status_code != 416:
            raise
        if total != have:  # more has come than there is: of another file
            file.truncate(0)
            return False
    file.seek(0, os.SEEK_END)
    return total is None or file.tell() == total


def _words(error: requests.RequestException) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer for {TIMEOUT} s"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "no connection, or it broke"
    return reason(error)


def _check(path: Path, name: str) -> None:
    """Read the whole file, which is to be called `name`; DataError unless it holds such jets."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(checks.SIGNATURE))
        if begins != checks.SIGNATURE:
            raise DataError(checks.explain(path, OSError("no signature"))[0])
        with hdf5.open_file(path) as file:
            jets = len(file["y"])
            if name == layout.PUBLIC_FILE and jets != layout.PUBLIC_JETS:
                raise DataError(
                    f"it holds {jets} jets, not {layout.PUBLIC_JETS} as the public file"
                )
            blocks = read_blocks(file["X_jets"])
            block = next(blocks)
            first = block.dense(np.arange(min(JETS_TO_CHECK, len(block))))
            for _ in blocks:  # damage would be found
                pass
    except DataError as error:
        raise DataError(str(error).replace(str(path), "it")) from error
    if problem := layout.units_problem(first.permute(0, 2, 3, 1).numpy()):
        raise DataError(f"its pixels are not those of jets in GeV/100: {problem[0]}")
