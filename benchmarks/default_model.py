"""How well a model segments from a box or a few clicks, beside what a box gives without any model.

`python -m benchmarks.default_model --data DIR [--limit N] [--json OUT] [--page OUT.md] [--baselines-only]`

Protocol. Every evaluation case of the folder; of a volume, for each label the slice in which it is largest; up to three
labels a case; of each label the largest connected piece, if it covers 0.1% of the image. Dice of that piece from its
tight box; from a box whose sides are moved by up to 10%; from clicks, the first in the deepest point of the object and
each next one in the deepest point of the largest error. Means are taken over the objects of a case, the cases of a data
set, and the data sets.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import BASELINES, SLOW_BASELINES, Baseline
from benchmarks.cases import Scene, Target, evaluation_cases, scenes
from benchmarks.macro import Result, grouped, macro, table
from benchmarks.page import replace_part
from benchmarks.simulated_user import dice, loose_box, next_click
from samaritan import load_model, segment
from samaritan.core.model import Embedding, Model, Prediction
from samaritan.core.prompts import Box, Prompts
from samaritan.infer.embedder import Embedder
from samaritan.infer.intensity import IntensityMap
from samaritan.models import DEFAULT_MODEL, model_card

Bools = NDArray[np.bool_]

CLICKS = (1, 3, 5)
JITTER = 0.1
# Branching lines: a tight box says little about them, and overlap is a harsh measure.
VESSELS = frozenset({"hepaticvessel2d", "pulm_av"})
BOX, LOOSE = "box", "loose box"


def measure(scene: Scene, baselines: dict[str, Baseline], model: Model | None) -> list[Result]:
    """Return the Dice of every method for every object of one image."""
    case, picture = scene.case, _picture(scene)
    scores = [_baseline_scores(target, picture, baselines) for target in scene.targets]
    if model is not None:
        for row, found in zip(scores, _model_scores(scene, model), strict=True):
            row.update(found)
    return [Result(case.dataset, case.modality, case.id, case.is_3d, row) for row in scores]


def _baseline_scores(target: Target, picture: NDArray[np.uint8], baselines: dict[str, Baseline]) -> dict[str, float]:
    (x0, y0, _), (x1, y1, _) = target.box.start, target.box.stop
    masks = {name: baseline(picture, (x0, y0, x1, y1)) for name, baseline in baselines.items()}
    return {name: dice(target.mask, mask.T[..., None]) for name, mask in masks.items()}


def _picture(scene: Scene) -> NDArray[np.uint8]:
    """Return what the model sees, as uint8 (rows, columns, 3): the baselines get the same intensities."""
    prepared = IntensityMap.of(scene.image, model_card(DEFAULT_MODEL))(scene.image)
    return np.ascontiguousarray(prepared.array[..., 0].transpose(2, 1, 0).round().astype(np.uint8))


def _model_scores(scene: Scene, model: Model) -> list[dict[str, float]]:
    geometry = scene.image.geometry
    boxes = {str(n): Prompts(geometry, (target.box,)) for n, target in enumerate(scene.targets)}
    segmented = segment(model, scene.image, boxes)
    embedder = Embedder(model, scene.image)
    embedding = embedder.embedding(("k", 0))
    answers = []
    for target, found in zip(scene.targets, segmented.objects, strict=True):
        scores = {BOX: dice(target.mask, found.mask)}
        loose = _loose(target, scene)
        scores[LOOSE] = dice(target.mask, model.decode(embedding, Prompts(embedding.geometry, (loose,))).mask)
        answers.append(scores | _click_scores(target, embedding, model))
    return answers


def _loose(target: Target, scene: Scene) -> Box:
    # Seeded by the case, so that a box does not depend on which cases were run before it.
    seed = [target.label, *scene.case.id.encode()]
    return loose_box(target.box, scene.image.shape, jitter=JITTER, rng=np.random.default_rng(seed))


def _click_scores(target: Target, embedding: Embedding, model: Model) -> dict[str, float]:
    scores: dict[str, float] = {}
    prompts = Prompts(embedding.geometry)
    previous: Prediction | None = None
    predicted: Bools = np.zeros_like(target.mask)
    for count in range(1, max(CLICKS) + 1):
        click = next_click(target.mask, predicted)
        if click is not None and click not in prompts.items:
            prompts = prompts.add(click)
            previous = model.decode(embedding, prompts, previous)
            predicted = previous.mask
        if count in CLICKS:
            scores[_clicks(count)] = dice(target.mask, predicted)
    return scores


def _clicks(count: int) -> str:
    return f"{count} click{'s' if count > 1 else ''}"


def groups(results: list[Result]) -> dict[str, list[Result]]:
    """Return the groups that are summed up, by name; those without a result are left out."""
    parts = {
        "2D sets": [r for r in results if not r.is_3d],
        "2D sets without vessels": [r for r in results if not r.is_3d and r.dataset not in VESSELS],
        "vessels": [r for r in results if r.dataset in VESSELS],
        "slices of 3D sets": [r for r in results if r.is_3d],
        "all": results,
    }
    return {name: part for name, part in parts.items() if part}


def report(results: list[Result], methods: list[str]) -> str:
    """Return the Markdown tables."""
    header = ["", "sets", "cases", "objects", *methods]
    tables = {
        "Macro mean Dice over data sets, with 95% bootstrap intervals:": groups(results),
        "By modality, mean over its data sets:": grouped(results, lambda r: r.modality),
        "By data set:": grouped(results, lambda r: r.dataset),
    }
    lines = []
    for number, (title, parts) in enumerate(tables.items()):
        rows = []
        for name, part in parts.items():
            estimates = [macro(part, method) for method in methods]
            counts = [len({r.dataset for r in part}), len({r.case for r in part}), len(part)]
            rows.append([name, *counts, *(e.short if number else e.long for e in estimates)])
        lines += [title, table(header, rows)]
    return "\n\n".join(lines) + "\n"


def summary(results: list[Result], methods: list[str]) -> dict[str, float]:
    """Return the figures that go on the model's card: macro Dice over the 2D sets."""
    flat = groups(results)["2D sets"]
    sets = len({r.dataset for r in flat})
    return {f"Dice, {method}, {sets} 2D evaluation sets": macro(flat, method).mean for method in methods}


def main() -> None:
    """Read the command line, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cases.jsonl")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name of the model")
    parser.add_argument("--limit", type=int, help="cases of each data set at most")
    parser.add_argument("--dataset", action="append", help="only this data set; may be repeated")
    parser.add_argument("--json", type=Path, help="where to write every object's Dice and the summary")
    parser.add_argument("--page", type=Path, help="Markdown page whose part 'default model' the tables become")
    parser.add_argument("--baselines-only", action="store_true", help="leave the model out")
    parser.add_argument("--slow", action="store_true", help="with the random walker, too")
    options = parser.parse_args()
    model = None if options.baselines_only else load_model(options.model)
    baselines = BASELINES | (SLOW_BASELINES if options.slow else {})
    cases = evaluation_cases(options.data, limit=options.limit)
    if options.dataset:
        cases = [case for case in cases if case.dataset in options.dataset]
    started = time.perf_counter()
    results = [result for case in cases for scene in scenes(case) for result in measure(scene, baselines, model)]
    own = [] if model is None else [BOX, LOOSE, *map(_clicks, CLICKS)]
    text = report(results, [*own, *baselines])
    print(text)
    print(f"{len(results)} objects in {time.perf_counter() - started:.0f} s")
    if options.page:
        replace_part(options.page, "default model", text)
    if options.json:
        found = {"summary": summary(results, own), "results": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
