"""Channels on the command line: the rule, and further files of the same case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from samaritan.cli._errors import UsageError
from samaritan.cli._output import stem

if TYPE_CHECKING:
    from samaritan.core.image import Image
    from samaritan.infer.channels import Channels


def rule(text: str | None, *, added: bool) -> Channels | None:
    """Return the rule of ``--channels``; None if it was not given.

    Raises
    ------
    UnknownNameError
        If it is none.
    UsageError
        If it was not given although files were added.
    """
    from samaritan.infer.channels import Channels

    if added and text is None:
        raise UsageError(
            got="--add-channel without --channels",
            wanted="how the model sees several channels",
            fix="Add --channels average, or --channels each",
        )
    return None if text is None else Channels.parse(text)


def added_files(image: Path, texts: Iterable[str]) -> dict[str, Path]:
    """Return the file of each channel that ``[NAME=]FILE`` texts add to ``image``; by default called as the file is.

    Raises
    ------
    UsageError
        If a name is empty, or two channels have the same.
    """
    added: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        named = bool(equals) and not Path(text).exists()
        path = Path(file if named else text)
        name = name.strip() if named else stem(path)
        if not name or name in (stem(image), *added):
            raise UsageError(
                got=f"--add-channel {text}: " + (f"there is a channel called '{name}'" if name else "no name"),
                wanted="a name of its own for each channel",
                fix=f"Write --add-channel NAME={path}",
            )
        added[name] = path
    return added


def join(image: Image, path: Path, added: Mapping[str, Path]) -> Image:
    """Return ``image``, which was read from ``path``, with the files of further channels; itself if there are none.

    Raises
    ------
    SamaritanError
        If a file cannot be read, holds several channels itself, or lies on another grid.
    """
    from samaritan.core.image import Image
    from samaritan.io import read

    if not added:
        return image
    return Image.from_channels({stem(path): image, **{name: read(file) for name, file in added.items()}})
