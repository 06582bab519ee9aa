"""What a user's clicks bring: how many an object needs, and how well they pay over all that were tried."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from samaritan.evaluate.protocols import PROTOCOLS
from samaritan.evaluate.replay import first_asked
from samaritan.evaluate.scoring import PREDICTED
from samaritan.metrics import area_under_clicks, clicks_to

Row = Mapping[str, Any]

_WANTED = {"80": 0.8, "90": 0.9}  # Dice
# Of each Dice the clicks until then (the most tried where it never is reached, as papers count) and whether it ever is;
# the mean of Dice along the curve.
EFFORT_METRICS = (*(f"{what}_{name}" for name in _WANTED for what in ("clicks_to", "reached")), "mean_on_the_way")


def effort_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return a row for each object that was asked for click by click and measured by Dice, with ``EFFORT_METRICS``."""
    curves: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["choice"] == PREDICTED and row.get("dice") is not None and _by_clicks(row["protocol"]):
            curves[tuple(row[name] for name in ("model", "protocol", "case", "value", "instance"))].append(row)
    found = []
    for curve in curves.values():
        curve.sort(key=lambda row: row["effort"])
        if len(curve) > 1:
            last = curve[-1]
            about = {name: last[name] for name in ("model", "protocol", "case", "patient", "value", "instance")}
            step = f"{curve[0]['effort']:g} to {last['effort']:g}"
            found.append({**about, "step": step, "effort": last["effort"], "choice": PREDICTED, **_figures(curve)})
    return found


def _figures(curve: Sequence[Row]) -> dict[str, float]:
    scores = [float(row["dice"]) for row in curve]
    figures: dict[str, float] = {}
    for name, wanted in _WANTED.items():
        number = clicks_to(scores, dice=wanted)
        figures[f"reached_{name}"] = float(math.isfinite(number))
        figures[f"clicks_to_{name}"] = float(curve[int(number) - 1 if math.isfinite(number) else -1]["effort"])
    figures["mean_on_the_way"] = area_under_clicks(scores) / (len(scores) - 1)
    return figures


def _by_clicks(protocol: str) -> bool:
    known = first_asked(protocol)
    return known in PROTOCOLS and PROTOCOLS.get(known).axis == "clicks"
