"""Make the weights of the default model, to what ships: `python -m training.tiny.remake --data DATA --out runs`.

Three runs, each calibrated, the last averaged with what it began from; then the export. Each stage is a program of its
own, run as its command line would be. Killed at any time, the same command goes on: a run from its last checkpoint,
and what is already calibrated is not calibrated again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.arguments import cases_folder, run_script

CACHE = "tiny_cache.npz"
EXPORTED = "weights"


@dataclass(frozen=True)
class Stage:
    """A program with its arguments, and the file that says it is done; without one, it finds out for itself."""

    program: str
    arguments: tuple[str, ...]
    product: Path | None = None

    @property
    def command(self) -> list[str]:
        """What to run."""
        return [sys.executable, "-m", f"training.tiny.{self.program}", *self.arguments]


def stages(data: Path, out: Path, *, extra: Sequence[str] = ()) -> list[Stage]:
    """Return what to run, in order; `extra` arguments go to each training run."""
    of_data = ("--data", str(data), "--cache", str(out / CACHE))
    first, second, last = (out / name for name in ("first", "second", "last"))
    shorter, shortest = ("--steps", "4000", "--rate", "0.5"), ("--steps", "1300", "--rate", "0.5", "--seed", "6")

    def train(run: Path, *arguments: str) -> Stage:
        return Stage("train", (*of_data, "--out", str(run), *arguments, *extra))

    def calibrate(run: Path, *arguments: str) -> Stage:
        product = _calibrated(run)
        weights = ("--weights", str(run / "checkpoint.pt"), "--out", str(product))
        return Stage("calibrate", (*of_data, *weights, *arguments), product)

    return [
        train(first),
        calibrate(first),
        train(second, "--init", str(_calibrated(first)), *shorter, "--last-rate", "0.2"),
        calibrate(second),
        train(last, "--init", str(_calibrated(second)), *shortest, "--last-rate", "0.1"),
        calibrate(last, "--mean-with", str(_calibrated(second))),
        Stage("export", ("--weights", str(_calibrated(last)), "--out", str(out / EXPORTED))),
    ]  # fmt: skip


def remake(plan: Sequence[Stage], run: Callable[[list[str]], int]) -> None:
    """Run the stages that are not done; end with the first that fails, as it ended."""
    for number, stage in enumerate(plan, start=1):
        heading = f"[{number}/{len(plan)}] {stage.program}"
        if stage.product is not None and stage.product.exists():
            print(f"{heading}: done before, {stage.product}")
            continue
        print(f"{heading}: {shlex.join(stage.command[1:])}", flush=True)
        status = run(stage.command)
        if status:
            sys.exit(status)


def _calibrated(run: Path) -> Path:
    return run / "calibrated.safetensors"


def main() -> None:
    """Read the command line and run the stages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="What follows --, such as -- --precision float32 --workers 8, goes to each training run.",
    )  # fmt: skip
    parser.add_argument("--data", type=cases_folder, required=True, help="folder with cases.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="where the runs go, and weights/ in the end")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    parser.add_argument("extra", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    plan = stages(options.data, options.out, extra=options.extra)
    if options.dry_run:
        print("\n".join(shlex.join(["python", *stage.command[1:]]) for stage in plan))
        return
    remake(plan, subprocess.call)


if __name__ == "__main__":
    run_script(main)
