"""Draw what the default model gets wrong, and say on what kind of thing.

`python -m benchmarks.failures -o docs/images/failures.png [--page docs/models/default.md]`
`python -m benchmarks.failures -o worst.png --data DATA --record default_model.json [--held-out]`

The first makes synthetic scenes that training did not draw, of each kind of shape, and draws the worst from its tight
box; the table has means. The second draws, of each modality, the worst objects that `benchmarks.default_model` has put
on record, with `--held-out` in a run of that option, and lists them. Look at the picture, but keep it to yourself: most
evaluation images may not be passed on, and none of DATA's files belongs in the repository.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from training.arguments import cases_folder, count
from training.clicks import corrected
from training.measures import dice

from benchmarks.cases import Case, evaluation_cases, scenes
from benchmarks.default_model import BOX, picture_of
from benchmarks.macro import table
from benchmarks.page import page_with, replace_part
from samaritan import Prompts, load_model
from samaritan.autoprompt import simulate
from samaritan.core.errors import WriteError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import Model
from samaritan.data.synthesis import SHAPES, Canvas, deform, paint_scene
from samaritan.infer.embedder import Embedder

Picture = NDArray[np.uint8]
Bools = NDArray[np.bool_]

SIDE = 256  # of the scenes
SCENES_A_SHAPE = 30
SEED = 20_000_000  # far from the seeds of training
TILE, COLUMNS = 224, 4
WANTED, FOUND = (0, 200, 80), (255, 120, 0)
MARGIN = 0.5  # of the object's longer side, around it


@dataclass(frozen=True)
class Answer:
    """One object, and what came back for its tight box."""

    kind: str
    picture: Picture  # (rows, columns, 3)
    reference: Bools  # (rows, columns)
    found: Bools  # (rows, columns)
    dice: float
    dice_after_clicks: float
    case: str = ""  # and its label, of what is no scene


def synthetic_answers(model: Model) -> Iterator[Answer]:
    """Ask for one object of every scene, a fixed number of scenes of every kind of shape."""
    for shape_number, kind in enumerate(SHAPES):
        for number in range(SCENES_A_SHAPE):
            rng = np.random.default_rng([SEED, shape_number, number])
            canvas = Canvas.empty(SIDE)
            SHAPES.get(kind)(canvas, rng)
            parts = deform(canvas.parts, rng)
            sizes = np.bincount(parts.ravel(), minlength=canvas.count + 1)
            visible = [members for members in canvas.objects if sizes[list(members)].min() >= 50]
            if not visible:
                continue
            scene = paint_scene(parts, tuple(visible), rng)
            mask = scene.mask(visible[rng.integers(len(visible))])
            yield _ask(model, kind, scene.image, mask)


def _ask(model: Model, kind: str, picture: Picture, mask: Bools) -> Answer:
    target = simulate.Target.of_picture(mask.T)
    image = Image(picture.transpose(2, 1, 0)[..., None], Geometry.picture(*mask.T.shape), RGB)
    embedding = Embedder(model, image).embedding(("k", 0))
    prompts = Prompts(embedding.geometry, (simulate.tight_box(target),))
    first, *_, last = corrected(model, embedding, target.mask, prompts, clicks=3)
    return Answer(
        kind, picture, mask, first.mask[..., 0].T, dice(target.mask, first.mask), dice(target.mask, last.mask)
    )


def recorded_answers(model: Model, data: Path, record: Path, *, count: int, held_out: bool = False) -> Iterator[Answer]:
    """Ask again for the `count` objects of each modality that came out worst on record."""
    rows = json.loads(record.read_text(encoding="utf-8"))["answers"]
    worst: dict[str, list[tuple[float, Case, int]]] = defaultdict(list)
    for case in evaluation_cases(data, held_out=held_out):
        for label, row in rows.get(case.id, {}).items():
            worst[case.modality].append((row["dice"][BOX], case, int(label)))
    for modality, found in sorted(worst.items()):
        for _, case, label in sorted(found, key=lambda entry: entry[0])[:count]:
            for scene in scenes(case):
                for target in scene.targets:
                    if target.label == label:
                        kind = f"{modality} {case.dataset}"
                        answer = _ask(model, kind, picture_of(scene), target.mask[..., 0].T)
                        yield replace(answer, case=f"{case.id}, label {label}")


def sheet(answers: list[Answer]) -> Picture:
    """Return tiles of the answers: what was wanted in green, what was found in orange."""
    tiles = [_tile(answer) for answer in answers]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[start : start + COLUMNS], axis=1) for start in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows)


def _tile(answer: Answer) -> Picture:
    rows, columns = (np.flatnonzero(answer.reference.any(axis=axis)) for axis in (1, 0))
    margin = int(MARGIN * max(np.ptp(rows), np.ptp(columns))) + 4
    cut = tuple(slice(max(0, int(at[0]) - margin), int(at[-1]) + margin + 1) for at in (rows, columns))
    scale = TILE / max(answer.reference[cut].shape)
    canvas = np.zeros((TILE, TILE, 3), np.uint8)
    shown = cv2.resize(answer.picture[cut], None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)[:TILE, :TILE]
    canvas[: shown.shape[0], : shown.shape[1]] = shown
    for mask, colour in ((answer.reference, WANTED), (answer.found, FOUND)):
        large = cv2.resize(mask[cut].astype(np.uint8), shown.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, colour, 1)
    title = np.full((18, TILE, 3), 20, np.uint8)
    text = f"{answer.kind}: Dice {answer.dice:.2f}"
    cv2.putText(title, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([title, canvas])


def write(path: Path, picture: Picture) -> None:
    """Write RGB pixels; ``WriteError`` if that cannot be done."""
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):  # OpenCV does not raise
        raise WriteError(got=f"cannot write {path}", fix="Make its folder first, or write elsewhere")


def by_kind(answers: list[Answer]) -> dict[str, list[Answer]]:
    """Return the answers of each kind, the kind with the lowest mean first."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.kind].append(answer)
    return dict(sorted(groups.items(), key=lambda item: float(np.mean([a.dice for a in item[1]]))))


def main() -> None:
    """Read the command line, ask, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write")
    parser.add_argument(
        "--page", type=page_with("failures"), help="Markdown page whose part 'failures' the table becomes"
    )
    parser.add_argument("--data", type=cases_folder, help="folder with cases.jsonl; with --record")
    parser.add_argument("--record", type=Path, help="what benchmarks.default_model --json wrote")
    parser.add_argument("--held-out", action="store_true", help="RECORD is of a run with this option")
    parser.add_argument("--count", type=count, default=4, help="objects of each modality")
    options = parser.parse_args()
    if (options.record is None) != (options.data is None):
        parser.error("--data and --record belong together: give both, or neither for synthetic scenes")
    model = load_model()
    if options.record:
        drawn = list(
            recorded_answers(model, options.data, options.record, count=options.count, held_out=options.held_out)
        )
        if not drawn:
            asked = "a held-out case; make it with" if options.held_out else "an evaluation case; make it without"
            parser.error(f"{options.record} has no answer to {asked} --held-out")
        rows = [[answer.case, f"{answer.dice:.3f}", f"{answer.dice_after_clicks:.3f}"] for answer in drawn]
        print(table(["case", "Dice, tight box", "and three corrective clicks"], rows))
    else:
        groups = by_kind(list(synthetic_answers(model)))
        drawn = [min(found, key=lambda answer: answer.dice) for found in groups.values()]
        text = table(
            ["kind of shape", "scenes", "Dice, tight box", "and three corrective clicks"],
            [
                [kind, len(found), f"{np.mean([a.dice for a in found]):.3f}",
                 f"{np.mean([a.dice_after_clicks for a in found]):.3f}"]
                for kind, found in groups.items()
            ],
        )  # fmt: skip
        print(text)
        if options.page:
            replace_part(options.page, "failures", text + "\n")
    write(options.output, sheet(drawn))


if __name__ == "__main__":
    main()
