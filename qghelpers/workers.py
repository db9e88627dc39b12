"""Parallel work by joblib, whose local processes end with the one that started them."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from joblib import Parallel, delayed, effective_n_jobs

__all__ = ["in_order"]

CHECKED_EVERY = 1.0  # seconds


def in_order(tasks: Iterable, workers: int | None = None) -> Iterator:
    """Run joblib tasks in parallel and yield their results in order.

    Args:
        tasks: made by `joblib.delayed`.
        workers: number of processes; by default one per processor, or as many as the backend
            named to `joblib.parallel_config` has.
    """
    tasks = list(tasks)
    workers = min(effective_n_jobs(workers or -1), len(tasks))
    if workers == 1:  # in this process: without start-up time, and with plain error messages
        return (function(*args, **kwargs) for function, args, kwargs in tasks)
    watched = (delayed(_watched)(os.getpid(), *task) for task in tasks)
    return Parallel(workers, return_as="generator", pre_dispatch="2*n_jobs")(watched)


def _watched(parent: int, function: Callable, args: tuple, kwargs: dict):
    if os.getppid() == parent:  # not in a thread, nor on another machine
        _end_with(parent)
    return function(*args, **kwargs)


@cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent, which cannot tell it so if it was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(CHECKED_EVERY)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
