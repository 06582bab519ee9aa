"""Macro Dice on the held-out families of the training cases: `python -m training.tiny.quick_check --data DATA ...`.

A glance at whether training works, in seconds. It opens no case that is meant for evaluation; the benchmark does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from training.arguments import cases_folder, weights_file
from training.tiny.cases import View, load_views, split
from training.tiny.checkpoint import read_network
from training.tiny.task import prompt_maps

from samaritan.autoprompt.simulate import Target, centre_click, tight_box
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Prompts
from samaritan.models.letterbox import Letterbox
from samaritan.models.tiny.network import TinyNetwork
from samaritan.models.tiny.prompts import PADDING, extent, maps
from samaritan.models.tiny.zoom import FRAME_SIDE, Zoom

Array = NDArray[Any]

SIDE = 512
MAX_OBJECTS = 3  # of a view, the largest
MIN_SHARE = 0.001  # of the image that an object must cover, as in the benchmark


@torch.no_grad()
def check(network: TinyNetwork, views: Sequence[View]) -> dict[str, float]:
    """Dice from the tight box, one deepest click (best by predicted IoU), and the box's ellipse; mean over families."""
    network.eval()
    scores: dict[str, dict[str, list[float]]] = {"box": {}, "click": {}, "ellipse": {}}
    for view in views:
        if view.image is None:
            continue
        image, masks = letterbox(view)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()
        embedding = network.encoder(pixels)
        for mask in masks:
            target = Target.of_picture(mask.T)
            box, click = tight_box(target), Prompts(target.geometry, (centre_click(target),))
            boxed = look(network, image, Prompts(target.geometry, (box,))).mask[..., 0].T
            logits, quality = network.decoder(embedding, torch.from_numpy(prompt_maps(click, None, SIDE)[None]))
            chosen = logits[:, int(quality[0].argmax()), None]
            clicked = functional.interpolate(chosen, scale_factor=2.0, mode="bilinear")[0, 0].numpy() > 0
            found = (boxed, clicked, ellipse_in(box))
            for name, predicted in zip(scores, found, strict=True):
                scores[name].setdefault(view.family, []).append(dice(mask, predicted))
    result = {name: float(np.mean([np.mean(v) for v in families.values()])) for name, families in scores.items()}
    result |= {f"box {family}": float(np.mean(values)) for family, values in scores["box"].items()}
    return {name: round(value, 4) for name, value in result.items()}


@torch.no_grad()
def look(network: TinyNetwork, image: Array, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
    """Answer for an image (SIDE, SIDE, 3) from a window around the object, as the adapter does at inference.

    The prompts, or the previous answer, must say how far the object reaches.
    """
    box = extent(prompts, previous)
    assert box is not None
    zoom = Zoom.around(box, prompts)
    frame = Letterbox.fit((zoom.side, zoom.side), side=FRAME_SIDE, multiple=FRAME_SIDE)
    seen = zoom.seen(np.rint(image).astype(np.uint8).transpose(2, 1, 0)[..., None], frame)
    features = network.encoder(torch.from_numpy(np.ascontiguousarray(seen))[None])
    inside, shown = zoom.prompts(prompts), None
    if previous is not None:
        shown = Prediction(zoom.crop(previous.logits[:1], fill=PADDING), previous.scores[:1], inside.geometry)
    logits, quality = network.decoder(features, torch.from_numpy(maps(inside, shown, frame)[None]))
    found = zoom.paste(frame.logits_from_frame(logits[0, :1].numpy()), (SIDE, SIDE), fill=PADDING)
    return Prediction(found, quality[0, :1].numpy(), prompts.geometry)


def letterbox(view: View) -> tuple[Array, list[Array]]:
    """Resize to a long side of `SIDE`, pad below and right with 0; float32 RGB and the largest pieces' masks."""
    assert view.image is not None
    height, width = view.parts.shape
    scale = SIDE / max(height, width)
    size = (round(width * scale), round(height * scale))
    resized = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    parts = np.zeros((SIDE, SIDE), view.parts.dtype)
    parts[: size[1], : size[0]] = cv2.resize(view.parts, size, interpolation=cv2.INTER_NEAREST)
    image = np.zeros((SIDE, SIDE, 3), np.float32)
    image[: size[1], : size[0]] = resized if resized.ndim == 3 else resized[..., None]
    masks = [parts == members[0] for members in view.objects if len(members) == 1]
    large = [mask for mask in masks if mask.sum() >= MIN_SHARE * size[0] * size[1]]
    return image, sorted(large, key=lambda mask: -int(mask.sum()))[:MAX_OBJECTS]


def ellipse_in(box: Box) -> Array:
    """Boolean (SIDE, SIDE) mask of the ellipse inscribed in a box: what costs nothing to predict."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    (x0, y0, _), (x1, y1, _) = box.start, box.stop
    return np.asarray((2 * x - x0 - x1) ** 2 / (x1 - x0) ** 2 + (2 * y - y0 - y1) ** 2 / (y1 - y0) ** 2 <= 1)


def dice(reference: Array, prediction: Array) -> float:
    """Dice (1945) of two boolean masks, of which `reference` is not empty."""
    return float(2 * (reference & prediction).sum() / (reference.sum() + prediction.sum()))


def main() -> None:
    """Check the weights of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--weights", type=weights_file, required=True, help="checkpoint.pt of a run, or a .safetensors")
    parser.add_argument("--cache", type=Path, required=True, help="decoded views, as train.py writes them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = read_network(options.weights)
    print(json.dumps(check(network, split(load_views(options.data, options.cache))[1]), indent=2))


if __name__ == "__main__":
    main()
