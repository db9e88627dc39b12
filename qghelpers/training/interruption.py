"""Ctrl-C as a request: it is noted, and honoured where nothing is half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Interruption:
    """Whether someone has asked to stop."""

    asked: bool = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Note SIGINT (Ctrl-C) and SIGTERM (from a batch system) instead of obeying them.

    A second SIGINT raises KeyboardInterrupt at once. Outside the main thread, where Python does
    not deliver signals, nothing changes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame) -> None:
        if interruption.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        interruption.asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
