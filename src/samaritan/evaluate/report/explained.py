"""What explains the scores of runs: effects of an object's properties, and partial plots of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samaritan.evaluate.factors import FACTORS
from samaritan.evaluate.regression import Design, Effect, design_of, effects_of
from samaritan.evaluate.report.figures import colour_of, new_figure, to_svg
from samaritan.evaluate.report.runs import Run
from samaritan.evaluate.statistics import holm
from samaritan.evaluate.summary import last_answers

Row = dict[str, Any]

_MOST_POINTS = 1_000  # of a plot


@dataclass(frozen=True, slots=True)
class Explained:
    """Effects on the first metric at the last steps, each with its p corrected over all; plots as SVG by name."""

    effects: Sequence[tuple[Effect, float]]
    plots: dict[str, str]

    def flat(self) -> list[dict[str, Any]]:
        """Return the effects as rows of a table."""
        return [{**effect.flat(), "p_holm": p} for effect, p in self.effects]


def explain(runs: Sequence[Run], metric: str) -> Explained:
    """Return what explains a metric of each model at the last step of each protocol; nothing where data are too few.

    Raises
    ------
    MissingExtraError
        If statsmodels or matplotlib are not installed.
    """
    objects = {(item["case"], item["value"], item["instance"]): item for run in runs for item in run.objects}
    rows = last_answers([row for run in runs for row in run.rows], [metric])
    models = list(dict.fromkeys(row["model"] for row in rows))
    effects: list[Effect] = []
    plots: dict[str, str] = {}
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        designs: dict[str, Design] = {}
        for model in models:
            asked = [row for row in rows if (row["model"], row["protocol"]) == (model, protocol)]
            design = design_of(asked, objects, metric)
            if design is not None:
                designs[model] = design
                effects += effects_of(design, model=model, protocol=protocol, step=asked[0]["step"], metric=metric)
        colours = {model: colour_of(models.index(model)) for model in designs}
        plots |= dict(_plots(protocol, designs, colours, metric))
    corrected = holm([effect.p for effect in effects])
    return Explained(list(zip(effects, corrected, strict=True)), plots)


def _plots(
    protocol: str, designs: Mapping[str, Design], colours: Mapping[str, tuple[float, float, float]], metric: str
) -> Iterator[tuple[str, str]]:
    """Yield the partial plot of each factor, with a line for each model."""
    for factor in FACTORS:
        known = {model: design for model, design in designs.items() if factor in design.names}
        if not known:
            continue
        title = f"{protocol}: what {factor} explains, the rest held"
        figure, axes = new_figure(title, f"{factor}, in deviations", f"{metric}, less the rest")
        for model, design in known.items():
            x, y = design.partial(design.names.index(factor))
            shown = slice(None, None, -(-len(x) // _MOST_POINTS))
            axes.plot(x[shown], y[shown], ".", ms=3, alpha=0.4, color=colours[model])
            ends = np.array([x.min(), x.max()])
            slope = float(x @ y) / float(x @ x) if x.any() else 0.0
            axes.plot(ends, slope * ends, color=colours[model], label=model)
        axes.legend(fontsize=8)
        yield f"partial-{protocol}-{factor}", to_svg(figure)
