"""What was done, in order, and how much of it stands."""

from __future__ import annotations

from dataclasses import dataclass

from samaritan.core.errors import SessionError
from samaritan.core.prompts import Prompt


@dataclass(frozen=True, eq=False, slots=True)
class Action:
    """One step: a prompt added to an object, or with None for the prompt, everything cleared."""

    object: str = ""
    prompt: Prompt | None = None


@dataclass(frozen=True, eq=False, slots=True)
class History:
    """All actions, of which the first ``position`` stand; the others were undone and can be redone.

    Immutable: every change returns a new history, so one that is kept is a snapshot.
    """

    actions: tuple[Action, ...] = ()
    position: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.position <= len(self.actions):
            raise SessionError(
                got=f"position {self.position}", wanted=f"0 to {len(self.actions)}, the actions there are"
            )

    def do(self, action: Action) -> History:
        """Return the history with ``action`` done next; what was undone can no longer be redone."""
        done = (*self.actions[: self.position], action)
        return History(done, len(done))

    def undo(self) -> History:
        """Return the history without its last action.

        Raises
        ------
        SessionError
            If there is none.
        """
        if not self.position:
            raise SessionError(got="nothing to undo", wanted="a prompt that was added before")
        return History(self.actions, self.position - 1)

    def redo(self) -> History:
        """Return the history with the action that was undone last.

        Raises
        ------
        SessionError
            If there is none.
        """
        if self.position == len(self.actions):
            raise SessionError(got="nothing to redo", wanted="a prompt that was undone before")
        return History(self.actions, self.position + 1)

    @property
    def prompts(self) -> dict[str, tuple[Prompt, ...]]:
        """The prompts that stand, by object, in the order in which objects first occurred."""
        standing: dict[str, tuple[Prompt, ...]] = {}
        for action in self.actions[: self.position]:
            if action.prompt is None:
                standing.clear()
            else:
                standing[action.object] = (*standing.get(action.object, ()), action.prompt)
        return standing
