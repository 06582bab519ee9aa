"""Names to things, loaded when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar, cast

from samaritan.core.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named entries: one ``register`` line each, third parties' through the entry point ``group``.

    Parameters
    ----------
    kind
        What an entry is, for messages: ``"model"``.
    group
        Entry point group under which installed packages offer entries: ``"samaritan.models"``.
    listed_by
        The command that lists the names, if there is one: ``"samaritan models"``. Messages then need not.
    """

    def __init__(self, kind: str, group: str, *, listed_by: str = "") -> None:
        self.kind, self.group, self.listed_by = kind, group, listed_by
        self._targets: dict[str, str] = {}
        self._loaded: dict[str, T] = {}
        self._installed: dict[str, str] | None = None

    def register(self, name: str, target: str) -> None:
        """Offer ``target``, written ``"package.module:attribute"``, as ``name``; a name is given once.

        Raises
        ------
        ValueError
            If the name is taken: a mistake of the programmer, not of the user.
        """
        if name in self._targets:
            msg = f"{self.kind} '{name}' is registered twice: {self._targets[name]} and {target}"
            raise ValueError(msg)
        self._targets[name] = target

    def _all(self) -> dict[str, str]:
        if self._installed is None:  # looked up once: it means opening the metadata of every installed package
            self._installed = {point.name: point.value for point in entry_points(group=self.group)}
        return self._installed | self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def get(self, name: str) -> T:
        """Return the entry, importing its module the first time.

        Raises
        ------
        UnknownNameError
            If there is none of that name.
        """
        if name not in self._loaded:
            targets = self._all()
            if name not in targets:
                raise UnknownNameError.of(name, kind=self.kind, known=targets, listed_by=self.listed_by)
            module, _, attribute = targets[name].partition(":")
            self._loaded[name] = cast("T", getattr(import_module(module), attribute))
        return self._loaded[name]
