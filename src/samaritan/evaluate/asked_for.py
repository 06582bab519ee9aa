"""Whether there is anything of what was asked for: labels that no case has, and runs without an object."""

from __future__ import annotations

from dataclasses import dataclass

from samaritan.core.errors import DataSetError, UnknownNameError
from samaritan.evaluate.store import OBJECTS
from samaritan.evaluate.unit import Plan


@dataclass(frozen=True, slots=True)
class Present:
    """What the cases that were read have: how many they are, how many ``objects`` were asked for, and ``labels``.

    ``absent`` are labels that were asked for, and that none of them has.
    """

    cases: int
    objects: int
    labels: frozenset[str]
    absent: tuple[str, ...]

    def require_some(self) -> None:
        """Raise if cases were read, and nothing was asked for in any.

        Raises
        ------
        UnknownNameError
            If no case has any of the labels that were asked for.
        DataSetError
            If no case has an object at all, or none is large enough.
        """
        if self.objects or not self.cases:
            return
        if self.absent and self.labels:
            raise UnknownNameError.of(self.absent[0], kind="label", known=self.labels)
        if self.labels:
            raise DataSetError(
                got=f"no object in {self.cases} cases is asked for",
                wanted=f"some of: {', '.join(sorted(self.labels))}",
                fix="Name others with --labels, or lower --min-share",
            )
        raise DataSetError(
            got=f"{self.cases} cases, and nothing was drawn in any",
            wanted="references to measure by",
            fix="samaritan inspect DATA says what is in it",
        )


def present(plan: Plan) -> Present:
    """Return what a run has found in its cases."""
    wanted = plan.settings.choice.labels
    cases = objects = 0
    values, names = set(), set()
    for unit in plan.store.units([case.id for case in plan.data.cases], OBJECTS):
        cases += 1
        objects += len(unit["objects"])
        values.update(unit["labels"])
        names.update(unit["labels"].values())
    absent = tuple(label for label in wanted if label not in values and label not in names)
    return Present(cases, objects, frozenset(names), absent if cases else ())
