"""Claims of a lesson, checked where they are made."""

import sys


def claim(text: str, holds: bool) -> None:
    """Print `✓ text` if it holds; the words are the same on any data for which it does.

    A console whose encoding lacks a character shows `OK` or a question mark instead.

    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(f"this does not hold here: {text}")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    mark = "✓".encode(encoding, "ignore").decode(encoding) or "OK"
    print(f"{mark} {text}".encode(encoding, "replace").decode(encoding))
