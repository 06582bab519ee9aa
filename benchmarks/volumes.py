"""How well the default model segments volumes: from one 3D box, and slices from one scribble that a person drew.

`python -m benchmarks.volumes --data DIR [--limit N] [--json OUT] [--page OUT.md]`

**Boxes**: msd_hippocampus, acdc3d and ibsi_sts, one volume a patient; the tight 3D box of each label; Dice in 3D,
beside the ellipsoid inscribed in the box, and an oracle's: each slice from the tight box of the object there, as if it
were known where the object ends in each. A set that the model's card names as trained on is shown, but has no part in
the mean. **Scribbles**: those that come with acdc3d, in every slice that has one: the scribble of a structure alone,
and together with the background's; Dice in that slice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from training.arguments import cases_folder, count
from training.measures import dice

from benchmarks.cases import is_trained_on
from benchmarks.macro import Result, grouped, macro, table
from benchmarks.page import page_with, replace_part
from samaritan import load_model, read, read_labels, segment
from samaritan.autoprompt import simulate
from samaritan.core.geometry import axis_number
from samaritan.core.image import Image
from samaritan.core.model import Model, ModelCard
from samaritan.core.prompts import Box, Prompts, Scribble
from samaritan.infer.embedder import Embedder
from samaritan.infer.planes import choose_axis

Bools = NDArray[np.bool_]

BOX_SETS = ("msd_hippocampus", "acdc3d", "ibsi_sts")
SCRIBBLE_SET = "acdc3d"
BACKGROUND = 0  # value of the background's scribbles
BOX, ELLIPSOID, BOXES = "3D box", "ellipsoid in the box", "a box for each slice (oracle)"
SCRIBBLE, BOTH = "scribble", "scribble and background's"


def one_a_patient(folder: Path) -> list[dict[str, Any]]:
    """List the first case of each patient of the three sets."""
    lines = [json.loads(line) for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines() if line]
    first: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["dataset"] in BOX_SETS:
            first.setdefault(patient(line["id"]), line)
    return list(first.values())


def patient(case: str) -> str:
    """Return who a case of the three sets is of: "acdc3d/patient001_frame12" is of "acdc3d/patient001"."""
    dataset, _, name = case.partition("/")
    parts = name.split("_")
    return f"{dataset}/{'_'.join(parts[:2]) if dataset != 'acdc3d' else parts[0]}"


def measure_boxes(line: dict[str, Any], folder: Path, model: Model) -> list[Result]:
    """Return the 3D Dice of every label of a volume from its box."""
    image, labels = read(folder / line["image"]), read_labels(folder / line["mask"]).array
    rows = []
    for label in np.unique(labels[labels > 0]).tolist():
        target = simulate.Target(labels == label, image.geometry)
        box = simulate.tight_box(target)
        (found,) = segment(model, image, {"object": Prompts(image.geometry, (box,))}).objects
        scores = {
            BOX: dice(target.mask, found.mask),
            ELLIPSOID: dice(target.mask, ellipsoid(box, image.shape)),
            BOXES: dice(target.mask, told_of_each_slice(target.mask, box, image, model)),
        }
        rows.append(Result(line["dataset"], line["modality"], line["id"], label, is_3d=True, dice=scores))
    return rows


def told_of_each_slice(mask: Bools, box: Box, image: Image, model: Model) -> Bools:
    """Return the object, (i, j, k), each of whose slices was asked for by the box around it there."""
    axis = choose_axis(Prompts(image.geometry, (box,)))
    embedder, found = Embedder(model, image), np.zeros_like(mask)
    wanted, answer = (np.moveaxis(array, axis_number(axis), -1) for array in (mask, found))
    for index in np.flatnonzero(wanted.any(axis=(0, 1))).tolist():
        target = simulate.Target(wanted[..., index : index + 1], image.plane(axis, index).geometry)
        embedding = embedder.embedding((axis, index))
        prompts = Prompts(embedding.geometry, (simulate.tight_box(target),))
        answer[..., index] = model.decode(embedding, prompts).mask[..., 0]
    return found


def ellipsoid(box: Box, shape: tuple[int, ...]) -> Bools:
    """Return the ellipsoid inscribed in a box, (i, j, k)."""
    radius = np.zeros((1, 1, 1))
    for axis, (start, stop) in enumerate(zip(box.start, box.stop, strict=True)):
        along = (np.arange(shape[axis]) + 0.5 - (start + stop) / 2) / ((stop - start) / 2)
        radius = radius + np.expand_dims(along**2, tuple({0, 1, 2} - {axis}))
    return np.asarray(radius <= 1)


def measure_scribbles(line: dict[str, Any], folder: Path, model: Model) -> Iterator[Result]:
    """Yield the Dice of every structure in every slice that has a scribble of it."""
    image, labels = read(folder / line["image"]), read_labels(folder / line["mask"]).array
    strokes = read_labels(folder / line["scribble"]).array
    embedder = Embedder(model, image)
    for k in range(image.shape[2]):
        for label in map(int, line["labels"]):
            stroke = strokes[:, :, k : k + 1]
            wanted = labels[:, :, k : k + 1] == label
            if not (stroke == label).any() or not wanted.any():
                continue
            embedding = embedder.embedding(("k", k))
            alone = Prompts(embedding.geometry, (Scribble.from_mask(stroke == label),))
            both = alone.add(Scribble.from_mask(stroke == BACKGROUND, positive=False))
            scores = {
                name: dice(wanted, model.decode(embedding, prompts).mask)
                for name, prompts in ((SCRIBBLE, alone), (BOTH, both))
            }
            yield Result(line["dataset"], line["modality"], line["id"], label, is_3d=True, dice=scores)


def report(boxes: list[Result], scribbles: list[Result], card: ModelCard) -> str:
    """Return the two tables."""
    unseen = [row for row in boxes if not is_trained_on(card, row.dataset)]
    sets = grouped(boxes, lambda r: r.dataset)
    marked = {f"{name} (trained on)" if is_trained_on(card, name) else name: part for name, part in sets.items()}
    groups = ({"all that it never saw": unseen} if unseen else {}) | marked
    rows = [
        [name, len({r.case for r in part}), len(part), *(macro(part, what).long for what in (BOX, ELLIPSOID, BOXES))]
        for name, part in groups.items()
    ]
    drawn = [
        [f"structure {name}", len(part), macro(part, SCRIBBLE).long, macro(part, BOTH).long]
        for name, part in ({"any": scribbles} | grouped(scribbles, lambda r: str(r.label))).items()
    ]
    return "\n\n".join(
        [
            "3D Dice from one 3D box, mean over data sets (goal: at least 0.80):",
            table(["", "volumes", "objects", BOX, ELLIPSOID, BOXES], rows),
            "Dice in a slice from the scribble that a person drew there (goal: at least 0.85 from the one scribble):",
            table(["", "slices", SCRIBBLE, BOTH], drawn),
        ]
    )


def main() -> None:
    """Read the command line, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--limit", type=count, help="volumes of each data set at most")
    parser.add_argument("--json", type=Path, help="where to write every object's Dice")
    parser.add_argument("--page", type=page_with("volumes"), help="Markdown page with a part 'volumes' for the tables")
    options = parser.parse_args()
    model = load_model()
    lines = one_a_patient(options.data)
    if options.limit:
        by_set = {name: [line for line in lines if line["dataset"] == name][: options.limit] for name in BOX_SETS}
        lines = [line for part in by_set.values() for line in part]
    boxes = [row for line in track(lines, "boxes") for row in measure_boxes(line, options.data, model)]
    scribbled = [line for line in lines if line["dataset"] == SCRIBBLE_SET]
    scribbles = [row for line in track(scribbled, "scribbles") for row in measure_scribbles(line, options.data, model)]
    text = report(boxes, scribbles, model.card)
    print(text)
    if options.page:
        replace_part(options.page, "volumes", text)
    if options.json:
        rows = {"boxes": [asdict(row) for row in boxes], "scribbles": [asdict(row) for row in scribbles]}
        options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
