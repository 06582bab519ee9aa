"""A table for a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

from samaritan.evaluate.summary import Mean

_SPECIAL = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}",
}  # fmt: skip


def to_latex(means: Sequence[Mean], metrics: Sequence[str]) -> str:
    """Return the means over all objects as a ``tabular``, for the package booktabs; intervals in brackets."""
    rows: dict[tuple[str, str, str, str], dict[str, Mean]] = {}
    for mean in means:
        if not mean.within:
            rows.setdefault((mean.model, mean.protocol, mean.step, mean.choice), {})[mean.metric] = mean
    heads = ["model", "protocol", "step", "mask", *metrics]
    lines = [rf"\begin{{tabular}}{{llll{'r' * len(metrics)}}}", r"\toprule", _row(heads), r"\midrule"]
    lines += [_row([*key, *(_cell(cells.get(name)) for name in metrics)]) for key, cells in rows.items()]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def escaped(text: str) -> str:
    """Return text with what LaTeX would take for commands made plain."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(escaped(cell) for cell in cells) + r" \\"


def _cell(mean: Mean | None) -> str:
    if mean is None or not mean.interval.count:
        return "--"
    found = mean.interval
    around = "" if math.isnan(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"
    part = "" if found.count == mean.of else f" ({found.count} of {mean.of})"
    return f"{found.mean:.3f}{around}{part}"
