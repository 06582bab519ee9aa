"""Text out of files that strangers made, as it may be shown on a terminal."""

from __future__ import annotations

_MOST = 120  # characters: names of tensors have up to 80


def printable(text: str) -> str:
    r"""Return text with all that is no visible character escaped (a terminal would obey it), cut at 120 characters.

    >>> printable("\x1b[2Jfine")
    '\\x1b[2Jfine'
    """
    visible = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text[:_MOST]
    )
    return visible if len(visible) <= _MOST and len(text) <= _MOST else f"{visible[: _MOST - 1]}…"
