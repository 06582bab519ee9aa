"""Text of the command line to numbers; whether they make sense on an image is decided where the image is known."""

from __future__ import annotations

import math
from collections.abc import Iterable

from samaritan.cli._errors import UsageError
from samaritan.core.errors import PromptError, ResourceError

Numbers = tuple[float, ...]
ENCODINGS = ("binary", "labelmap")


def numbers(values: str | Iterable[object], what: str) -> Numbers:
    """Return two or three finite numbers from ``"x,y[,z]"`` or a JSON list.

    Raises
    ------
    PromptError
        If there are fewer or more, or one of them is no finite number.
    """
    parts = values.split(",") if isinstance(values, str) else list(values)
    try:
        found = tuple(float(part) for part in parts)  # type: ignore[arg-type]  # a JSON value may be anything
    except (TypeError, ValueError):
        found = ()
    if len(found) not in (2, 3) or not all(map(math.isfinite, found)):
        raise PromptError(got=f"{what} '{values}'", wanted="x,y or x,y,z, numbers without spaces between them")
    return found


def corners(text: str) -> tuple[Numbers, Numbers]:
    """Return the two corners of ``"x0,y0[,z0]:x1,y1[,z1]"``.

    Raises
    ------
    PromptError
        If there are not two corners of equally many numbers.
    """
    parts = [numbers(part, "box corner") for part in text.split(":")]
    if len(parts) != 2 or len(parts[0]) != len(parts[1]):
        raise PromptError(got=f"box '{text}'", wanted="x0,y0:x1,y1 or x0,y0,z0:x1,y1,z1")
    return parts[0], parts[1]


def outline(text: str) -> tuple[list[Numbers], int | None]:
    """Return the vertices of ``"x,y:x,y:..."`` and the slice of a trailing ``"@z"``, None without one.

    Raises
    ------
    PromptError
        If there are fewer than three vertices, a vertex is not two numbers, or the slice is no whole number.
    """
    drawn, at, place = text.partition("@")
    vertices = [numbers(part, "lasso vertex") for part in drawn.split(":")]
    if len(vertices) < 3 or any(len(vertex) != 2 for vertex in vertices) or (at and not place.isdecimal()):
        raise PromptError(
            got=f"lasso '{text}'", wanted="x,y:x,y:x,y..., three or more, with @z for a slice of a volume"
        )
    return vertices, int(place) if at else None


def size_in_bytes(text: str) -> int:
    """Return the bytes of ``"4GiB"`` or ``"500MB"``.

    Raises
    ------
    UsageError
        If it is no positive size.
    """
    from samaritan.infer.memory import parse_size

    try:
        return parse_size(text)
    except ResourceError as error:
        raise UsageError(got=f"--max-memory: {error.got}", wanted=error.wanted) from error


def encoding(text: str | None) -> str | None:
    """Return the kind of DICOM SEG in the word that ``samaritan.io.write`` has for it.

    Raises
    ------
    UsageError
        If there is no such kind.
    """
    if text is None or text.lower() in ENCODINGS:
        return text and text.lower()
    raise UsageError(got=f"--type '{text}'", wanted=f"one of: {', '.join(ENCODINGS).upper()}")


def choice(text: str | None) -> str | int | None:
    """Return a number where ``text`` is one: a series or channel may be named or counted."""
    return int(text) if text is not None and text.isdecimal() else text
