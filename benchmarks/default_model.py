"""How well a model segments from a box or a few clicks, beside what a box gives without any model.

`python -m benchmarks.default_model --data DIR --json OUT [--limit N] [--page OUT.md]`

Protocol. Every evaluation case of the folder; of a volume, for each label the slice in which it is largest; up to three
labels a case; of each label the largest connected piece, if it covers 0.1% of the image. Dice of that piece from its
tight box; from a box whose sides are moved by up to 10%; from clicks, the first in the deepest point of the object and
each next one in the deepest point of all that is wrong. Apart from these, of the masks that come back for the first
click, the best by the reference: what a user can have who looks at all of them, and no part of any goal. Means are
taken over the objects of a case, the cases of a data set, and the data sets. Beside each answer stands the IoU that the
model predicts for it.

Cases that cannot be read, or hold no object large enough, are left out; a line under the first table counts them.

A run goes on from what stands in OUT. What the baselines gave is kept there under their version, so that new weights
need only the model's share; `--again` measures the model anew, as after a change of its code, and so does a run that
asks for more than OUT's. A run of all cases writes the card's scores to OUT's name with `.summary.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from training.arguments import cases_folder, count
from training.clicks import corrected
from training.measures import dice

from benchmarks.cases import Case, Scene, Target, evaluation_cases, scenes
from benchmarks.macro import Result, grouped, iou_of, macro, macro_mean, table
from benchmarks.page import page_with, replace_part
from samaritan import load_model, segment
from samaritan.autoprompt import simulate
from samaritan.core.errors import SamaritanError
from samaritan.core.model import Embedding, Model, ModelCard
from samaritan.core.prompts import Box, Prompts
from samaritan.infer.embedder import Embedder
from samaritan.infer.intensity import IntensityMap
from samaritan.io.atomic import atomic_path
from samaritan.models import DEFAULT_MODEL, model_card

Bools = NDArray[np.bool_]

CLICKS = (1, 3, 5, 10)
JITTER = 0.1
BOX, LOOSE = "box", "loose box"
ALL, FLAT = "all sets", "2D sets"


def _clicks(count: int) -> str:
    return f"{count} click{'s' if count > 1 else ''}"


# What a box alone gives without learning: the bars that a model has to clear.
BASELINES = {
    "ellipse in the box": "ellipse",
    "Otsu in the box": "otsu",
    "GrabCut": "grabcut",
    "random walker": "random-walker",
}
BASELINES_VERSION = 2  # raise it when one of them changes: kept results of another version are measured anew
OWN = (BOX, LOOSE, *map(_clicks, CLICKS))
ORACLE = "1 click, best mask by the reference"
ANSWERS_VERSION = 2  # raise it when other things are asked: kept answers to other questions are measured anew


@dataclass
class Answers:
    """What a model answered for one object: Dice and error of the predicted IoU, by prompt."""

    dice: dict[str, float] = field(default_factory=dict)
    iou_error: dict[str, float] = field(default_factory=dict)

    def add(self, prompt: str, target: Target, mask: Bools, score: float) -> None:
        """Judge one answer."""
        self.dice[prompt] = dice(target.mask, mask)
        self.iou_error[prompt] = abs(score - iou_of(self.dice[prompt]))


def measure_baselines(scene: Scene) -> list[dict[str, float]]:
    """Return the Dice of every baseline for every object of one image: they get the same intensities as the model."""
    image = IntensityMap.of(scene.image, model_card(DEFAULT_MODEL))(scene.image)
    rows: list[dict[str, float]] = [{} for _ in scene.targets]
    for title, name in BASELINES.items():
        model = load_model(name)
        embedding = model.embed(image)
        for row, target in zip(rows, scene.targets, strict=True):
            found = model.decode(embedding, Prompts(image.geometry, (target.box,)))
            row[title] = dice(target.mask, found.mask)
    return rows


def picture_of(scene: Scene) -> NDArray[np.uint8]:
    """Return what the model sees, as uint8 (rows, columns, 3)."""
    prepared = IntensityMap.of(scene.image, model_card(DEFAULT_MODEL))(scene.image)
    return np.ascontiguousarray(prepared.array[..., 0].transpose(2, 1, 0).round().astype(np.uint8))


def measure_model(scene: Scene, model: Model) -> list[Answers]:
    """Return what the model answers for every object of one image."""
    geometry = scene.image.geometry
    boxes = {str(n): Prompts(geometry, (target.box,)) for n, target in enumerate(scene.targets)}
    segmented = segment(model, scene.image, boxes)
    embedding = Embedder(model, scene.image).embedding(("k", 0))
    rows = []
    for target, found in zip(scene.targets, segmented.objects, strict=True):
        answers = Answers()
        answers.add(BOX, target, found.mask, found.score)
        loose = model.decode(embedding, Prompts(embedding.geometry, (_loose(target, scene),)))
        answers.add(LOOSE, target, loose.mask, float(loose.scores[0]))
        _add_clicks(answers, target, embedding, model)
        rows.append(answers)
    return rows


def _loose(target: Target, scene: Scene) -> Box:
    # Seeded by the case, so that a box does not depend on which cases were run before it.
    rng = np.random.default_rng([target.label, *scene.case.id.encode()])
    known = simulate.Target(target.mask, scene.image.geometry)
    return simulate.jittered_box(known, rng, inward=JITTER, outward=JITTER)


def _add_clicks(answers: Answers, target: Target, embedding: Embedding, model: Model) -> None:
    given = corrected(model, embedding, target.mask, Prompts(embedding.geometry), clicks=max(CLICKS))
    for number, answer in enumerate(given, 1):
        answers.add(_clicks(number), target, answer.mask, float(answer.scores[0]))
        if number == 1:
            answers.dice[ORACLE] = max(dice(target.mask, np.asarray(logits > 0)) for logits in answer.logits)


def groups(results: list[Result]) -> dict[str, list[Result]]:
    """Return the groups that are summed up, by name; those without a result are left out."""
    parts = {
        ALL: results,
        FLAT: [r for r in results if not r.is_3d],
        "slices of 3D sets": [r for r in results if r.is_3d],
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


def oracle(results: list[Result]) -> str:
    """Return the table of what a lone click would give if the best of its masks were known."""
    rows = []
    for name, part in (groups(results) | grouped(results, lambda r: r.modality)).items():
        first, best = macro(part, _clicks(1)), macro(part, ORACLE)
        rows.append([name, len(part), first.long, best.long, f"{best.mean - first.mean:.3f}"])
    title = (
        "An oracle, not what a user is given first: a lone click gets up to three masks, and here the one that is "
        "nearest to the reference counts. Dice, mean over data sets, with 95% bootstrap intervals:"
    )
    return f"{title}\n\n{table(['', 'objects', 'first mask', 'best mask, by the reference', 'more'], rows)}"


def goals(results: list[Result]) -> str:
    """Return the table of what the default model is to reach, and whether it does."""
    parts = [groups(results)[name] for name in (ALL, FLAT)]
    reached = [_reached(part) for part in parts]
    rows = []
    for (what, goal), *values in zip(GOALS.items(), *(found.values() for found in reached), strict=True):
        met = values[0] >= goal.value if goal.at_least else values[0] <= goal.value
        way = "at least" if goal.at_least else "at most"
        rows.append([what, f"{way} {goal.value}", *(f"{value:.3f}" for value in values), "yes" if met else "no"])
    return table(["", "goal", ALL, FLAT, "met by all sets"], rows)


class Goal(NamedTuple):
    """A figure to reach."""

    value: float
    at_least: bool


GOALS = {
    "Dice, tight box": Goal(0.88, at_least=True),
    "gain over the best baseline, worst modality": Goal(0.03, at_least=True),
    "Dice lost by a box off by up to 10%": Goal(0.03, at_least=False),
    **{f"Dice, {_clicks(n)}": Goal(v, at_least=True) for n, v in zip(CLICKS, (0.70, 0.82, 0.87, 0.91), strict=True)},
    "most that mean Dice falls by a further click": Goal(0.0, at_least=False),
    "mean error of the predicted IoU": Goal(0.08, at_least=False),
}


def _reached(results: list[Result]) -> dict[str, float]:
    """Return the figure for each of the goals."""
    tight = macro(results, BOX).mean
    clicks = [macro(results, _clicks(n)).mean for n in range(1, max(CLICKS) + 1)]
    figures = [
        tight,
        min(_gains(results).values()),
        tight - macro(results, LOOSE).mean,
        *(clicks[n - 1] for n in CLICKS),
        max(0.0, *(before - after for before, after in pairwise(clicks))),
        _iou_error(results),
    ]
    return dict(zip(GOALS, figures, strict=True))


def _gains(results: list[Result]) -> dict[str, float]:
    """Return, for each modality, the Dice from a tight box above that of the best baseline there."""
    return {
        name: macro(part, BOX).mean - max(macro(part, baseline).mean for baseline in BASELINES)
        for name, part in grouped(results, lambda r: r.modality).items()
    }


def _iou_error(results: list[Result]) -> float:
    return macro_mean(results, lambda result: float(np.mean([result.iou_error[prompt] for prompt in OWN]))).mean


def by_modality(results: list[Result]) -> str:
    """Return the table of the model's own scores by modality, with intervals."""
    known = groups(results)
    modalities = grouped(results, lambda r: r.modality)
    rows = [
        [name, len({r.dataset for r in part}), len(part), *(macro(part, prompt).long for prompt in OWN)]
        for name, part in (known | modalities).items()
    ]
    return table(["", "sets", "objects", *OWN], rows)


def summary(results: list[Result]) -> dict[str, dict[str, float]]:
    """Return macro Dice over all sets: under "summary" what goes on the model's card, under "oracle" what does not."""
    sets = len({r.dataset for r in results})
    return {
        part: {f"Dice, {prompt}, {sets} evaluation sets": macro(results, prompt).mean for prompt in prompts}
        for part, prompts in {"summary": OWN, "oracle": (ORACLE,)}.items()
    }


class Record:
    """All rows of a run, kept in a JSON file after every case; baselines stay when the model is measured anew."""

    def __init__(self, path: Path | None, card: ModelCard, *, again: bool) -> None:
        self.path, self._weights = path, card.sha256
        kept = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
        same = kept.get("baselines_version") == BASELINES_VERSION
        self.baselines: dict[str, dict[str, dict[str, float]]] = kept.get("baselines", {}) if same else {}
        same = kept.get("weights") == self._weights and kept.get("answers_version") == ANSWERS_VERSION
        self.answers: dict[str, dict[str, Any]] = kept.get("answers", {}) if same and not again else {}
        self.unreadable: list[str] = []  # ids of the cases that could not be read in this run

    def measure(self, case: Case, model: Model) -> list[Result]:
        """Return the rows of a case, measuring what is not there yet.

        A case without any is read again: whether it can be read hangs on the code, not on the weights.
        """
        if not (self.answers.get(case.id) and self.baselines.get(case.id)):
            self._measure(case, model)
        rows, known = self.answers[case.id], self.baselines[case.id]
        return [
            Result(case.dataset, case.modality, case.id, int(label), case.is_3d, row["dice"] | known[label],
                row["iou_error"])
            for label, row in rows.items()
        ]  # fmt: skip

    def _measure(self, case: Case, model: Model) -> None:
        answers, baselines = {}, {}
        for scene in self._read(case):
            labels = [str(target.label) for target in scene.targets]
            answers |= dict(zip(labels, map(asdict, measure_model(scene, model)), strict=True))
            if not self.baselines.get(case.id):
                baselines |= dict(zip(labels, measure_baselines(scene), strict=True))
        self.answers[case.id] = answers
        self.baselines[case.id] = baselines or self.baselines.get(case.id, {})
        if self.path:
            kept = {
                "baselines_version": BASELINES_VERSION, "baselines": self.baselines,
                "weights": self._weights, "answers_version": ANSWERS_VERSION, "answers": self.answers,
            }  # fmt: skip
            with atomic_path(self.path) as staged:
                staged.write_text(json.dumps(kept), encoding="utf-8")

    def _read(self, case: Case) -> list[Scene]:
        try:
            return list(scenes(case))
        except SamaritanError as error:
            print(f"cannot read {case.id}: {error}")
            self.unreadable.append(case.id)
            return []


def left_out(cases: list[Case], results: list[Result], unreadable: list[str]) -> str:
    """Return the sentences that say how many of the cases count, and why the others do not."""
    counted = len({result.case for result in results})
    empty = len(cases) - counted - len(unreadable)
    why = [f"{empty} without an object that is large enough"] if empty else []
    why += [f"{len(unreadable)} that cannot be read ({', '.join(unreadable)})"] if unreadable else []
    return f"Of {len(cases)} cases {counted} count." + (f" Left out: {'; '.join(why)}." if why else "")


def main() -> None:
    """Read the command line, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name of the model")
    parser.add_argument("--limit", type=count, help="cases of each data set at most")
    parser.add_argument("--dataset", action="append", help="only this data set; may be repeated")
    parser.add_argument("--held-out", action="store_true", help="the held-out sets of training, to choose settings on")
    parser.add_argument("--json", type=Path, help="where every row is kept, to go on from and to sum up")
    parser.add_argument("--again", action="store_true", help="measure the model anew, as after a change of its code")
    parser.add_argument(
        "--page", type=page_with("default model"), help="Markdown page whose part 'default model' the tables become"
    )
    parser.add_argument(
        "--card-page", type=page_with("scores"), help="Markdown page whose part 'scores' the scores by modality become"
    )
    options = parser.parse_args()
    whole = options.limit is None and not options.dataset and not options.held_out
    if not whole and (options.page or options.card_page):
        parser.error("--page and --card-page are for all cases: not with --limit, --dataset or --held-out")
    model = load_model(options.model)
    record = Record(options.json, model.card, again=options.again)
    cases = evaluation_cases(options.data, limit=options.limit, held_out=options.held_out)
    if options.dataset:
        cases = [case for case in cases if case.dataset in options.dataset]
    if not cases:
        parser.error(f"nothing to measure: no case of {options.dataset or options.data}; wanted a data set's name")
    started = time.perf_counter()
    results = [row for case in track(cases, "measuring") for row in record.measure(case, model)]
    parts = [left_out(cases, results, record.unreadable), report(results, [*OWN, *BASELINES]), oracle(results)]
    text = "\n\n".join([goals(results), *parts] if whole else parts)
    print(text)
    print(f"{len(results)} objects in {time.perf_counter() - started:.0f} s")
    if options.page:
        replace_part(options.page, "default model", text)
    if options.card_page:
        replace_part(options.card_page, "scores", by_modality(results))
    if options.json and whole:
        scores = options.json.with_suffix(".summary.json")
        scores.write_text(json.dumps(summary(results), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
