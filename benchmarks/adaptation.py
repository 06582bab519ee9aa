"""What ten labelled pictures bring the default model: `python -m benchmarks.adaptation --data DATA --out RUNS`.

`[--minutes 3] [--set NAME]... [--page docs/benchmarks.md]`. Of each evaluation set, or those named: `samaritan adapt`
with its defaults on ten cases, or half of them where there are fewer than twenty, and the Dice from
tight boxes and single points on the others, before and after. Runs lie in RUNS and are gone on with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.arguments import cases_folder

from benchmarks.page import page_with, replace_part
from samaritan.data import open_data
from samaritan.data.filters import select

PART = "adaptation"
LABELLED = 10  # pictures
MOST = 40  # cases of a set that are looked at, or the rest of a large one takes longer than the training
LEAST_GAIN, MOST_LOSS, WANTS_IT = 0.03, 0.005, 0.85


@dataclass(frozen=True)
class Adapted:
    """A set, cases to train on and unseen ones, and for each protocol what `samaritan adapt` told; seconds of all."""

    name: str
    labelled: int
    unseen: int
    scores: dict[str, dict[str, Any]]
    seconds: float


def adapted(data: Path, out: Path, name: str, cases: int, minutes: float) -> Adapted:
    """Adapt to a set, or go on with it."""
    labelled = min(LABELLED, cases // 2)
    started = time.perf_counter()
    done = subprocess.run(
        [
            sys.executable, "-m", "samaritan.cli", "adapt", str(data), "--where", "use=evaluate",
            "--where", f"dataset={name}", "--limit", str(cases), "--held-out", f"{1 - labelled / cases:.4f}",
            "--minutes", str(minutes), "-o", str(out / name), "--json",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    scores = {one["protocol"]: one for one in told["scores"]}
    return Adapted(name, told["cases"]["cases"], told["held_out"], scores, time.perf_counter() - started)


def table(found: Sequence[Adapted]) -> str:
    """Return what was found, as Markdown."""
    box, point = ("box: before", "after", "gain"), ("point: before", "after", "gain")
    heads = ("set", "labelled", "unseen", *box, *point, "minutes", "goal met")
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 2)} --- |"]
    return "\n".join([*lines, *map(_line, found)])


def _line(one: Adapted) -> str:
    box = one.scores["box"]
    wanted = LEAST_GAIN if box["before"] < WANTS_IT else -MOST_LOSS
    met = "yes" if box["difference"] >= wanted else f"no: {wanted:+.3f}"
    cells = [one.name, str(one.labelled), str(one.unseen)]
    for name in ("box", "m1"):
        told = one.scores[name]
        gain = f"{told['difference']:+.3f} [{told['low']:+.3f}, {told['high']:+.3f}]"
        cells += [f"{told['before']:.3f}", f"{told['after']:.3f}", gain]
    return f"| {' | '.join([*cells, f'{one.seconds / 60:.1f}', met])} |"


def _sets(data: Path, wanted: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the sets and how many of their cases are used: those with four and more."""
    cases = select(open_data(data), modalities=(), splits=(), where={"use": "evaluate"}, limit=None).cases
    for name in wanted or dict.fromkeys(case.dataset for case in cases):
        count = min(MOST, sum(case.dataset == name for case in cases))
        if count >= 4:
            yield name, count


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training; with the comparison it is more")
    parser.add_argument("--set", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--page", type=page_with(PART), help="page to update")
    options = parser.parse_args()
    found = []
    for name, cases in _sets(options.data, options.set):
        found.append(adapted(options.data, options.out, name, cases, options.minutes))
        print(_line(found[-1]), flush=True)
    if options.page:
        replace_part(options.page, PART, table(found))


if __name__ == "__main__":
    main()
