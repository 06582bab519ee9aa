"""The whole recipe in miniature, in a few minutes: `python -m training.tiny.miniature --out runs/miniature`.

Trains on synthetic pictures alone, so that it needs no data; exports; and asks for scenes that training never drew. It
fails unless the loss fell and the trained network finds more than the untrained one. Continuous integration runs it:
the weights that ship are made by the same code.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from training.tiny.cases import View
from training.tiny.export import export
from training.tiny.quick_check import check
from training.tiny.task import Plan, TinyTask
from training.tiny.train import groups, make_network

from samaritan.adapt import Result, Settings, fit
from samaritan.adapt.journal import read
from samaritan.data.synthesis import draw_scene
from samaritan.models.tiny.network import TinyNetwork

SIDE = 96  # of the crops, in pixels
UNSEEN = 8  # scenes to look at before and after
UNSEEN_SEED = 10_000_000  # far from the seeds of training


def run(out: Path, *, steps: int) -> tuple[Result, TinyNetwork]:
    """Train for `steps` steps in `out`, or go on there."""
    plan = Plan(steps=steps, images=8, sides=(SIDE,))
    network = make_network(None)
    settings = Settings(steps=steps, gradient_norm=2.0, average_decay=0.95, save_every_s=20.0)
    result = fit(network, TinyTask(plan, None, out / "no cache"), settings, out, groups=groups(network))
    network.load_state_dict(result.average)
    return result, network


def unseen() -> list[View]:
    """Return scenes that training does not draw."""
    scenes = [draw_scene(160, np.random.default_rng(UNSEEN_SEED + number)) for number in range(UNSEEN)]
    return [View("synthetic", scene.image, scene.parts, scene.objects) for scene in scenes]


def verdict(losses: list[float], before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Say what did not improve; nothing if all did."""
    tenth = max(1, len(losses) // 10)
    first, last = float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))
    print(f"loss {first:.3f} -> {last:.3f}; Dice from a click {before['click']:.3f} -> {after['click']:.3f}, "
          f"from a box {before['box']:.3f} -> {after['box']:.3f}")  # fmt: skip
    failures = [] if last < 0.95 * first else [f"the loss did not fall: {first:.3f} to {last:.3f}"]
    if after["click"] <= before["click"]:
        failures.append(f"clicks find no more than before: {before['click']:.3f} to {after['click']:.3f}")
    return failures


def main() -> None:
    """Read the command line, train, export and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where checkpoint, log, curve and graphs go")
    parser.add_argument("--steps", type=int, default=160)
    options = parser.parse_args()
    views = unseen()
    before = check(make_network(None), views)
    result, network = run(options.out, steps=options.steps)
    for warning in result.warnings:
        print(f"warning: {warning}")
    manifest = export(network, options.out / "weights")
    print(f"exported; graphs and PyTorch differ by {manifest['largest_difference']:.1e} at most")
    losses = [float(entry["terms"]["mask"]) for entry in read(options.out / "log.jsonl")]
    failures = verdict(losses, before, check(network, views))
    if failures:
        raise SystemExit("; ".join(failures))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
