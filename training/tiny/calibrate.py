"""Take a network's sureness back to what it knows of the unseen: `python -m training.tiny.calibrate --data DATA ...`.

A network is surer of itself on what it was trained on than on what it was not. So its masks are drawn back to the box's
ellipse a little, by `ELLIPSE_MORE`, which was chosen on twelve families that short runs did not see (decision 0006).
And its predicted IoU is compared with the true one on the held-out families, and its logit stretched and shifted (Platt
1999) so that they differ least; the two numbers go into the last layer of the head that predicts it.

A run that only refined a calibrated version may be averaged with it in between, weight by weight (Wortsman et al. 2022,
WiSE-FT): it then keeps more of what that version knew of what the run did not show it. The run's ellipse is
strengthened before, as that version's was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from samaritan.adapt.prompted.view import View
from samaritan.autoprompt.simulate import Target, jittered_box, tight_box
from samaritan.core.prompts import Prompts
from samaritan.io.atomic import atomic_path
from samaritan.models.tiny.network import TinyNetwork
from training.arguments import cache_file, cases_folder, checkpoint_file, run_script, weights_file
from training.clicks import corrected
from training.measures import iou
from training.tiny.cases import load_views, split
from training.tiny.checkpoint import read_network
from training.tiny.quick_check import letterbox, model_of, picture

Array = NDArray[Any]

ELLIPSE_MORE = 2.0  # added to the logit that the box's ellipse stands for
CLICKS = (3, 5, 10)  # from nothing, as in the benchmark; what a lone click's score is worth, the adapter knows
SLOPES, SHIFTS = np.linspace(0.3, 1.5, 25), np.linspace(-2.0, 2.0, 81)
_EDGE = 1e-4  # keeps logits finite


def judged(network: TinyNetwork, views: Sequence[View]) -> Iterator[tuple[float, float]]:
    """Yield predicted and true IoU of answers to what the benchmark asks: boxes, tight and loose, and clicks."""
    rng = np.random.default_rng(0)
    model = model_of(network)
    for view in views:
        if view.image is None:
            continue
        image, masks = letterbox(view)
        embedding = model.embed(picture(image))
        for mask in masks:
            target = Target.of_picture(mask.T)
            boxes = [Prompts(target.geometry, (box,)) for box in (tight_box(target), jittered_box(target, rng))]
            clicked = list(corrected(model, embedding, target.mask, Prompts(target.geometry), clicks=max(CLICKS)))
            for answer in (*(model.decode(embedding, box) for box in boxes), *(clicked[n - 1] for n in CLICKS)):
                yield float(answer.scores[0]), iou(target.mask, answer.mask)


def calibrated(predicted: Array, *, slope: float, shift: float) -> Array:
    """Return predicted IoUs with their logits times `slope` plus `shift`."""
    clipped = np.clip(predicted, _EDGE, 1 - _EDGE)
    return np.asarray(1 / (1 + np.exp(-(slope * np.log(clipped / (1 - clipped)) + shift))))


def fitted(predicted: Array, true: Array) -> tuple[float, float]:
    """Return the slope and the shift of the logit for which the mean absolute error is least."""
    tried = [(float(slope), float(shift)) for slope, shift in product(SLOPES, SHIFTS)]
    return min(tried, key=lambda pair: np.abs(calibrated(predicted, slope=pair[0], shift=pair[1]) - true).mean())


def calibrate(network: TinyNetwork, *, slope: float, shift: float) -> None:
    """Change the head of `network` in place: its logit times `slope` plus `shift`."""
    last = network.decoder.quality[-1]
    last.weight.data.mul_(slope)
    last.bias.data.mul_(slope).add_(shift)


def average(network: TinyNetwork, other: TinyNetwork) -> None:
    """Change `network` in place to the mean of its weights and statistics and those of the `other`."""
    theirs = other.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.add_(theirs[name]).div_(2)


def main() -> None:
    """Read the command line, compare, and write the calibrated weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--cache", type=cache_file, required=True, help="decoded views, as train.py writes them")
    parser.add_argument("--weights", type=checkpoint_file, required=True, help="checkpoint.pt of a run")
    parser.add_argument("--mean-with", type=weights_file, help="calibrated weights that the run refined")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    options = parser.parse_args()
    network = read_network(options.weights).eval()
    network.decoder.prior.data[0] += ELLIPSE_MORE
    if options.mean_with:
        average(network, read_network(options.mean_with))
    predicted, true = np.array(list(judged(network, split(load_views(options.data, options.cache))[1]))).T
    slope, shift = fitted(predicted, true)
    calibrate(network, slope=slope, shift=shift)
    with atomic_path(options.out) as path:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    after = calibrated(predicted, slope=slope, shift=shift)
    print(f"{len(true)} answers; logit times {slope:.2f} plus {shift:.2f}; mean error of the predicted IoU "
          f"{np.abs(predicted - true).mean():.3f} before, {np.abs(after - true).mean():.3f} after")  # fmt: skip


if __name__ == "__main__":
    run_script(main)
