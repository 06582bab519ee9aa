"""What a run tells while it goes: a line a step in ``log.jsonl``, and curves drawn from it in ``curve.png``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samaritan.io.atomic import atomic_path

Entry = dict[str, Any]

_SMOOTHED_STEPS = 50


class Journal:
    """Appends entries to ``log.jsonl`` of a folder, as a run goes on after ``step`` steps.

    Lines of later steps, which a killed run wrote after its last checkpoint, are dropped.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self.path = folder / "log.jsonl"
        self.entries = [entry for entry in read(self.path) if entry["step"] <= step]
        with atomic_path(self.path) as staged:
            staged.write_text("".join(map(_line, self.entries)), encoding="utf-8")

    def add(self, entry: Entry) -> None:
        """Append one line."""
        self.entries.append(entry)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(entry))

    def draw(self) -> None:
        """Draw ``curve.png``: loss and its terms, learning rate, and every validation score."""
        if not self.entries:
            return
        with atomic_path(self.path.with_name("curve.png")) as staged:
            _draw(self.entries, staged)


def read(path: Path) -> list[Entry]:
    """Return the entries of a log; a last line that was cut off by a kill is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def _line(entry: Entry) -> str:
    return json.dumps(entry) + "\n"


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of every ``width`` values in a row, of those that are there: a term need not be in every step."""
    there = np.isfinite(values)
    window = np.ones(width)
    counts = np.convolve(there, window, mode="valid")
    sums = np.convolve(np.where(there, values, 0.0), window, mode="valid")
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return means


def _draw(entries: list[Entry], picture: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and drawn now and then only

    steps = np.array([entry["step"] for entry in entries])
    width = max(1, min(_SMOOTHED_STEPS, len(entries) // 5))
    figure = Figure(figsize=(9, 6), layout="constrained")
    losses, scores = figure.subplots(2, sharex=True)
    for name in ["loss", *dict.fromkeys(term for entry in entries for term in entry["terms"])]:
        values = np.array([entry["loss"] if name == "loss" else entry["terms"].get(name, np.nan) for entry in entries])
        smooth = _running_mean(values, width)
        losses.plot(steps[width - 1 :], smooth, label=name, linewidth=2 if name == "loss" else 1)
    losses.set(ylabel=f"loss, mean of {width} steps")
    rate = losses.twinx()
    rate.plot(steps, [entry["rate"] for entry in entries], color="gray", linewidth=0.8, linestyle=":")
    rate.set(ylabel="learning rate / peak")
    validated = [entry for entry in entries if "scores" in entry]
    for name in validated[0]["scores"] if validated else ():
        scores.plot([e["step"] for e in validated], [e["scores"][name] for e in validated], marker="o", label=name)
    scores.set(xlabel="step", ylabel="validation")
    for axes in (losses, scores):
        axes.grid(visible=True, alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(picture, dpi=100)
