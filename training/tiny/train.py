"""Train the `tiny` model: `python -m training.tiny.train --data DATA --out runs/tiny`.

The loop is `samaritan.adapt.fit`: killed at any time, the same command goes on. A run is a function of its steps, seed
and data; `--init` starts from the averaged weights of an earlier run, or from the weights that ship.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from samaritan.adapt import Group, Settings, fit
from samaritan.adapt.prompted.tiny import Plan
from samaritan.adapt.prompted.view import View
from samaritan.models.tiny.network import DESIGN, Design, TinyNetwork
from training.arguments import cache_file, cases_folder, count, crop_side, rate, run_script, weights_file, workers
from training.tiny.cases import load_views, split
from training.tiny.checkpoint import read_network
from training.tiny.depthwise import freeze_depthwise
from training.tiny.imagenet import load_imagenet
from training.tiny.quick_check import check
from training.tiny.task import TinyTask

WATCHED = 3  # one in so many of the held-out views is looked at in between
AVERAGED = 0.2  # of the run: how far the moving average of the weights, which ships, reaches back
ENCODER_RATE, CONTEXT_RATE, DECODER_RATE = 4e-4, 1e-3, 2e-3  # attention layers are easily upset


def make_network(init: Path | None, design: Design = DESIGN, *, seed: int) -> TinyNetwork:
    """Return the network to train: with the weights of `init` (safetensors or a run's), or with ImageNet's encoder.

    `seed` seeds torch, which draws the weights that ImageNet did not teach.
    """
    torch.manual_seed(seed)
    network = TinyNetwork(design) if init is None else read_network(init)
    if init is None:
        load_imagenet(network.encoder.backbone)
    freeze_depthwise(network.encoder.backbone)
    return network.to(memory_format=torch.channels_last)


def groups(network: TinyNetwork, *, rate: float = 1.0) -> Sequence[Group]:
    """Return what learns slowly, because ImageNet taught it, and what is new; at `rate` times the usual rates."""
    known, context = list(network.encoder.backbone.parameters()), list(network.decoder.context.parameters())
    other = {id(parameter) for parameter in (*known, *context)}
    new = [parameter for parameter in network.parameters() if id(parameter) not in other]
    parts = ((known, ENCODER_RATE), (context, CONTEXT_RATE), (new, DECODER_RATE))
    return [Group(parameters, rate * peak) for parameters, peak in parts]


def average_decay(steps: int) -> float:
    """Return the decay of a moving average that reaches `AVERAGED` of a run back; 0 if that is less than a step."""
    return max(0.0, 1 - 1 / (AVERAGED * steps))


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="where checkpoint, log and curve go")
    parser.add_argument("--cache", type=cache_file, help="decoded views (default: beside --out)")
    parser.add_argument("--steps", type=count, default=5_000)
    parser.add_argument("--init", type=weights_file, help="weights to start from, in place of ImageNet's")
    parser.add_argument("--rate", type=rate, default=1.0, help="times the usual learning rates; less to refine")
    parser.add_argument("--last-rate", type=rate, default=0.01, help="rate of the last step, over the highest")
    parser.add_argument("--side", type=crop_side, help="of all crops, in pixels; by default they grow on the way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=workers, default=1, help="processes that make batches")
    parser.add_argument("--validate-every", type=count, default=1000, help="steps")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    cache = options.cache or options.out.parent / "tiny_cache.npz"
    plan = Plan(steps=options.steps, seed=options.seed)
    if options.side:
        plan = replace(plan, sides=(options.side,))
    held = split(load_views(options.data, cache))[1][::WATCHED]
    network = make_network(options.init, seed=options.seed)
    settings = Settings(
        steps=options.steps, seed=options.seed, workers=options.workers, precision=options.precision,
        gradient_norm=2.0, validate_every=options.validate_every, last_rate=options.last_rate,
        average_decay=average_decay(options.steps),
    )  # fmt: skip
    config = {"plan": asdict(plan), "init": str(options.init), "rate": options.rate}
    task = TinyTask(plan, options.data, cache)
    task.prepare()
    columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("training", total=options.steps, loss=float("nan"))
        result = fit(
            network, task, settings, options.out, groups=groups(network, rate=options.rate),
            validate=lambda module: _scores(module, held), config=config,
            on_step=lambda entry: progress.update(bar, completed=entry["step"], loss=entry["loss"]),
        )  # fmt: skip
    for warning in result.warnings:
        print(f"warning: {warning}")
    print(result.scores)


def _scores(module: nn.Module, held: list[View]) -> dict[str, float]:
    assert isinstance(module, TinyNetwork)
    return check(module, held)


if __name__ == "__main__":
    run_script(main)
