"""Figures as SVG: effort curves, distributions, paired scatter, calibration. The same rows give the same bytes."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from samaritan.core.errors import MissingExtraError
from samaritan.draw.overlay import PALETTE
from samaritan.evaluate.protocols import PROTOCOLS
from samaritan.evaluate.replay import first_asked
from samaritan.evaluate.scoring import PREDICTED
from samaritan.evaluate.summary import Mean, last_answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = dict[str, Any]

_SIZE = (5.2, 3.6)  # inches
_BINS = 10
_MOST_POINTS = 3_000  # of a scatter: more are a blot, and megabytes


def figures(rows: Sequence[Row], means: Sequence[Mean], metric: str) -> dict[str, str]:
    """Return all figures that rows allow, by name, as SVG."""
    found = dict(_curves(means, metric))
    found |= dict(_distributions(rows, metric))
    found |= dict(_scatters(rows, metric))
    found |= dict(_calibration(rows))
    return found


def new_figure(title: str, x: str, y: str) -> tuple[Figure, Any]:
    """Return a figure and its axes, with names.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError.of(what="a report", extra="evaluate") from error
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True, alpha=0.25)
    return figure, axes


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG, without what differs from run to run."""
    import matplotlib as mpl  # noqa: PLC0415

    file = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "samaritan", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def colour_of(number: int) -> tuple[float, float, float]:
    """Return the colour of the model of that number."""
    red, green, blue = PALETTE[number % len(PALETTE)]
    return red / 255, green / 255, blue / 255


def _models(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows))


def _curves(means: Sequence[Mean], metric: str) -> Iterator[tuple[str, str]]:
    """Yield, of each protocol with several steps, the mean over its effort, with intervals."""
    models = list(dict.fromkeys(mean.model for mean in means))
    by_protocol: dict[str, dict[str, list[Mean]]] = defaultdict(lambda: defaultdict(list))
    for mean in means:
        if mean.metric == metric and mean.choice == PREDICTED and not mean.within:
            by_protocol[mean.protocol][mean.model].append(mean)
    for protocol, found in by_protocol.items():
        curves: dict[str, list[Mean]] = found
        efforts = {mean.effort for curve in curves.values() for mean in curve}
        steps = {mean.step for curve in curves.values() for mean in curve}
        if len(efforts) < 2:
            continue
        if len(steps) != len(efforts):  # severities of many kinds: at each, the mean over them
            curves = {model: _by_effort(curve) for model, curve in curves.items()}
        known = first_asked(protocol)
        axis = PROTOCOLS.get(known).axis if known in PROTOCOLS else "effort"
        figure, axes = new_figure(f"{protocol}: {metric} by {axis}", axis, metric)
        for model, curve in curves.items():
            curve.sort(key=lambda mean: mean.effort)
            x = [mean.effort for mean in curve]
            colour = colour_of(models.index(model))
            axes.plot(x, [mean.interval.mean for mean in curve], marker="o", ms=3, color=colour, label=model)
            bounds = ([mean.interval.low for mean in curve], [mean.interval.high for mean in curve])
            axes.fill_between(x, *bounds, color=colour, alpha=0.2, lw=0)
        axes.legend(fontsize=8)
        yield f"curve-{protocol}", to_svg(figure)


def _by_effort(curve: Sequence[Mean]) -> list[Mean]:
    """Return one mean for each effort, over the steps that have it; without interval, as their objects are the same."""
    efforts = sorted({mean.effort for mean in curve})
    found = []
    for effort in efforts:
        here = [mean for mean in curve if mean.effort == effort]
        middle = float(np.mean([mean.interval.mean for mean in here]))
        found.append(replace(here[0], interval=replace(here[0].interval, mean=middle, low=middle, high=middle)))
    return found


def _distributions(rows: Sequence[Row], metric: str) -> Iterator[tuple[str, str]]:
    """Yield the spread over objects at the last step of each protocol: boxes with every tenth part, and the points."""
    models = _models(rows)
    spread: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in last_answers(rows, [metric]):
        if row[metric] is not None and np.isfinite(row[metric]):
            spread[row["protocol"]][row["model"]].append(row[metric])
    figure, axes = new_figure(f"{metric} of objects at the last step", "", metric)
    labels: list[str] = []
    for protocol, by_model in spread.items():
        for model, values in by_model.items():
            at = len(labels)
            colour = colour_of(models.index(model))
            axes.boxplot(
                [values], positions=[at], widths=0.6, whis=(5, 95), showfliers=False, medianprops={"color": "black"}
            )
            shown = values[:: max(1, len(values) // 200)]
            jitter = np.random.default_rng(at).uniform(-0.2, 0.2, len(shown))
            axes.plot(at + jitter, shown, ".", ms=2, color=colour, alpha=0.6)
            labels.append(f"{protocol}\n{model}")
    if labels:
        axes.set_xticks(range(len(labels)), labels, fontsize=7, rotation=45, ha="right")
        yield "distribution", to_svg(figure)


def _scatters(rows: Sequence[Row], metric: str) -> Iterator[tuple[str, str]]:
    """Yield, of each protocol, the objects by their score with the first model and with each other one."""
    models = _models(rows)
    scores: dict[str, dict[str, dict[tuple[Any, ...], float]]] = defaultdict(lambda: defaultdict(dict))
    for row in last_answers(rows, [metric]):
        if row[metric] is not None and np.isfinite(row[metric]):
            scores[row["protocol"]][row["model"]][row["case"], row["value"], row["instance"]] = row[metric]
    for protocol, by_model in scores.items():
        first = models[0]
        for other in models[1:]:
            both = sorted(by_model[first].keys() & by_model[other].keys(), key=str)[:_MOST_POINTS]
            if not both:
                continue
            figure, axes = new_figure(f"{protocol}: {metric} of each object", first, other)
            x, y = ([by_model[model][key] for key in both] for model in (first, other))
            axes.plot(x, y, ".", ms=3, alpha=0.5, color=colour_of(models.index(other)))
            low, high = min(*x, *y), max(*x, *y)
            axes.plot([low, high], [low, high], lw=0.8, color="grey")
            yield f"scatter-{protocol}-{models.index(other)}", to_svg(figure)


def _calibration(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield the true IoU of answers by the IoU that the model predicted, in tenths."""
    if not rows or "iou" not in rows[0]:
        return
    models = _models(rows)
    figure, axes = new_figure("IoU by the IoU that was predicted", "predicted IoU", "mean IoU")
    drawn = False
    for model in models:
        pairs = np.array(
            [
                (row["predicted_iou"], row["iou"])
                for row in rows
                if row["model"] == model and row["choice"] == PREDICTED and row["predicted_iou"] is not None
                and row["iou"] is not None
            ]
        )  # fmt: skip
        if not len(pairs):
            continue
        which = np.clip((pairs[:, 0] * _BINS).astype(int), 0, _BINS - 1)
        held = [n for n in range(_BINS) if (which == n).any()]
        centre, true = ([pairs[which == n, column].mean() for n in held] for column in (0, 1))
        axes.plot(centre, true, marker="o", ms=4, color=colour_of(models.index(model)), label=model)
        drawn = True
    if drawn:
        axes.plot([0, 1], [0, 1], lw=0.8, color="grey")
        axes.legend(fontsize=8)
        yield "calibration", to_svg(figure)
