"""Files that are whole or not there at all, and one clear line when something is wrong with one."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4


class DataError(ValueError):
    """A file that cannot be used: one line that names it, what is wrong and what to do."""


def reason(error: BaseException) -> str:
    """The reason alone, in one line: h5py wraps that of the operating system in a long message."""
    text = " ".join(
        (getattr(error, "strerror", None) or str(error) or type(error).__name__).split()
    )
    inner = re.search("error message = '([^']+)'", text)
    return inner[1] if inner else text


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, beside `path`; it gets that name once it is on the disk.

    Until the block ends without an error nothing is at `path` but what was there before; the
    temporary file is removed if the block fails or is interrupted.

    Raises:
        DataError: the folder does not exist, cannot be written to or is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({reason(error)}): choose a folder you can write to, "
            "with space left"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
