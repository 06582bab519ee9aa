"""What a few labelled volumes bring without prompts: `python -m benchmarks.semantic --data DATA --out RUNS`.

`[--minutes 20] [--volumes 20]... [--page docs/benchmarks.md]`. `samaritan adapt --task semantic` with its defaults on
some volumes of a set, msd_hippocampus if nothing else is said, and the 3D Dice of what is found on unseen patients.
Runs in RUNS are gone on with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.arguments import cases_folder

from benchmarks.page import page_with, replace_part

PART = "semantic"
UNSEEN = 20
GOALS = {20: 0.80, 5: 0.72}


@dataclass(frozen=True)
class Found:
    """A number of labelled volumes, and what `samaritan adapt` told."""

    volumes: int
    told: dict[str, Any]


def adapted(data: Path, out: Path, name: str, volumes: int, minutes: float) -> Found:
    """Adapt to so many volumes of a set, or go on with it."""
    line = [
        sys.executable, "-m", "samaritan.cli", "adapt", str(data), "--where", f"dataset={name}", "--task", "semantic",
        "--limit", str(volumes + UNSEEN), "--held-out", f"{UNSEEN / (volumes + UNSEEN):.6f}", "--images", "16",
        "--minutes", str(minutes), "-o", str(out / f"{name}-{volumes}"), "--json",
    ]  # fmt: skip
    done = subprocess.run(line, check=True, capture_output=True)
    return Found(volumes, json.loads(done.stdout))


def table(found: Sequence[Found]) -> str:
    """Return what was found, as Markdown."""
    labels = [one["label"] or "all" for one in found[0].told["scores"]]
    heads = ("volumes", "unseen", "steps", "minutes of training", *(f"Dice, {label}" for label in labels), "goal")
    lines = [f"| {' | '.join(heads)} |", f"|{' ---: |' * (len(heads) - 1)} --- |"]
    return "\n".join([*lines, *map(_line, found)])


def _line(one: Found) -> str:
    told = one.told
    goal = GOALS.get(one.volumes)
    met = "" if goal is None else f"{goal:.2f}: {'met' if told['scores'][0]['after'] >= goal else 'not met'}"
    scores = [f"{score['after']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" for score in told["scores"]]
    cells = [str(one.volumes), str(told["held_out"]), str(told["steps"]), f"{told['seconds'] / 60:.1f}", *scores, met]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--set", default="msd_hippocampus", help="which set")
    parser.add_argument("--volumes", type=int, action="append", help="labelled ones; may be repeated; else 20 and 5")
    parser.add_argument("--minutes", type=float, default=20.0, help="of training")
    parser.add_argument("--page", type=page_with(PART), help="page to update")
    options = parser.parse_args()
    found = []
    for volumes in options.volumes or tuple(GOALS):
        found.append(adapted(options.data, options.out, options.set, volumes, options.minutes))
        print(_line(found[-1]), flush=True)
    if options.page:
        replace_part(options.page, PART, table(found))


if __name__ == "__main__":
    main()
