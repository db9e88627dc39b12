"""Claims of a lesson, checked where they are made."""

import sys


def say(mark: str, text: str, otherwise: str = "OK") -> None:
    """Print a line that begins with a mark, or with `otherwise` on a console that lacks the mark.

    Other characters that the console lacks are printed as question marks.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if mark:
        shown = mark.encode(encoding, "ignore").decode(encoding) or otherwise
        text = f"{shown} {text}"
    print(text.encode(encoding, "replace").decode(encoding))


def claim(text: str, holds: bool) -> None:
    """Print `✓ text` if it holds; the words are the same on any data for which it does.

    A console whose encoding lacks a character shows `OK` or a question mark instead.

    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(f"this does not hold here: {text}")
    say("✓", text)
