"""Whether more pictures of a kind would help: `python -m training.tiny.learning_curve --data DATA --out runs/curve`.

Each run learns from one in so many cases of each family, from ImageNet's encoder; then all cases of these families are
asked for, those that it learnt and those that it did not. What the first have more than the others is what was learnt
of pictures and not of what they show; what the others have more in runs with more cases is what yet more cases may
bring. The runs of one share learn from different cases, so that a case that one has learnt is a stranger to another.
Families with fewer cases than `LEAST_CASES` do not take part; the held-out ones neither. A run that was killed goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samaritan.adapt import Settings, fit
from samaritan.adapt.prompted.tiny import Plan
from samaritan.adapt.prompted.view import View
from samaritan.models.tiny.network import TinyNetwork
from training.arguments import cache_file, cases_folder, count, run_script
from training.tiny.cases import VALIDATION_FAMILIES, by_family, load_views, split
from training.tiny.quick_check import check, some_of_each
from training.tiny.task import TinyTask
from training.tiny.train import average_decay, groups, make_network

LEAST_CASES = 4  # of a family
RUNS = 2  # of each share
ASKED = 16  # pictures of each family


def cases_of(views: Sequence[View]) -> dict[str, list[str]]:
    """Return the cases of each family that has pictures of at least `LEAST_CASES` of them."""
    found = {family: sorted({view.case for view in part}) for family, part in by_family(views).items()}
    return {family: cases for family, cases in found.items() if len(cases) >= LEAST_CASES}


def learnt_by(run: int, one_in: int, families: dict[str, list[str]]) -> frozenset[str]:
    """Return the cases that a run learns from: one in so many of each family."""
    return frozenset(case for cases in families.values() for case in cases[run::one_in])


def main() -> None:
    """Learn from each share of the cases, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--cache", type=cache_file, help="decoded views (default: beside --out)")
    parser.add_argument("--steps", type=count, default=1500)
    parser.add_argument("--one-in", type=count, action="append", help="a share of the cases (default: 2, and 4)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    options = parser.parse_args()
    cache = options.cache or options.out.parent / "tiny_cache.npz"
    views, _ = split(load_views(options.data, cache))
    families = cases_of(views)
    asked = some_of_each([view for view in views if view.family in families], ASKED)
    print(
        "| learnt from one case in | run | cases | learnt: box | ellipse | click | not learnt: box | ellipse | click |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for one_in in options.one_in or (2, 4):
        for run in range(RUNS):
            learnt = learnt_by(run, one_in, families)
            left_out = {view.case for view in views if view.image is not None} - learnt
            plan = Plan(steps=options.steps, seed=run, sides=(128,))
            task = TinyTask(plan, options.data, cache, held_out=VALIDATION_FAMILIES | left_out)
            task.prepare()
            settings = Settings(
                steps=options.steps, seed=run, precision=options.precision, gradient_norm=2.0,
                average_decay=average_decay(options.steps), workers=1,
            )  # fmt: skip
            network = make_network(None, seed=run)
            folder = options.out / f"one_in_{one_in}_run_{run}"
            config = {"cases": sorted(learnt), "steps": options.steps}
            result = fit(network, task, settings, folder, groups=groups(network), config=config)
            trained = TinyNetwork()
            trained.load_state_dict(result.average)
            parts = (
                [view for view in asked if view.case in learnt],
                [view for view in asked if view.case not in learnt],
            )
            scores = [check(trained, part) for part in parts]
            figures = [f"{each[name]:.3f}" for each in scores for name in ("box", "ellipse", "click")]
            print(f"| {one_in} | {run + 1} | {len(learnt)} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    run_script(main)
