"""A journal asked again: the questions that one model was asked, in a run or a session, put to any other."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from samaritan.core.errors import CorruptFileError, DataSetError
from samaritan.core.model import telling_of
from samaritan.evaluate.corruptions import CORRUPTIONS, SEVERITIES
from samaritan.evaluate.journal import from_entry, only_kinds
from samaritan.evaluate.protocols import PROTOCOLS, Asking, Protocol, Question
from samaritan.evaluate.subjects import Subject

_JOINT = "@"
_LINE = "line"  # of an entry: where it stands
_TOLD = 40  # characters of a value that is told
# The object that a question is about, then what to_entry writes of the question.
_NAMES = ("model", "protocol", "case", "value", "instance", "axis", "index", "step", "effort", "prompts")
_Object = tuple[str, int, int]
_Told = dict[str, dict[_Object, list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Journal:
    """A file of questions, one in a line, as ``samaritan.evaluate.tables`` has them."""

    path: Path

    @property
    def protocols(self) -> tuple[str, ...]:
        """What was asked of whom, in order, such as ``clicks@tiny``: each can be asked again.

        Raises
        ------
        CorruptFileError
            If the file is no journal.
        DataSetError
            If nothing was asked.
        """
        found = tuple(_read(self.path))
        if not found:
            raise DataSetError(got=f"{self.path} without a question", wanted="the journal of a run or a session")
        return found

    @property
    def sha256(self) -> str:
        """What tells its content from any other's."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def of_volumes(self) -> bool:
        """Whether questions are about volumes as a whole."""
        entries = (entry for objects in _read(self.path).values() for asked in objects.values() for entry in asked)
        return any(entry["index"] is None for entry in entries)

    def protocol(self, name: str, case: str, subjects: Sequence[Subject]) -> Protocol | None:
        """Return how a case is asked about; None if nothing was asked about it.

        Raises
        ------
        DataSetError
            If a question is about another slice than the object of its name is asked for in.
        PromptError
            If a prompt is of an unknown kind or lies outside.
        """
        asked = [found for subject in subjects for found in self._questions(name, case, subject)]
        if not any(asked):
            return None
        known = PROTOCOLS.get(first_asked(name)) if first_asked(name) in PROTOCOLS else _SOME
        return replace(known, kinds=only_kinds(question for found in asked for question in found))

    def askings(self, name: str, case: str, subject: Subject) -> list[Asking]:
        """Return the questions about each object of a subject, whatever is answered.

        Raises
        ------
        DataSetError, PromptError
            As ``protocol``.
        """
        return [_again(questions) for questions in self._questions(name, case, subject)]

    def _questions(self, name: str, case: str, subject: Subject) -> Iterator[list[Question]]:
        for wanted in subject.wanted:
            entries = _read(self.path)[name].get((case, wanted.value, wanted.instance), [])
            for entry in entries:
                there = (entry["axis"], entry["index"]) if entry["index"] is not None else None
                if there != (None if subject.index is None else (subject.axis, subject.index)):
                    raise DataSetError(
                        got=f"{self.path.name} asks about {wanted.name} in {there or 'the volume'}",
                        wanted=f"{(subject.axis, subject.index) if subject.index is not None else 'the volume'}",
                        fix="Take the data and the options (--dims, --largest-piece) that it was written with",
                    )
            yield [self._question(entry, subject) for entry in entries]

    def _question(self, entry: dict[str, Any], subject: Subject) -> Question:
        with telling_of(f"{self.path.name}, line {entry[_LINE]}"):
            return from_entry(entry, subject.geometry)


def first_asked(name: str) -> str:
    """Return the protocol that a name of ``Journal.protocols`` goes back to; of any other name itself."""
    return name.rpartition(_JOINT)[0] or name


def _again(questions: Sequence[Question]) -> Asking:
    for question in questions:  # noqa: UP028  # a sequence takes no answers
        yield question


def _nobody(*_given: object) -> Asking:
    """Ask nothing by itself: its questions are those of ``Journal.askings``."""
    yield from ()


_SOME = Protocol(title="questions of a session", run=_nobody, kinds=frozenset(), axis="questions")


@lru_cache(maxsize=1)  # a process is about one journal
def _read(path: Path) -> _Told:
    """Return questions by name, and by object."""
    told: _Told = defaultdict(lambda: defaultdict(list))
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise _odd(path, number, "no JSON") from error
            missing = [name for name in _NAMES if name not in entry] if isinstance(entry, dict) else list(_NAMES)
            if missing:
                raise _odd(path, number, f"no {', no '.join(missing)}")
            for name, (fits, kind) in _KINDS.items():
                if name in entry and not fits(entry[name]):
                    raise _odd(path, number, f"{name} is {json.dumps(entry[name])[:_TOLD]}, not {kind}")
            about = (entry["case"], entry["value"], entry["instance"])
            told[f"{entry['protocol']}{_JOINT}{entry['model']}"][about].append(entry | {_LINE: number})
    return told


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_prompts(value: object) -> bool:
    """Whether it is null, or sets of prompts, each a mapping; what is in these is for ``Prompts.from_dict`` to say."""
    sets = [] if value is None else value
    return isinstance(sets, list) and all(
        isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in sets
    )


def _is_corruption(value: object) -> bool:
    match value:
        case None:
            return True
        case [str(name), int(severity)]:
            return severity == 0 or (name in CORRUPTIONS and severity in SEVERITIES)
        case _:
            return False


# What the values of a line have to be, and how that is said.
_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("model", "protocol", "case", "step"), (_is_text, "a text")),
    **dict.fromkeys(("value", "instance"), (_is_whole, "a whole number")),
    "axis": (lambda value: value in ("i", "j", "k"), "i, j or k"),
    "index": (lambda value: value is None or (_is_whole(value) and value >= 0), "a slice's number, or null"),
    "effort": (_is_number, "a number"),
    "prompts": (_are_prompts, "null, or lists of prompts"),
    "refines": (lambda value: isinstance(value, bool), "true or false"),
    "corruption": (_is_corruption, f"a corruption ({', '.join(CORRUPTIONS)}) and its severity, or null"),
}


def _odd(path: Path, number: int, found: str) -> CorruptFileError:
    return CorruptFileError(
        got=f"{path.name}, line {number}: {found}", wanted="a question in each line, as journal.jsonl of a run has them"
    )
