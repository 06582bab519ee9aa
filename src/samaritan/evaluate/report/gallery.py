"""Best, median and worst cases, as pictures: the reference's outline and the mask that was found."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samaritan.core.errors import SamaritanError
from samaritan.core.image import take_plane
from samaritan.data import DataSet, read_image, read_objects
from samaritan.draw.sheet import plane_tile
from samaritan.evaluate.report.runs import Run
from samaritan.evaluate.summary import last_answers
from samaritan.evaluate.unit import unpack
from samaritan.metrics.catalog import METRICS

Row = Mapping[str, Any]

_EACH = 4
_SIDE = 260
_REFERENCE, _FOUND = (0, 158, 115), (230, 159, 0)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a gallery: which ``rank`` it is of, a ``caption``, and a PNG in base 64."""

    rank: str
    caption: str
    png: str


def gallery(run: Run, data: DataSet, model: str, protocol: str, metric: str) -> list[Picture]:
    """Return the best, median and worst objects of a model by a protocol; one that cannot be drawn is left out.

    ``model`` is called as in ``run.rows``; its masks are kept under the name it was asked by.
    """
    asked = [row for row in run.rows if row["model"] == model and row["protocol"] == protocol]
    rows = last_answers(asked, [metric])
    return list(_pictures(run, data, ranked(rows, metric), metric))


def ranked(rows: Sequence[Row], metric: str) -> list[tuple[str, Row]]:
    """Return rows of the best, the median and the worst, each once, with what they are."""
    known = [row for row in rows if row[metric] is not None]  # infinite distances are the worst there is
    known.sort(key=lambda row: float(row[metric]), reverse=METRICS.get(metric).more_is_better)
    count = len(known)
    middle = max(0, (count - _EACH) // 2)
    places = {"best": range(_EACH), "median": range(middle, middle + _EACH), "worst": range(count - _EACH, count)}
    taken: set[int] = set()
    found = []
    for rank, wanted in places.items():
        for at in wanted:
            if 0 <= at < count and at not in taken:
                taken.add(at)
                found.append((rank, known[at]))
    return found


def _pictures(run: Run, data: DataSet, rows: Sequence[tuple[str, Row]], metric: str) -> Iterator[Picture]:
    cases = {case.id: case for case in data.cases}
    for rank, row in rows:
        case = cases.get(row["case"])
        if case is None:
            continue
        try:
            image = read_image(data.root, case)
            drawn = {(o.value, o.instance): o.mask for o in read_objects(data.root, case, image.geometry)}
        except SamaritanError:  # the files are gone or have changed since: the figures stand without pictures
            continue
        reference = drawn.get((row["value"], row["instance"]))
        found = _mask_of(run, row)
        if reference is None or found is None:
            continue
        axis = row["axis"]
        index = row["index"] if row["index"] is not None else int(np.count_nonzero(reference, axis=(0, 1)).argmax())
        planes = [take_plane(reference, axis, index), found[..., None]]
        picture = plane_tile(image, axis, index, list(zip(planes, (_REFERENCE, _FOUND), strict=True)), side=_SIDE)
        file = io.BytesIO()
        picture.save(file, "PNG", optimize=True)
        caption = f"{row['case']}, {row['label']}: {metric} {row[metric]:.3f}"
        yield Picture(rank, caption, base64.b64encode(file.getvalue()).decode("ascii"))


def _mask_of(run: Run, row: Row) -> Any:  # noqa: ANN401  # a mask (i, j), or None
    asked_by = {told: asked for asked, told in run.called.items()}
    model = asked_by[row["model"]]
    unit = run.store.get(row["case"], model, row["protocol"]) or {}
    for item in unit.get("objects", ()):
        if (item["value"], item["instance"]) == (row["value"], row["instance"]) and item["mask"]:
            return unpack(item["mask"])
    return None
