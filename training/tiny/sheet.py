"""Look at what training draws: `python -m training.tiny.sheet --out runs/sheet.png [--data DATA --cache CACHE]`.

Crops as the network sees them: synthetic scenes and, with DATA, labelled objects, labels painted as something else and
pieces that stand out. On the left of each is what the network is given: the picture, and a simulated prompt, green
where it says "this", red where "not this", blue where it is an earlier mask. On the right the answer's outline lies
over it. Nothing but `--out` is written, and beside CACHE what training would write there. Most of DATA's pictures may
not be passed on: keep a sheet of them out of the repository.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from samaritan.adapt.prompted.crops import Sample
from samaritan.adapt.prompted.tiny import Plan
from samaritan.autoprompt.simulate import Target, simulate
from samaritan.core.prompts import MaskPrompt, Prompts
from samaritan.data.synthesis import Scene, contact_sheet
from samaritan.draw.overlay import PALETTE, Layer, View, save, tile
from training.arguments import cache_file, cases_folder, count, crop_side, run_script
from training.tiny.scenes import Sampler
from training.tiny.task import TinyTask

Picture = NDArray[np.uint8]


def asked(prompts: Prompts) -> str:
    """Say what a prompt is made of: "box, 2 points, point outside"."""
    kinds = Counter(
        f"{type(item).__name__.removesuffix('Prompt').lower()}{'' if getattr(item, 'positive', True) else ' outside'}"
        for item in prompts.items
    )
    return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in kinds.items())


def with_prompts(sample: Sample, prompts: Prompts) -> Picture:
    """Return a sample's picture, (size, size, 3), with the prompts drawn over it."""
    given = np.zeros(prompts.geometry.shape, bool)
    for item in prompts.of(MaskPrompt):
        given |= item.mask
    size = len(sample.mask)
    plane = sample.image.astype(np.uint8).transpose(2, 1, 0)[..., None]
    shown = tile(View(prompts.geometry, "k", 0, size), plane, [Layer("", given, prompts, PALETTE[0])])
    return np.asarray(shown)


def drawn(sampler: Sampler, rng: np.random.Generator, *, side: int, number: int) -> Iterator[Scene]:
    """Yield so many samples of `side` pixels, each with its prompt, as scenes whose name says what they are.

    Part 1 of a scene is the object; its holes, if it has any, are part 2: sheets have no other inner outlines.
    """
    for _ in range(number):
        sample = sampler.draw(side, rng)
        prompts = simulate(Target.of_picture(sample.mask.T), rng)
        holes = ndimage.binary_fill_holes(sample.mask) & ~sample.mask
        parts = (sample.mask + 2 * holes).astype(np.uint16)
        objects = ((1,), (2,)) if holes.any() else ((1,),)
        yield Scene(with_prompts(sample, prompts), parts, objects, f"{sample.source} | {asked(prompts)}")


def main() -> None:
    """Read the command line, draw, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--data", type=cases_folder, help="folder with cases.jsonl; with --cache")
    parser.add_argument("--cache", type=cache_file, help="decoded views, as train.py writes them")
    parser.add_argument("--rows", type=count, default=6)
    parser.add_argument("--columns", type=count, default=4)
    parser.add_argument("--side", type=crop_side, default=192, help="of the crops, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if (options.data is None) != (options.cache is None):
        parser.error("--data and --cache belong together: give both, or neither for synthetic scenes")
    sampler = TinyTask(Plan(steps=1), options.data, options.cache or Path()).sampler
    number = options.rows * options.columns
    scenes = list(drawn(sampler, np.random.default_rng(options.seed), side=options.side, number=number))
    save(Pillow.fromarray(contact_sheet(scenes, columns=options.columns, side=options.side)), options.out)


if __name__ == "__main__":
    run_script(main)
