"""The whole recipe in miniature, in a few minutes: `python -m training.tiny.miniature --out runs/miniature`.

Trains on synthetic pictures alone, so that it needs no data; exports; and looks at scenes that training never drew. It
fails unless the loss fell, on what it trained on and on those. Continuous integration runs it, so that the recipe for
the weights is known to work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from samaritan.adapt import Result, Settings, fit
from samaritan.adapt.journal import read
from samaritan.adapt.prompted.tiny import Plan
from samaritan.models.tiny.network import TinyNetwork
from training.arguments import count, run_script
from training.tiny.export import export
from training.tiny.task import TinyTask
from training.tiny.train import groups, make_network

SIDE = 96  # of the crops, in pixels
UNSEEN = 6  # batches to look at before and after
UNSEEN_SEED = 1
LEAST_FALL = 0.05  # of the loss


def make_task(steps: int, *, seed: int = 0) -> TinyTask:
    """Return the task on synthetic pictures alone."""
    return TinyTask(Plan(steps=steps, seed=seed, images=8, sides=(SIDE,), correction_share=0.25), None, Path())


def run(out: Path, *, steps: int) -> tuple[Result, TinyNetwork]:
    """Train for `steps` steps in `out`, or go on there."""
    network = make_network(None, seed=0)
    settings = Settings(steps=steps, gradient_norm=2.0, average_decay=0.95, save_every_s=20.0)
    result = fit(network, make_task(steps), settings, out, groups=groups(network))
    network.load_state_dict(result.average)
    return result, network


@torch.no_grad()
def unseen_loss(network: TinyNetwork) -> float:
    """Return the loss of first answers on batches that training does not draw."""
    task = make_task(UNSEEN, seed=UNSEEN_SEED)
    network.eval()
    return float(np.mean([float(task.losses(network, task.batch(step))["mask"]) for step in range(UNSEEN)]))


def verdict(losses: list[float], before: float, after: float) -> list[str]:
    """Say what did not improve: `losses` of the steps, or the loss on unseen scenes; nothing if both did."""
    tenth = max(1, len(losses) // 10)
    first, last = float(np.mean(losses[:tenth])), float(np.mean(losses[-tenth:]))
    pairs = {"training": (first, last), "unseen scenes": (before, after)}
    for what, (old, new) in pairs.items():
        print(f"loss on {what}: {old:.3f} -> {new:.3f}")
    return [f"the loss on {what} did not fall" for what, (old, new) in pairs.items() if new > (1 - LEAST_FALL) * old]


def main() -> None:
    """Read the command line, train, export and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where checkpoint, log, curve and graphs go")
    parser.add_argument("--steps", type=count, default=120)
    options = parser.parse_args()
    before = unseen_loss(make_network(None, seed=0))
    result, network = run(options.out, steps=options.steps)
    for warning in result.warnings:
        print(f"warning: {warning}")
    manifest = export(network, options.out / "weights")
    print(f"exported; graphs and PyTorch differ by {manifest['largest_difference']:.1e} at most")
    losses = [float(entry["terms"]["mask"]) for entry in read(options.out / "log.jsonl")]
    failures = verdict(losses, before, unseen_loss(network))
    if failures:
        raise SystemExit("; ".join(failures))


if __name__ == "__main__":
    run_script(main)
