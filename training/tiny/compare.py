"""Compare designs of the network on equal terms: `python -m training.tiny.compare --data DATA --out runs/compare`.

Each design learns the same batches for the same number of steps, from ImageNet's encoder; then families that it did not
see are asked for: many more than are held out from the weights that ship, because three do not tell designs apart. A
run that was killed goes on. What comes out is how fast designs learn and what they cost; differences of a hundredth or
two of Dice between runs this short are noise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime
from training.arguments import cases_folder, crop_side
from training.tiny.cases import VALIDATION_FAMILIES, View, load_views, split
from training.tiny.export import export
from training.tiny.quick_check import check
from training.tiny.task import Plan, TinyTask
from training.tiny.train import groups, make_network

from samaritan.adapt import Settings, fit
from samaritan.adapt.journal import read
from samaritan.models.tiny.adapter import GRAPH_FILE
from samaritan.models.tiny.network import Design, TinyNetwork
from samaritan.models.tiny.prompt_maps import CHANNELS
from samaritan.models.tiny.zoom import FRAME_SIDE

DESIGNS = {
    "default": Design(),
    "prompts late": Design(early=False),
    "without appearance": Design(appearance=False),
    "without likeness": Design(likeness=False),
    "without attention": Design(attention=0),
    "deeper": Design(attention=4, blocks8=4),
}
HELD_OUT = VALIDATION_FAMILIES | {
    "busi", "edd2020", "fetal_head", "glomeruli", "hvsmr", "lungseg2d_demo", "mbh", "oct_biomarker", "spider",
}  # fmt: skip
VIEWS_A_FAMILY = 8
ROUNDS = 30


def asked(views: list[View]) -> list[View]:
    """Return up to ``VIEWS_A_FAMILY`` views of each family, evenly spread."""
    families: dict[str, list[View]] = {}
    for view in views:
        families.setdefault(view.family, []).append(view)
    return [view for part in families.values() for view in part[:: -(-len(part) // VIEWS_A_FAMILY)]]


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
    """Train every design, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--cache", type=Path, help="decoded views (default: beside --out)")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--side", type=crop_side, default=128, help="of the crops, in pixels")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    cache = options.cache or options.out.parent / "tiny_cache.npz"
    held = asked(split(load_views(options.data, cache), HELD_OUT)[1])
    plan = Plan(steps=options.steps, sides=(options.side,))
    print("| design | parameters | s a step | loss, last tenth | box | click | ms a window |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, design in DESIGNS.items():
        network, folder = make_network(None, design), options.out / name.replace(" ", "_")
        result = fit(
            network, TinyTask(plan, options.data, cache, held_out=HELD_OUT),
            Settings(steps=options.steps, precision=options.precision, gradient_norm=2.0, average_decay=0.98,
                warm_up=0.1, workers=1),
            folder, groups=groups(network),
            config=asdict(design) | {"plan": asdict(plan), "held_out": sorted(HELD_OUT)},
        )  # fmt: skip
        entries = read(folder / "log.jsonl")
        trained = TinyNetwork(design)
        trained.load_state_dict(result.average)
        scores = check(trained, held)
        last = statistics.mean(entry["terms"]["mask"] for entry in entries[-len(entries) // 10 :])
        with tempfile.TemporaryDirectory() as graphs:
            cost = window_ms(trained, Path(graphs))
        millions = sum(weight.numel() for weight in trained.parameters()) / 1e6
        pace = statistics.median(entry["step_s"] for entry in entries)
        print(
            f"| {name} | {millions:.2f} M | {pace:.2f} | {last:.3f} | {scores['box']:.3f} | {scores['click']:.3f} "
            f"| {cost:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
