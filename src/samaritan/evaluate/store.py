"""Where a run is kept: a file for each model, protocol and case, whole or not there; so it goes on from any kill.

::

    OUT/run.json                             what was asked for
    OUT/units/MODEL/PROTOCOL/CASE.json       rows, seconds, prompts, last masks; or an error, or why it was skipped;
                                             and what it was made of (``made_of``): see ``samaritan.evaluate.sources``
    OUT/units/objects/CASE.json              what the objects of a case are like, and its labels
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samaritan.core.errors import DataSetError
from samaritan.io.atomic import atomic_path

OBJECTS = "objects"
_RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Store:
    """The folder of a run."""

    folder: Path

    @property
    def begun(self) -> bool:
        """Whether there is a run in the folder."""
        return (self.folder / _RUN).is_file()

    def begin(self, asked: dict[str, Any]) -> None:
        """Note what a run asks for; or find that the folder holds another one.

        What decides every row (``fixed``) must be the same; models, protocols and cases may be added.

        Raises
        ------
        DataSetError
            If the folder holds a run of other settings, or something else.
        """
        path = self.folder / _RUN
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.begun:
            before = json.loads(path.read_text(encoding="utf-8"))
            differing = sorted(key for key, value in asked["fixed"].items() if before["fixed"].get(key) != value)
            if differing:
                key = differing[0]
                raise DataSetError(
                    got=f"{self.folder} with a run of {key} {before['fixed'].get(key)}, and now {asked['fixed'][key]}",
                    wanted="the same settings to go on with it",
                    fix="Give another folder: -o",
                )
        elif any(self.folder.iterdir()):
            raise DataSetError(
                got=f"{self.folder}, which holds other things than a run", wanted="a new folder, or that of a run"
            )
        with atomic_path(path) as staged:
            staged.write_text(json.dumps(asked, indent=2, ensure_ascii=False), encoding="utf-8")

    def asked(self) -> dict[str, Any]:
        """Return what the run was asked for.

        Raises
        ------
        DataSetError
            If the folder holds no run.
        """
        path = self.folder / _RUN
        if not self.begun:
            raise DataSetError(got=f"{self.folder} without a {_RUN}", wanted="the folder of an evaluation")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def get(self, case: str, *parts: str) -> dict[str, Any] | None:
        """Return what is kept of a case under some names (a model and a protocol); None if nothing is."""
        path = self._path(case, *parts)
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        return found

    def put(self, unit: dict[str, Any], case: str, *parts: str) -> None:
        """Keep what came of a case under some names."""
        path = self._path(case, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as staged:
            staged.write_text(json.dumps(unit, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")

    def drop(self, case: str, *parts: str) -> None:
        """Keep nothing of a case under some names."""
        self._path(case, *parts).unlink(missing_ok=True)

    def units(self, cases: list[str], *parts: str) -> Iterator[dict[str, Any]]:
        """Yield what is kept of each case under some names, in their order; nothing where nothing is."""
        for case in cases:
            unit = self.get(case, *parts)
            if unit is not None:
                yield unit

    def _path(self, case: str, *parts: str) -> Path:
        return self.folder.joinpath("units", *map(_name, parts), f"{_name(case)}.json")


def _name(text: str) -> str:
    """Return a name for a file that tells ``text`` from any other: readable, and short whatever it is."""
    plain = re.sub(r"[^\w.-]+", "_", text)[-60:].lstrip(".")
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
