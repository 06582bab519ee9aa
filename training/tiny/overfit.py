"""Whether the network can hold what it is asked: `python -m training.tiny.overfit --data DATA --out runs/overfit ...`.

Some objects of each training family, always in the same window and by the same box, are all that the weights that ship
go on learning: nothing is bent, spoilt or left out. If it then answers them as it is wanted to, the network is large
enough and sees enough for that, and what it lacks elsewhere has other reasons.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from samaritan.adapt import Settings, fit
from samaritan.adapt.prompted.tiny import Batch, Plan
from samaritan.adapt.prompted.view import View
from samaritan.autoprompt.simulate import Target, tight_box
from samaritan.core.prompts import Prompts
from samaritan.models.tiny import FOLDER, prompts
from samaritan.models.tiny.adapter import TinyModel
from samaritan.models.tiny.network import NETWORK_FILE, TinyNetwork, load_network
from samaritan.models.tiny.zoom import FRAME_SIDE, Zoom
from training.arguments import cache_file, cases_folder, count, run_script
from training.measures import lowest
from training.tiny.cases import load_views, split
from training.tiny.depthwise import freeze_depthwise
from training.tiny.quick_check import check, letterbox, model_of, picture, some_of_each
from training.tiny.task import TinyTask
from training.tiny.train import groups

Array = NDArray[Any]

WORST = 6  # families that are named


class WithoutDropout(TinyNetwork):
    """The network with all its features, in training too; the loop sees to the norms."""

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 - PyTorch's own signature
        """Stay as in use."""
        return super().train(mode=False)


class Fixed(TinyTask):
    """The same windows again and again, a part of them each step.

    Parameters
    ----------
    plan
        Of which steps, seed and images a step count.
    model
        Whose windows they are.
    views
        Of whose objects each is asked for by its box.
    """

    def __init__(self, plan: Plan, model: TinyModel, views: Sequence[View]) -> None:
        super().__init__(plan, None, Path())
        shown = [window for view in views for window in _windows(model, view)]
        self._images, self._masks, self._valid, self._maps = (np.stack(part) for part in zip(*shown, strict=True))

    def prepare(self) -> None:
        """Do nothing: all is made."""

    def batch(self, step: int) -> Batch:
        """Return some of the windows."""
        chosen = np.random.default_rng([self.plan.seed, step]).permutation(len(self._images))[: self.plan.images]
        images, masks, valid, maps = (
            torch.from_numpy(part[chosen]) for part in (self._images, self._masks, self._valid, self._maps)
        )
        return Batch(images, masks, valid, maps, torch.zeros(len(chosen), dtype=torch.bool), [])


def _windows(model: TinyModel, view: View) -> list[tuple[Array, Array, Array, Array]]:
    """Return what the network sees of each object's box, and its answer: image, mask, valid, and prompt maps."""
    pixels, masks = letterbox(view)
    known, shown = model.embed(picture(pixels)), []
    for mask in masks:
        target = Target.of_picture(mask.T)
        box = tight_box(target)
        asked = Prompts(target.geometry, (box,))
        zoom = Zoom.around(np.array([box.start[:2], box.stop[:2]], np.float64), asked)
        frame = zoom.letterbox(target.geometry.shape, side=FRAME_SIDE, multiple=FRAME_SIDE)
        seen = np.broadcast_to(zoom.seen(known.plane, frame), (3, FRAME_SIDE, FRAME_SIDE)).astype(np.uint8)
        inside, valid = (
            frame.image_to_frame(zoom.crop(each[None].astype(np.float32)), fill=0.0)[0] > 0.5
            for each in (target.mask, np.ones_like(target.mask))
        )
        shown.append((seen, inside, valid, prompts.maps(zoom.prompts(asked), None, frame)))
    return shown


def learnt(scores: dict[str, float]) -> str:
    """Return a row of the table: Dice from a box, the ellipse's, and the worst families."""
    families = {name.removeprefix("box "): dice for name, dice in scores.items() if name.startswith("box ")}
    return f"{scores['box']:.3f} | {scores['ellipse']:.3f} | {lowest(families, WORST)} |"


def main() -> None:
    """Read the command line, learn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--cache", type=cache_file, required=True, help="decoded views, as train.py writes them")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoint, log and curve go")
    parser.add_argument("--steps", type=count, default=800)
    parser.add_argument("--most", type=count, default=2, help="pictures of each family")
    parser.add_argument("--depthwise", action="store_true", help="let the backbone's depthwise filters learn, too")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    trained, _ = split(load_views(options.data, options.cache))
    views = some_of_each(trained, options.most)
    network = WithoutDropout()
    network.load_state_dict(load_network(FOLDER / "weights" / NETWORK_FILE).state_dict())
    if not options.depthwise:
        freeze_depthwise(network.encoder.backbone)
    print("| steps | Dice from a box | the ellipse's | the worst |\n| --- | --- | --- | --- |", flush=True)
    print(f"| 0 | {learnt(check(network, views))}", flush=True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    task = Fixed(Plan(steps=options.steps, correction_share=0.0), model_of(network), views)
    settings = Settings(
        steps=options.steps, workers=0, precision=options.precision, gradient_norm=2.0, average_decay=0.9
    )
    config = {"views": len(views), "depthwise": options.depthwise}
    result = fit(network, task, settings, options.out, groups=groups(network, rate=0.5), config=config)
    network.load_state_dict(result.average)
    print(f"| {options.steps} | {learnt(check(network, views))}")


if __name__ == "__main__":
    run_script(main)
