"""Draw a run's loss and held-out Dice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure


def draw_curve(log: Path, picture: Path) -> None:
    """Plot the JSON-lines `log` of a run to the PNG `picture`."""
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps, losses = np.array([entry["step"] for entry in entries]), np.array([entry["loss"] for entry in entries])
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    width = max(1, min(50, len(losses) // 5))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    axes.plot(steps[width - 1 :], smooth, label=f"training loss, mean of {width} steps")
    for name in ("box", "click"):
        checks = [(entry["step"], entry["check"][name]) for entry in entries if "check" in entry]
        if checks:
            axes.plot(*zip(*checks, strict=True), marker="o", label=f"held-out macro Dice, {name}")
    axes.set(xlabel="step", ylim=(0, 1.5))
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=110)
