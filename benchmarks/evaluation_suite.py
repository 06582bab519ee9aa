"""How long an evaluation takes, and how much of it is the model's own time: `python -m benchmarks.evaluation_suite`.

`--data DATA [--workers 2] [--page docs/benchmarks.md]`. Evaluates the default model by its three default protocols on
the cases marked `evaluate`; then the same line again, which finds everything done. Before, what a dry run expects.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from training.arguments import cases_folder, count

from benchmarks.page import page_with, replace_part

PART = "evaluation suite"
MOST_MINUTES, MOST_OVERHEAD, MOST_AGAIN_S = 10, 0.15, 5


@dataclass(frozen=True)
class Took:
    """Seconds that a dry run expected, that the run took, and that it took again; and the model's own in all."""

    expected: float
    whole: float
    again: float
    model: float
    workers: int
    objects: int
    cases: int

    @property
    def overhead(self) -> float:
        """Time of the workers that was not the model's, over the model's."""
        return self.workers * self.whole / self.model - 1


def table(took: Took) -> str:
    """Return what was measured, as Markdown."""
    rows = [
        ("the run", f"{took.whole / 60:.1f} min", f"at most {MOST_MINUTES} min", took.whole <= MOST_MINUTES * 60),
        ("beside the model's own time", f"{took.overhead:.0%}", f"at most {MOST_OVERHEAD:.0%}",
         took.overhead <= MOST_OVERHEAD),
        ("the same line again", f"{took.again:.1f} s", f"at most {MOST_AGAIN_S} s", took.again <= MOST_AGAIN_S),
    ]  # fmt: skip
    lines = ["|  | measured | goal | met |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {found} | {goal} | {'yes' if met else 'no'} |" for name, found, goal, met in rows]
    about = f"{took.objects} objects in {took.cases} cases, {took.workers} workers"
    return "\n".join([*lines, "", f"{about}; a dry run expected {took.expected / 60:.1f} min."])


def measure(data: Path, workers: int, out: Path) -> Took:
    """Run what is measured, into an empty folder."""
    command = [
        sys.executable, "-m", "samaritan.cli", "evaluate", str(data), "--where", "use=evaluate",
        "--workers", str(workers), "-o", str(out), "--json",
    ]  # fmt: skip
    expected = json.loads(subprocess.run([*command, "--dry-run"], check=True, capture_output=True).stdout)["seconds"]
    seconds, found = [], {}
    for _ in range(2):
        started = time.perf_counter()
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        seconds.append(time.perf_counter() - started)
    model = sum(pq.read_table(out / "seconds.parquet")["seconds"].to_pylist())
    return Took(expected, seconds[0], seconds[1], model, workers, found["objects"], found["cases"])


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--workers", type=count, default=2)
    parser.add_argument("--page", type=page_with(PART), help="page to update")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = table(measure(options.data, options.workers, Path(folder) / "run"))
    print(text)
    if options.page:
        replace_part(options.page, PART, text)


if __name__ == "__main__":
    main()
