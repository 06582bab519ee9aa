"""A protocol carried out: questions asked of a model about objects, answers scored, all written down."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from samaritan.core.geometry import Geometry
from samaritan.evaluate.asking import Asked
from samaritan.evaluate.journal import Entry, to_entry
from samaritan.evaluate.protocols import Answer, Asking, Protocol, Question
from samaritan.evaluate.scoring import Row, Scorer
from samaritan.evaluate.subjects import Subject, Wanted

Bools = NDArray[np.bool_]


@dataclass(eq=False)
class Outcome:
    """What came of one object: rows of scores, seconds of each answer, the journal, and the last answer."""

    rows: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    answer: Answer | None = None

    @property
    def mask(self) -> Bools | None:
        """The last mask that was thought best; None if nothing was asked."""
        return None if self.answer is None else self.answer.mask


def carry_out(
    protocol: Protocol, subject: Subject, asked: Asked, scorer: Scorer, askings: Sequence[Asking]
) -> list[Outcome]:
    """Ask for every object of a subject, and return what came of each.

    Parameters
    ----------
    protocol
        How to ask. If it is ``together``, all objects are asked for in step, and overlaps given to the later one.
    subject, asked
        About what, of whom.
    scorer
        What is measured.
    askings
        The questions about each object.
    """
    talks = [
        _Talk(wanted, subject.geometry, asking, scorer, oracle=protocol.oracle)
        for wanted, asking in zip(subject.wanted, askings, strict=True)
    ]
    groups = [talks] if protocol.together else [[talk] for talk in talks]
    for group in groups:
        while any(talk.question is not None for talk in group):
            answers = {n: talk.ask(asked) for n, talk in enumerate(group) if talk.question is not None}
            for n, answer in (_apart(answers) if protocol.together else answers).items():
                group[n].hear(answer)
    return [talk.outcome for talk in talks]


class _Talk:
    """The talk about one object: the question that is open, and what came of those before."""

    def __init__(self, wanted: Wanted, geometry: Geometry, asking: Asking, scorer: Scorer, *, oracle: bool) -> None:
        self._reference, self._geometry, self._asking = wanted.target.mask, geometry, asking
        self._scorer, self._oracle = scorer, oracle
        self.outcome = Outcome()
        self.question: Question | None = next(asking, None)

    def ask(self, asked: Asked) -> Answer:
        """Put the open question."""
        assert self.question is not None  # noqa: S101  # whoever asks has looked
        started = time.perf_counter()
        answer = asked.answer(self.question, self.outcome.answer)
        self.outcome.seconds.append(round(time.perf_counter() - started, 6))
        return answer

    def hear(self, answer: Answer) -> None:
        """Enter the answer to the open question, and go on to the next."""
        assert self.question is not None  # noqa: S101
        self.outcome.journal.append(to_entry(self.question))
        rows = self._scorer.rows(self._reference, answer, self.question, self._geometry, oracle=self._oracle)
        self.outcome.rows += rows
        self.outcome.answer = answer
        try:
            self.question = self._asking.send(answer)
        except StopIteration:
            self.question = None


def _apart(answers: Mapping[int, Answer]) -> dict[int, Answer]:
    """Return answers whose best masks do not overlap: what several have is the last one's, as in a label map."""
    taken: Bools | None = None
    found: dict[int, Answer] = {}
    for n in sorted(answers, reverse=True):
        own = answers[n].mask
        mask = own if taken is None else own & ~taken
        taken = own if taken is None else own | taken
        found[n] = replace(answers[n], masks=mask[None], scores=answers[n].scores[:1])
    return dict(sorted(found.items()))
