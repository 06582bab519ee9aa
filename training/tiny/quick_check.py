"""Macro Dice on families of the training cases: `python -m training.tiny.quick_check --data DATA ...`.

A glance, in seconds, at whether training works (on the held-out families), and at how well a network has learnt what it
was shown (`--families trained`). It opens no case that is meant for evaluation; the benchmark does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from samaritan.adapt.prompted.view import View
from samaritan.autoprompt.simulate import Target, centre_click, tight_box
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Prompts
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
from samaritan.models.tiny.network import TinyNetwork
from samaritan.models.tiny.torch_graph import TorchGraph
from training.arguments import cache_file, cases_folder, count, run_script, weights_file
from training.measures import dice, family_means, macro
from training.tiny.cases import by_family, load_views, split
from training.tiny.checkpoint import read_network

Array = NDArray[Any]

SIDE = 512
MAX_OBJECTS = 3  # of a view, the largest
MIN_SHARE = 0.001  # of the image that an object must cover, as in the benchmark


def model_of(network: TinyNetwork) -> TinyModel:
    """Return the model as users have it, with `network` in place of the weights that ship."""
    return TinyModel(FOLDER, network=TorchGraph(network))


def check(network: TinyNetwork, views: Sequence[View]) -> dict[str, float]:
    """Dice from the tight box, from one deepest click, and of the box's ellipse; mean over families."""
    model = model_of(network)
    scores: dict[str, list[float]] = {"box": [], "click": [], "ellipse": []}
    families = []
    for view in views:
        if view.image is None:
            continue
        image, masks = letterbox(view)
        embedding = model.embed(picture(image))
        for mask in masks:
            target = Target.of_picture(mask.T)
            box, click = tight_box(target), centre_click(target)
            answers = (model.decode(embedding, Prompts(target.geometry, (item,))) for item in (box, click))
            found = (*(answer.mask[..., 0].T for answer in answers), ellipse_in(box))
            for values, predicted in zip(scores.values(), found, strict=True):
                values.append(dice(mask, predicted))
            families.append(view.family)
    result = {name: macro(values, families) for name, values in scores.items()}
    for name in ("box", "ellipse", "click"):
        result |= {f"{name} {family}": mean for family, mean in family_means(scores[name], families).items()}
    return {name: round(value, 4) for name, value in result.items()}


def some_of_each(views: Sequence[View], most: int) -> list[View]:
    """Return `most` views of each family at most, drawn by chance, but always the same."""
    rng = np.random.default_rng(0)
    return [family[index] for family in by_family(views).values() for index in rng.permutation(len(family))[:most]]


def picture(pixels: Array) -> Image:
    """Return RGB pixels (rows, columns, 3) with values in [0, 255] as an image."""
    rows, columns = pixels.shape[:2]
    array = np.ascontiguousarray(pixels.transpose(2, 1, 0)[..., None], np.float32)
    return Image(array, Geometry.picture(columns, rows), RGB)


@dataclass(frozen=True, eq=False)
class Padded:
    """A view with a long side of `SIDE`, padded below and right with 0."""

    image: Array  # float32 (SIDE, SIDE, 3)
    parts: Array  # uint16 (SIDE, SIDE), numbers as in the view
    least: float  # pixels that an object must cover


def padded(view: View) -> Padded:
    """Resize a view that has a picture, and pad it."""
    assert view.image is not None
    height, width = view.parts.shape
    scale = SIDE / max(height, width)
    size = (round(width * scale), round(height * scale))
    resized = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    parts = np.zeros((SIDE, SIDE), view.parts.dtype)
    parts[: size[1], : size[0]] = cv2.resize(view.parts, size, interpolation=cv2.INTER_NEAREST)
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[: size[1], : size[0]] = resized if resized.ndim == 3 else resized[..., None]
    return Padded(image, parts, MIN_SHARE * size[0] * size[1])


def letterbox(view: View) -> tuple[Array, list[Array]]:
    """Return the padded picture of a view, float32 RGB, and the masks of its largest pieces."""
    shown = padded(view)
    masks = [shown.parts == members[0] for members in view.objects if len(members) == 1]
    large = [mask for mask in masks if mask.sum() >= shown.least]
    return shown.image, sorted(large, key=lambda mask: -int(mask.sum()))[:MAX_OBJECTS]


def ellipse_in(box: Box) -> Array:
    """Boolean (SIDE, SIDE) mask of the ellipse inscribed in a box: what costs nothing to predict."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    (x0, y0, _), (x1, y1, _) = box.start, box.stop
    return np.asarray((2 * x - x0 - x1) ** 2 / (x1 - x0) ** 2 + (2 * y - y0 - y1) ** 2 / (y1 - y0) ** 2 <= 1)


def main() -> None:
    """Check the weights of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--weights", type=weights_file, required=True, help="checkpoint.pt of a run, or a .safetensors")
    parser.add_argument("--cache", type=cache_file, required=True, help="decoded views, as train.py writes them")
    parser.add_argument("--families", choices=("held-out", "trained"), default="held-out")
    parser.add_argument("--most", type=count, help="views of each family at most, drawn by chance, always the same")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained, held = split(load_views(options.data, options.cache))
    views = trained if options.families == "trained" else held
    if options.most:
        views = some_of_each(views, options.most)
    print(json.dumps(check(read_network(options.weights), views), indent=2))


if __name__ == "__main__":
    run_script(main)
