"""What limits the default model, four tables of decision 0011: `python -m training.tiny.limits --data DATA ...`.

Which of a lone click's masks is meant, how well the IoU of an answer can be foreseen, what a second look at an answer
gives, and what clicks would give if the object's place were known; on the held-out families, and on some pictures of
each training family. It opens no case that is meant for evaluation.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from samaritan.autoprompt.simulate import Target, centre_click, tight_box
from samaritan.core.geometry import Geometry
from samaritan.core.model import Embedding, Prediction
from samaritan.core.prompts import Prompts
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import Found, Network, TinyEmbedding, TinyModel
from samaritan.models.tiny.network import MASKS, NETWORK_FILE, TinyNetwork
from training.arguments import cases_folder, count, run_script, weights_file
from training.clicks import corrected
from training.tiny.cases import VALIDATION_FAMILIES, View, load_views, split
from training.tiny.checkpoint import read_network
from training.tiny.quick_check import TorchGraph, dice, letterbox, model_of, picture, some_of_each

Array = NDArray[Any]
Fit = Callable[[Array, Array, Array], Array]  # (n, f) features and (n,) truth, (m, f) features -> (m,) expected

RETURNED = 3  # masks of a lone click
CLICKS = 5
LOOKS = ("first look", "second", "third")
SURE = 2.0  # logit; a mask that is the same above it and above its negative is stable
TREES, LEAF = 100, 5
HELD_OUT, TRAINED = "held-out families", "training families"


@dataclass(frozen=True, eq=False)
class Asked:
    """An object in a picture that the model has taken in."""

    family: str
    embedding: TinyEmbedding
    target: Target

    @property
    def box(self) -> Prompts:
        """Its tight box."""
        return Prompts(self.target.geometry, (tight_box(self.target),))

    @property
    def click(self) -> Prompts:
        """A click in its deepest point."""
        return Prompts(self.target.geometry, (centre_click(self.target),))


@dataclass(frozen=True)
class OneMask:
    """A network that is asked for one of its masks only: so the adapter's search gives that mask of every window."""

    network: Network
    number: int

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Map ``image`` and ``prompt_maps`` to ``logits`` and ``iou``, the one mask in the place of all."""
        answer = self.network.run(inputs)
        return {name: np.repeat(array[:, self.number, None], MASKS, axis=1) for name, array in answer.items()}


def objects(model: TinyModel, views: Sequence[View]) -> list[Asked]:
    """Return the objects of all views that have a picture."""
    found = []
    for view in views:
        if view.image is not None:
            image, masks = letterbox(view)
            embedding = model.embed(picture(image))
            found += [Asked(view.family, embedding, Target.of_picture(mask.T)) for mask in masks]
    return found


def macro(values: Sequence[float] | Array, families: Sequence[str]) -> float:
    """Return the mean over families of the means of their values."""
    by_family: dict[str, list[float]] = defaultdict(list)
    for family, value in zip(families, values, strict=True):
        by_family[family].append(float(value))
    return float(np.mean([np.mean(known) for known in by_family.values()]))


def line(known: Array, truth: Array, asked: Array) -> Array:
    """Be the ``Fit`` of least squares."""
    weights = np.linalg.lstsq(np.pad(known, ((0, 0), (0, 1)), constant_values=1.0), truth, rcond=None)[0]
    return np.asarray(asked @ weights[:-1] + weights[-1])


def forest(known: Array, truth: Array, asked: Array) -> Array:
    """Be the ``Fit`` of a random forest (Breiman 2001)."""
    trees = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=0)
    return np.asarray(trees.fit(known, truth).predict(asked))


def by_other_families(fit: Fit, features: Array, truth: Array, families: Sequence[str]) -> Array:
    """Return what is expected of each row from the rows of other families than its own."""
    names, expected = np.array(families), np.empty(len(truth))
    for family in set(families):
        own = names == family
        expected[own] = fit(features[~own], truth[~own], features[own])
    return expected


def stability(logits: Array) -> float:
    """Return the IoU of the masks at logits of ``SURE`` and its negative, as Segment Anything has it; 0 of nothing."""
    return float((logits > SURE).sum() / max(1, (logits > -SURE).sum()))


def _iou(one: Array, other: Array) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


# -- which of a lone click's masks ----------------------------------------------------------------------------------


def ranking(network: Network, asked: Sequence[Asked]) -> dict[str, float]:
    """Return the Dice of a lone click by how one of its masks is taken, at the search's resolution."""
    model = TinyModel(FOLDER, network=network)
    single = [TinyModel(FOLDER, network=OneMask(network, number)) for number in range(MASKS)]
    dices, features, best_of_all = [], [], []  # of each click: (windows,), (windows, f), and one number
    for item in asked:
        found = model.search(item.embedding, item.click)
        dices.append(_dices(item, found))
        features.append(_features(found, item.target.geometry))
        best_of_all.append(max(max(_dices(item, one.search(item.embedding, item.click))) for one in single))
    families = [item.family for item in asked]
    rows = [family for family, known in zip(families, dices, strict=True) for _ in known]
    flat, truth = np.concatenate(features), np.concatenate(dices)
    ends = np.cumsum([len(known) for known in dices])[:-1]
    first_best = [max(known[:RETURNED]) for known in dices]

    def taken(expected: Array) -> float:
        picks = (known[int(part.argmax())] for known, part in zip(dices, np.split(expected, ends), strict=True))
        return macro(list(picks), families)

    return {
        "by predicted IoU less what the window cuts off, as it ships": macro([d[0] for d in dices], families),
        "plus the mean overlap with the other windows' masks": taken(flat[:, 0] + flat[:, -1]),
        "by a line through score, cut, size, stability, overlap, fitted on the other families": taken(
            by_other_families(line, flat, truth, rows)
        ),
        "by a forest through the same": taken(by_other_families(forest, flat, truth, rows)),
        f"the best of the first {RETURNED}, chosen by the reference": macro(first_best, families),
        f"the best of all windows' {MASKS} masks": macro(best_of_all, families),
    }


def _dices(item: Asked, found: Sequence[Found]) -> list[float]:
    return [dice(item.target.mask, each.pasted(item.target.geometry)[0] > 0) for each in found]


def _features(found: Sequence[Found], grid: Geometry) -> Array:
    """Return score, cut, size, stability and overlap with the others of each window's mask, (windows, 5)."""
    logits = [each.pasted(grid)[0] for each in found]
    masks = [each > 0 for each in logits]
    return np.array([
        (each.score, each.zoom.cut_off(each.logits[0, ..., 0], grid.shape), np.log1p(mask.sum()), stability(raw),
         np.mean([_iou(mask, other) for other in masks if other is not mask]))
        for each, mask, raw in zip(found, masks, logits, strict=True)
    ])  # fmt: skip


# -- the predicted IoU ----------------------------------------------------------------------------------------------


def answers(model: TinyModel, asked: Sequence[Asked]) -> Iterator[tuple[str, str, float, tuple[float, ...]]]:
    """Yield family and prompt of answers, their true IoU, and the estimates of it."""
    for item in asked:
        clicked = list(corrected(model, item.embedding, item.target.mask, Prompts(item.target.geometry), clicks=CLICKS))
        given = {"box": model.decode(item.embedding, item.box), "1 click": clicked[0], f"{CLICKS} clicks": clicked[-1]}
        for prompt, answer in given.items():
            logits = answer.logits[0]
            probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
            either = np.where(answer.mask, 1.0, probability).sum()
            expected = float(probability[answer.mask].sum() / either)
            yield item.family, prompt, _iou(item.target.mask, answer.mask), (answer.score, expected, stability(logits))


def estimates(model: TinyModel, asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Return the mean absolute error of each way to foresee an IoU, by group of families."""
    families, prompts, true, features = zip(*answers(model, asked), strict=True)
    truth, known = np.array(true), np.array(features)
    ways = {
        "the network's own": known[:, 0],
        "expected from the mask's probabilities": known[:, 1],
        f"stability, the overlap of the masks at logits of {SURE:g} and -{SURE:g}": known[:, 2],
        "all together, fitted on the other families": by_other_families(line, known, truth, families),
    }
    errors = {name: np.abs(expected - truth) for name, expected in ways.items()}
    held = np.isin(families, list(VALIDATION_FAMILIES))
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for group, chosen in {HELD_OUT: held, TRAINED: ~held}.items():
        if not chosen.any():
            continue
        part = np.array(families)[chosen]
        for name, error in errors.items():
            table[name][group] = macro(error[chosen], part)
        constants = (macro(np.abs(value - truth[chosen]), part) for value in np.linspace(0, 1, 101))
        table["the best constant"][group] = min(constants)
        for prompt in dict.fromkeys(prompts):
            own = chosen & (np.array(prompts) == prompt)
            found = macro(errors["the network's own"][own], np.array(families)[own])
            table[f"the network's own, {prompt}"][group] = found
    return dict(table)


# -- a second look --------------------------------------------------------------------------------------------------


def looks(model: TinyModel, asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Return the Dice of a box and of a click, by how often the answer was given back as the earlier mask."""
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for group in (HELD_OUT, TRAINED):
        part = [item for item in asked if (item.family in VALIDATION_FAMILIES) == (group == HELD_OUT)]
        for prompt in ("box", "click") if part else ():
            scores: dict[str, list[float]] = defaultdict(list)
            for item in part:
                prompts, answer = getattr(item, prompt), None
                for look in LOOKS:
                    answer = model.decode(item.embedding, prompts, answer)
                    scores[look].append(dice(item.target.mask, answer.mask))
            for look, values in scores.items():
                table[f"{group}: {prompt}"][look] = macro(values, [item.family for item in part])
    return dict(table)


# -- the window of clicks -------------------------------------------------------------------------------------------


class Placed(TinyModel):
    """The model, looking where it is told that the object lies, whatever it is asked."""

    place: Array  # ((i0, j0), (i1, j1)), half-open

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return one mask for the prompts."""
        return self._look_again(cast("TinyEmbedding", embedding), prompts, previous, self.place)


def windows(network: Network, asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Return the Dice of clicks in the window that is guessed and in the one around the reference."""
    guessing, placed = TinyModel(FOLDER, network=network), Placed(FOLDER, network=network)
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for group in (HELD_OUT, TRAINED):
        part = [item for item in asked if (item.family in VALIDATION_FAMILIES) == (group == HELD_OUT)]
        for name, model in {"guessed": guessing, "around the reference": placed}.items() if part else ():
            scores = []
            for item in part:
                box, nothing = tight_box(item.target), Prompts(item.target.geometry)
                placed.place = np.array([box.start[:2], box.stop[:2]], np.float64)
                answered = corrected(model, item.embedding, item.target.mask, nothing, clicks=CLICKS)
                scores.append([dice(item.target.mask, answer.mask) for answer in answered])
            for clicks, values in enumerate(zip(*scores, strict=True), 1):
                table[f"{group}: {name}"][str(clicks)] = macro(values, [item.family for item in part])
    return dict(table)


def markdown(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of rows by name, whose columns are those of the first."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[column]:.3f}' for column in columns)} |" for name, row in rows.items()]
    return "\n".join(lines)


def tables(network: TinyNetwork, views: Sequence[View]) -> Iterator[str]:
    """Yield the tables, as each is done."""
    model = model_of(network)
    asked = objects(model, views)
    held = sum(item.family in VALIDATION_FAMILIES for item in asked)
    yield f"{held} objects of {HELD_OUT}, {len(asked) - held} of {TRAINED}; all are means over families."
    ranked = ranking(TorchGraph(network), asked)
    yield markdown("the mask of a lone click that is taken", {name: {"Dice": value} for name, value in ranked.items()})
    yield markdown("error of the IoU that is foreseen", estimates(model, asked))
    yield markdown("Dice, the answer being given back", looks(model, asked))
    yield markdown("Dice after clicks, by the window", windows(TorchGraph(network), asked))


def main() -> None:
    """Read the command line and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--cache", type=Path, required=True, help="decoded views, as train.py writes them")
    parser.add_argument(
        "--weights", type=weights_file, default=FOLDER / "weights" / NETWORK_FILE,
        help="checkpoint.pt of a run, or a .safetensors; by default what ships",
    )  # fmt: skip
    parser.add_argument("--most", type=count, default=4, help="pictures of each training family; held-out: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained, held = split(load_views(options.data, options.cache))
    for table in tables(read_network(options.weights), [*held, *some_of_each(trained, options.most)]):
        print(table, end="\n\n", flush=True)


if __name__ == "__main__":
    run_script(main)
