"""How long the program takes and how much memory it needs, beside what was promised.

`python -m benchmarks.speed [--json OUT] [--page OUT.md] [--skip-volume]`

Every figure is taken from a process of its own, started cold, on synthetic inputs; times are wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.page import page_with, replace_part

REPEATS = 5
# The objects of benchmarks.phantom_files; 60 slices of the volume.
PICTURE_BOX = "41,93:267,318"
VOLUME_BOX = "72,72,18:297,297,78"
CLICKS = {
    "a lone click": "lone_click_s",
    "each click after a box": "click_s",
    "each click without a box, from the third on": "third_click_s",
}  # and what benchmarks.model_speed calls them


@dataclass(frozen=True)
class Figure:
    """One measurement and the most that it may be."""

    what: str
    value: float
    goal: float | None
    unit: str

    @property
    def row(self) -> str:
        """The Markdown row."""
        digits = 0 if self.unit == "MiB" else 3 if self.value < 1 else 1
        goal = "" if self.goal is None else f"≤ {self.goal:g} {self.unit}"
        kept = "" if self.goal is None else "yes" if self.value <= self.goal else "**no**"
        return f"| {self.what} | {self.value:.{digits}f} {self.unit} | {goal} | {kept} |"


@dataclass(frozen=True)
class Run:
    """What one process took."""

    seconds: float
    peak_mib: float


def run(command: Sequence[str], *, cache: Path) -> Run:
    """Run a command with an empty cache in `cache`, and return what it took; it must succeed."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "SAMARITAN_CACHE": str(cache)}
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(time.perf_counter() - started, usage.ru_maxrss * unit / 2**20)


def startup(cache: Path) -> Iterable[Figure]:
    """Time the import and the help page: the best of some runs, the rest is what else the machine does."""

    def best(*command: str) -> float:
        return min(run([sys.executable, *command], cache=cache).seconds for _ in range(REPEATS))

    bare = best("-c", "pass")
    yield Figure("`import samaritan`", best("-c", "import samaritan") - bare, 0.3, "s")
    yield Figure("`samaritan --help`", best("-m", "samaritan.cli", "--help"), 0.6, "s")


def model_figures() -> Iterable[Figure]:
    """Time the default model on a 512 x 512 picture."""
    command = [sys.executable, "-m", "benchmarks.model_speed", "--grabcut"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    yield Figure("embed 512 × 512", found["embed_s"], 0.25, "s")
    for what, name in CLICKS.items():
        yield Figure(what, found[name], 0.04, "s")
    yield Figure("peak memory of that process", found["peak_mib"], 600, "MiB")
    yield Figure("(GrabCut, OpenCV, same picture and box)", found["grabcut_s"], None, "s")


def program_figures(folder: Path, cache: Path, *, volume: bool) -> Iterable[Figure]:
    """Time the program from the file read to the mask written."""
    subprocess.run([sys.executable, "-m", "benchmarks.phantom_files", str(folder)], check=True)
    program = [sys.executable, "-m", "samaritan.cli", "segment"]
    picture = [*program, str(folder / "picture.png"), "--box", PICTURE_BOX, "-o", str(folder / "mask.png")]
    yield Figure("picture, from cold to written mask", run(picture, cache=cache / "picture").seconds, 2, "s")
    if volume:
        command = [*program, str(folder / "ct.nii.gz"), "--box", VOLUME_BOX, "-o", str(folder / "mask.nii.gz")]
        took = run(command, cache=cache / "volume")
        yield Figure("CT 512 × 512 × 134, box over 60 slices", took.seconds, 60, "s")
        yield Figure("its peak memory", took.peak_mib, 1.5 * 1024, "MiB")


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--page", type=page_with("speed"), help="Markdown page whose part 'speed' the table becomes")
    parser.add_argument("--skip-volume", action="store_true", help="leave the volume out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="samaritan-speed-") as temporary:
        folder = Path(temporary)
        figures = [*startup(folder), *model_figures(), *program_figures(folder, folder, volume=not options.skip_volume)]
    title = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, no GPU"
    rows = [f"| {title} | measured | goal | kept |", "| --- | --- | --- | --- |", *(figure.row for figure in figures)]
    text = "\n".join(rows) + "\n"
    print(text)
    if options.page:
        replace_part(options.page, "speed", text)
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
