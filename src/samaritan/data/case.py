"""What a data set is made of: cases, each an image and, if somebody drew it, a reference.

Nothing here opens an image: cases say where things are, ``samaritan.data.reading`` reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    values
        The label value of each file, where each holds one mask; from 1 up in order if empty.
    part
        Which part of a file that many cases share, such as the id of an image.
    instances
        Whether values count objects of one kind (cells) and do not tell kinds apart.
    ignored
        Values that stand for no object: where nobody said what is there.
    """

    kind: str
    paths: tuple[str, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    values: tuple[int, ...] = ()
    part: str = ""
    instances: bool = False
    ignored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", dict(self.names))


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
        The names of the channels, one a file; several of one file lie along its fourth axis.
    series
        Which DICOM series of the folder it is.
    patient
        Whose it is; empty where nobody says.
    modality
        ``"CT"``, ``"MR"``, ``"pathology"``, ...; empty where nobody says.
    split
        ``"train"``, ``"test"``, ...; empty where nobody says.
    dataset
        Of which data set it is, in a collection of several.
    tags
        Whatever else a table says about it, by column: ``{"site": "A", "sex": "F"}``.
    """

    id: str
    images: tuple[str, ...]
    reference: Reference | None = None
    channels: tuple[str, ...] = ()
    series: str = ""
    patient: str = ""
    modality: str = ""
    split: str = ""
    dataset: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", dict(self.tags))

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
    notes
        What is odd about its files, each in a sentence: a mask without an image, a case that is listed but not there.

    Raises
    ------
    DataSetError
        If two cases have the same id.
    """

    root: Path
    layout: str
    cases: tuple[Case, ...]
    name: str = ""
    notes: tuple[str, ...] = ()

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
