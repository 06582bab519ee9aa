"""Which slices belong together: series in a folder, the choice among them, and the repeats within one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samaritan.core.errors import InconsistentSeriesError, UnknownNameError, UnsupportedFormatError
from samaritan.io.dicom.headers import Header, describe_class, read_headers, tolerant
from samaritan.io.dicom.slices import Slice, group_value, has_duplicates, require_alike, slices_of, sort_slices

# What tells repeats at one place apart, in the order in which it is tried: attribute, functional group, meaning.
_REPEATS = (
    ("DiffusionBValue", "MRDiffusionSequence", "b-value"),
    ("EchoTime", "", "echo time"),
    ("EffectiveEchoTime", "MREchoSequence", "echo time"),
    ("InversionTime", "", "inversion time"),
    ("FlipAngle", "", "flip angle"),
    ("TemporalPositionIdentifier", "", "time point"),
    ("TemporalPositionIndex", "FrameContentSequence", "time point"),
    ("TriggerTime", "", "trigger time"),
    ("NominalPercentageOfCardiacPhase", "CardiacSynchronizationSequence", "cardiac phase"),
    ("AcquisitionNumber", "", "acquisition"),
    ("AcquisitionTime", "", "acquisition time"),
    ("ImageType", "", "image type"),
)
_LISTED = 30


@dataclass(frozen=True, slots=True)
class Series:
    """The images of one series: ``number`` counts from 1 in the list that messages show."""

    number: int
    uid: str
    headers: tuple[Header, ...]

    @property
    def description(self) -> str:
        """What the scanner calls it; a localiser inside another series is marked as one."""
        text = str(self.headers[0].data.get("SeriesDescription") or "").strip()
        return f"{text} (localiser)".strip() if _is_localiser(self.headers[0]) else text

    def __str__(self) -> str:
        data = self.headers[0].data
        count = sum(header.frames for header in self.headers)
        size = f"{data.Columns}×{data.Rows}×{count}"
        return f"{self.number}: '{self.description}' {data.get('Modality', '?')} {size} {self.uid}"


def _is_localiser(header: Header) -> bool:
    return "LOCALIZER" in (header.data.get("ImageType") or ())


def find_series(path: Path) -> list[Series]:
    """Return the image series behind ``path`` (a file, a folder, a zip), in the order of number and UID.

    Raises
    ------
    UnsupportedFormatError
        If there is no image: the message says what there is.
    """
    headers = read_headers(path)
    groups: dict[tuple[str, bool], list[Header]] = {}
    for header in headers:
        if header.is_image:
            key = (str(header.data.get("SeriesInstanceUID") or header.member.name), _is_localiser(header))
            groups.setdefault(key, []).append(header)
    if not groups:
        found = ", ".join(sorted({describe_class(header.data) for header in headers}))
        labels = any(header.is_labels for header in headers)
        fix = "It holds labels: open it with samaritan.read_labels (--labels, --reference)" if labels else ""
        raise UnsupportedFormatError(got=f"{path} has no image: it holds {found}", wanted="a DICOM image", fix=fix)

    def place(key: tuple[str, bool]) -> tuple[int, str, bool]:
        return (int(groups[key][0].data.get("SeriesNumber") or 0), *key)

    ordered = sorted(groups, key=place)
    return [Series(n, key[0], tuple(groups[key])) for n, key in enumerate(ordered, start=1)]


def choose_series(found: Sequence[Series], wanted: str | int | None, path: Path) -> Series:
    """Return the only series, or the one that is ``wanted``: its number in the list, (the beginning of) its UID, or
    (a part of) its description.

    Raises
    ------
    InconsistentSeriesError
        If there are several and none is wanted, or several fit.
    UnknownNameError
        If none fits.
    """  # noqa: D205  # the first sentence needs its second line
    if wanted is None and len(found) == 1:
        return found[0]
    fitting = list(found) if wanted is None else _fitting(found, str(wanted).strip())
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(str(series) for series in found[:_LISTED])
    more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    if not fitting:
        raise UnknownNameError(got=f"no series '{wanted}' in {path}", wanted=f"one of: {listed}{more}")
    which = f"{len(found)} series" if wanted is None else f"{len(fitting)} series that fit '{wanted}'"
    raise InconsistentSeriesError(
        got=f"{which} in {path}: {listed}{more}",
        wanted="one of them",
        fix=f'Choose by number, UID or description: series="{fitting[-1].number}" (--series {fitting[-1].number})',
    )


def choose(names: Sequence[str], select: str | int, path: Path) -> int:
    """Return the index that ``select`` (a name, or an index from 0) picks among ``names``.

    Raises
    ------
    UnknownNameError
        If nothing is there by that name or index.
    """
    if select in names:
        return list(names).index(str(select))
    if str(select).isdecimal() and int(select) < len(names):
        return int(select)
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    raise UnknownNameError(got=f"'{select}' is not in {path}", wanted=f"one of: {listed}; or 0 to {len(names) - 1}")


def _fitting(found: Sequence[Series], wanted: str) -> list[Series]:
    """Return the series that fit in the most exact way in which any does."""
    ways = (
        lambda s: str(s.number) == wanted,
        lambda s: s.uid == wanted,
        lambda s: s.description.lower() == wanted.lower(),
        lambda s: len(wanted) > 4 and s.uid.startswith(wanted),
        lambda s: bool(wanted) and wanted.lower() in s.description.lower(),
    )
    return next((fits for way in ways if (fits := [s for s in found if way(s)])), [])


def choose_slices(series: Series, select: str | int | None, path: Path) -> list[Slice]:
    """Return the slices of ``series`` that make up one volume, sorted along their normal; or one picture.

    Where each position is held several times (echoes, time points, b-values), ``select`` picks one set; where frames
    have no position (a film of ultrasound), it picks one frame.

    Raises
    ------
    InconsistentSeriesError
        If there are several sets or frames and none is selected, or the slices differ in kind.
    UnknownNameError
        If there is no such set or frame.
    """
    slices: list[Slice] = []
    for header in series.headers:
        with tolerant(header.member.name):
            slices += slices_of(header)
    if all(s.position is None for s in slices):
        return [_choose_picture(slices, select, path)]
    require_alike(slices, f"series {series.number}")
    if has_duplicates(slices):
        slices = _choose_repeat(slices, select, series, path)
    elif select is not None:
        choose(["volume 0"], select, path)
    return sort_slices(slices)[0]


def _choose_picture(slices: list[Slice], select: str | int | None, path: Path) -> Slice:
    slices.sort(key=lambda s: (int(s.header.data.get("InstanceNumber") or 0), s.header.member.name, s.frame))
    if select is None and len(slices) > 1:
        raise InconsistentSeriesError(
            got=f"{path} holds {len(slices)} frames without a position: a film or separate pictures, not a volume",
            wanted="one of them",
            fix=f"Choose one: select=0 (--select 0), up to {len(slices) - 1}",
        )
    return slices[choose([f"frame {n}" for n in range(len(slices))], select or 0, path)]


def _choose_repeat(slices: list[Slice], select: str | int | None, series: Series, path: Path) -> list[Slice]:
    for attribute, sequence, meaning in _REPEATS:
        sets = _split(slices, attribute, sequence)
        complete = len({len(group) for group in sets.values()}) == 1 and not any(map(has_duplicates, sets.values()))
        if len(sets) == 1 or not complete:
            continue
        names = [f"{meaning} {value}" for value in sets]
        if select is None:
            raise InconsistentSeriesError(
                got=f"series {series.number} holds {len(sets)} volumes at one place: {', '.join(names[:_LISTED])}",
                wanted="one of them",
                fix=f"Choose one by index or name: select=0 (--select 0), up to {len(sets) - 1}, or '{names[0]}'",
            )
        return sets[list(sets)[choose(names, select, path)]]
    _, along = sort_slices(slices)
    raise InconsistentSeriesError(
        got=f"series {series.number} has {len(slices)} slices at {len(set(along.round(2)))} positions, and nothing "
        "in their headers tells the repeats apart",
        wanted="one slice at each position",
        fix="Put the slices of one volume into a folder of their own",
    )


def _split(slices: list[Slice], attribute: str, sequence: str) -> dict[str, list[Slice]]:
    """Return the slices by the value of an attribute, values ascending."""
    sets: dict[str, list[Slice]] = {}
    for item in slices:
        data = item.header.data
        groups = data.get("PerFrameFunctionalGroupsSequence")
        places = [groups[item.frame], data] if groups else [data]
        value = group_value(places, sequence, attribute)
        sets.setdefault("\\".join(map(str, value)) if attribute == "ImageType" and value else str(value), []).append(
            item
        )
    return dict(sorted(sets.items(), key=lambda pair: _number(pair[0])))


def _number(text: str) -> tuple[float, str]:
    try:
        return (float(text), text)
    except ValueError:
        return (float("inf"), text)
