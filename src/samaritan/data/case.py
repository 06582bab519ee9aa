"""What a data set is made of: cases, each an image and, if somebody drew it, a reference.

Nothing here opens an image: cases say where things are, ``samaritan.data.reading`` reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from samaritan.core.errors import DataSetError


@dataclass(frozen=True, slots=True)
class Reference:
    """What somebody drew of a case.

    Parameters
    ----------
    kind
        How it is read, one of ``samaritan.data.references.REFERENCES``.
    paths
        Its files, relative to the data set's folder.
    names
        The name of each label value, where it has one.
    part
        Which part of a file that many cases share, such as the id of an image.
    instances
        Whether values count objects of one kind (cells) and do not tell kinds apart.
    """

    kind: str
    paths: tuple[str, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    part: str = ""
    instances: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))


@dataclass(frozen=True, slots=True)
class Case:
    """One image with what is known about it.

    Parameters
    ----------
    id
        Its name, once in its data set.
    images
        Its files, relative to the data set's folder; several are channels of one image, in order.
    reference
        What somebody drew, if anybody did.
    channels
        The name of each file's channel, where there are several.
    patient
        Whose it is; empty where nobody says.
    modality
        ``"CT"``, ``"MR"``, ``"pathology"``, ...; empty where nobody says.
    split
        ``"train"``, ``"test"``, ...; empty where nobody says.
    dataset
        Of which data set it is, in a collection of several.
    """

    id: str
    images: tuple[str, ...]
    reference: Reference | None = None
    channels: tuple[str, ...] = ()
    patient: str = ""
    modality: str = ""
    split: str = ""
    dataset: str = ""

    @property
    def subject(self) -> str:
        """Who or what is drawn as one when figures are summed up: the patient, or where nobody says the case."""
        return f"{self.dataset}/{self.patient or self.id}"


@dataclass(frozen=True, slots=True)
class DataSet:
    """A folder of cases, in order.

    Parameters
    ----------
    root
        Its folder.
    layout
        Which layout it has, one of ``samaritan.data.layouts.LAYOUTS``.
    cases
        What is in it.
    name
        What it is called.
    left_out
        What looked like a case and is none, each in a sentence.

    Raises
    ------
    DataSetError
        If two cases have the same id.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    name: str = ""
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(case.id for case in self.cases).items() if count > 1]
        if twice:
            more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
            raise DataSetError(
                got=f"{self.root}: case '{twice[0]}'{more} stands there more than once",
                wanted="each id once",
                fix="Rename one of the files, or give the cases ids of their own in a manifest",
            )

    @property
    def labels(self) -> dict[int, str]:
        """The name of each label value that any case has, ascending; the first case to name it counts."""
        found: dict[int, str] = {}
        for case in self.cases:
            for value, name in (case.reference.names if case.reference else {}).items():
                found.setdefault(value, name)
        return dict(sorted(found.items()))
