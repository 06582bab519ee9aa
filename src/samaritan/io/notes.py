"""What a file format has no field for, as a small JSON text: label names and colours, channel names, the unit.

It travels in the file where there is room for text (a NIfTI extension), else beside it as ``NAME.labels.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from samaritan.core.errors import CorruptFileError, SamaritanError
from samaritan.core.geometry import Geometry, Unit
from samaritan.core.image import Colour, Image, LabelMap

_KEY = "samaritan"
_VERSION = 1
_MAX_SIDECAR_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Notes:
    """Facts about an image or label map that its file format cannot hold itself.

    ``affine`` is set only for formats without any geometry (a PNG of a slice that has its place in millimetres).
    """

    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, Colour] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    unit: Unit = "mm"
    affine: tuple[tuple[float, ...], ...] | None = None

    @classmethod
    def of(cls, value: Image | LabelMap) -> Self:
        """Return the notes on ``value``, without its affine."""
        if isinstance(value, LabelMap):
            return cls(names=dict(value.names), colours=dict(value.colours), unit=value.geometry.unit)
        return cls(channels=value.channels, unit=value.geometry.unit)

    def to_json(self) -> str:
        """Return the notes as ASCII text."""
        content: dict[str, Any] = {"version": _VERSION, "unit": self.unit}
        if self.channels:
            content["channels"] = list(self.channels)
        if self.affine is not None:
            content["affine"] = [list(row) for row in self.affine]
        content["labels"] = [
            {"value": value, "name": self.names.get(value), "colour": self.colours.get(value)}
            for value in sorted({*self.names, *self.colours})
        ]
        return json.dumps({_KEY: content})

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> Self | None:
        """Return the notes in ``text``; None if it is something else (a comment by another program).

        Raises
        ------
        CorruptFileError
            If it opens as notes and goes on as something else.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):  # brackets within brackets, deeper than notes ever go
            return None
        if not isinstance(content, dict) or _KEY not in content:
            return None
        try:
            return cls._parse(content[_KEY])
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise CorruptFileError(
                got=f"notes in {where} that make no sense ({error})", fix="Write the file anew"
            ) from error

    @classmethod
    def _parse(cls, content: Mapping[str, Any]) -> Self:
        labels = content.get("labels", [])
        affine = content.get("affine")
        return cls(
            names={int(row["value"]): str(row["name"]) for row in labels if row.get("name") is not None},
            colours={int(row["value"]): _colour(row["colour"]) for row in labels if row.get("colour") is not None},
            channels=tuple(str(name) for name in content.get("channels", ())),
            unit=content.get("unit", "mm"),
            affine=None if affine is None else tuple(tuple(float(x) for x in row) for row in affine),
        )

    def label(self, labels: LabelMap) -> LabelMap:
        """Return ``labels`` with these names and colours."""
        return replace(labels, names=self.names, colours=self.colours)

    def place(self, geometry: Geometry) -> Geometry:
        """Return ``geometry`` with the unit, and the affine if there is one, of these notes."""
        affine = geometry.affine if self.affine is None else np.array(self.affine)
        return Geometry(geometry.shape, affine, self.unit)


def _colour(values: list[int]) -> Colour:
    red, green, blue = (int(v) for v in values)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        msg = f"colour {values}"
        raise ValueError(msg)
    return (red, green, blue)


def one_line(text: str) -> str:
    """Return ``text`` as formats of one line a name keep it: printable, single spaces between words."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def sidecar_of(path: Path) -> Path:
    """Return where the notes on ``path`` lie, for formats that cannot hold them: ``mask.png.labels.json``."""
    return path.with_name(f"{path.name}.labels.json")


def write_sidecar(path: Path, notes: Notes) -> None:
    """Write the notes on ``path`` beside it, even when they are empty: older ones must not outlive their mask."""
    sidecar_of(path).write_text(notes.to_json() + "\n", encoding="ascii")


def read_sidecar(path: Path) -> Notes | None:
    """Return the notes that lie beside ``path``; None if there are none.

    Raises
    ------
    CorruptFileError
        If there is a sidecar that is not one.
    """
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return None
    small = sidecar.stat().st_size <= _MAX_SIDECAR_BYTES
    notes = Notes.from_json(sidecar.read_bytes(), where=sidecar.name) if small else None
    if notes is None:
        raise CorruptFileError(got=f"{sidecar.name} does not hold label names", fix="Delete it, or write the mask anew")
    return notes


def with_sidecar(labels: LabelMap, path: Path) -> LabelMap:
    """Return ``labels``, read from ``path``, with what the notes beside it add."""
    notes = read_sidecar(path)
    if notes is None:
        return labels
    try:
        return replace(notes.label(labels), geometry=notes.place(labels.geometry))
    except SamaritanError as error:
        raise CorruptFileError(got=f"{sidecar_of(path).name}: {error}", fix="Write the mask anew") from error


def rows(affine: Any) -> tuple[tuple[float, ...], ...]:  # noqa: ANN401  # any (4, 4) array-like
    """Return a matrix as nested tuples, for ``Notes.affine``."""
    return cast("tuple[tuple[float, ...], ...]", tuple(tuple(float(x) for x in row) for row in affine))
