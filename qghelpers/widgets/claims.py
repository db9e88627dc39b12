"""Claims of a lesson, checked where they are made."""


def claim(text: str, holds: bool) -> None:
    """Print `✓ text` if it holds; the words are the same on any data for which it does.

    Raises:
        AssertionError: it does not hold.
    """
    if not holds:
        raise AssertionError(f"this does not hold here: {text}")
    print(f"✓ {text}")
