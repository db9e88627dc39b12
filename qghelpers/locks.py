"""One process at a time: what is made once, and the folder of a training, are locked meanwhile."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

__all__ = ["locked"]


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Keep all other processes out of a block that writes `path`, on every machine that sees it.

    Beside `path` lies a lock file while the block runs. A killed process holds no lock. Where a
    lock file cannot be written, or on a file system without locks, nothing is locked; `replacing`
    of `data.hdf5` still writes files whole or not at all.

    Args:
        path: the file or folder; it need not exist, its folder has to.
        wait: for the process that holds the lock, which is said on standard error.

    Raises:
        BlockingIOError: another process holds the lock, and `wait` is false.
    """
    lock = _lock_file(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not wait:
            raise BlockingIOError(f"another process writes {path}") from None
        tqdm.write(f"another process is making {path}: waiting for it", file=sys.stderr)
        with suppress(OSError, NotImplementedError):
            lock.acquire()
    except PermissionError:  # the lock file is another user's, or cannot be made
        pass
    except (OSError, NotImplementedError):
        with suppress(OSError):
            Path(lock.lock_file).unlink()
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # while it is held, so that it is nobody else's
                Path(lock.lock_file).unlink()
            lock.release()


def _lock_file(path: Path) -> FileLock:
    try:
        return FileLock(path, fallback_to_soft=False)  # a soft lock outlives a killed process
    except TypeError:  # earlier versions
        return FileLock(path)
