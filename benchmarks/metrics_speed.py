"""How long metrics of a large pair of masks take, beside MONAI: `python -m benchmarks.metrics_speed`.

`[--page docs/benchmarks.md]`. Two overlapping ellipsoids, 1% of 512 x 512 x 200 voxels; Dice, HD95 and NSD together.
MONAI is no dependency: `pip install monai` first. Each side is asked several times in turn, the quickest counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.page import page_with, replace_part
from samaritan.core.process import peak_rss
from samaritan.metrics import dice, surface_distances

Bools = NDArray[np.bool_]

SHAPE, SPACING, TOLERANCE = (512, 512, 200), (0.8, 0.8, 2.5), 2.0
ROUNDS = 5


def ellipsoid(centre: tuple[int, ...], radii: tuple[int, ...]) -> Bools:
    """Return the voxels within an ellipsoid."""
    apart = [np.arange(-radius, radius + 1) / radius for radius in radii]
    mask = np.zeros(SHAPE, np.bool_)
    here = tuple(slice(at - radius, at + radius + 1) for at, radius in zip(centre, radii, strict=True))
    mask[here] = sum(part**2 for part in np.ix_(*apart)) <= 1
    return mask


def pair() -> tuple[Bools, Bools]:
    """Return a reference and a prediction that is some voxels off."""
    return ellipsoid((250, 250, 100), (55, 50, 45)), ellipsoid((253, 248, 101), (54, 52, 43))


def ours(reference: Bools, prediction: Bools) -> tuple[float, float, float]:
    """Return Dice, HD95 and NSD."""
    surface = surface_distances(reference, prediction, spacing_mm=SPACING)
    return dice(reference, prediction), surface.hausdorff(percent=95), surface.nsd(tolerance_mm=TOLERANCE)


def monais(reference: Bools, prediction: Bools) -> tuple[float, float, float]:
    """Return the same by MONAI, surface Dice as it comes: by counting voxels."""
    monai = import_module("monai.metrics")  # only here: it is no dependency
    true, found = (torch.from_numpy(mask[None, None]) for mask in (reference, prediction))
    alike = {"include_background": True, "spacing": SPACING}
    return (
        float(monai.compute_dice(found, true)),
        float(monai.compute_hausdorff_distance(found, true, percentile=95, **alike)),
        float(monai.compute_surface_dice(found, true, [TOLERANCE], **alike)),
    )


SIDES: dict[str, Callable[[Bools, Bools], tuple[float, float, float]]] = {"samaritan": ours, "MONAI": monais}


def extra_mib(name: str) -> float:
    """Return how much more memory than the two masks a side takes, in a process of its own that did it small before."""
    code = f"from benchmarks.metrics_speed import measure_memory; measure_memory({name!r})"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def measure_memory(name: str) -> None:
    """Print by how many MiB this process's peak grows."""
    reference, prediction = pair()
    here = np.s_[200:300:4, 200:300:4, 60:140:4]
    SIDES[name](reference[here], prediction[here])
    before = peak_rss()
    SIDES[name](reference, prediction)
    print((peak_rss() - before) / 2**20)


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=page_with("metrics speed"), help="Markdown page whose part the table becomes")
    options = parser.parse_args()
    masks = pair()
    seconds: dict[str, list[float]] = {name: [] for name in SIDES}
    values = {}
    for _ in range(ROUNDS):
        for name, side in SIDES.items():
            start = time.perf_counter()
            values[name] = side(*masks)
            seconds[name].append(time.perf_counter() - start)
    rows = ["|  | seconds | extra MiB | Dice | HD95, mm | NSD at 2 mm |", "|" + " --- |" * 6]
    for name, (overlap, distance, share) in values.items():
        told = f"{overlap:.4f} | {distance:.2f} | {share:.3f}"
        rows.append(f"| {name} | {min(seconds[name]):.3f} | {extra_mib(name):.0f} | {told} |")
    ratio = min(seconds["MONAI"]) / min(seconds["samaritan"])
    text = "\n".join([*rows, "", f"{ratio:.0f} times as fast (goal: 25), by the quickest of {ROUNDS} rounds."])
    print(text)
    if options.page:
        replace_part(options.page, "metrics speed", text + "\n")


if __name__ == "__main__":
    main()
