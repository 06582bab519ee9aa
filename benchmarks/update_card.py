"""Write hashes of the weights and scores of a benchmark onto the `tiny` model's card, and its speed onto its page.

`python -m benchmarks.update_card [--scores build/default_model.summary.json]`

Run it after `training.tiny.export` (the card's hashes must be those of the weights), after
`benchmarks.default_model --json`, which writes the scores beside its record, and after `benchmarks.speed --page`.
Without `--scores` the scores stay. The speed is what docs/benchmarks.md says: the two pages cannot tell different ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tomllib
from pathlib import Path

from benchmarks.page import replace_part
from samaritan.models.tiny import FOLDER

BENCHMARKS, PAGE = Path("docs/benchmarks.md"), Path("docs/models/default.md")
MARK = "# -- written by benchmarks/update_card.py --\n"


def updated(card: str, *, files: dict[str, str], scores: dict[str, float]) -> str:
    """Return the card's text with its two last tables replaced."""
    head, mark, _ = card.partition(MARK)
    if not mark:
        message = f"the card has no line '{MARK.strip()}'"
        raise ValueError(message)
    tables = ["[scores]", *(f'"{name}" = {value:.3f}' for name, value in scores.items()), ""]
    tables += ["[files]", *(f'"{name}" = "{digest}"' for name, digest in sorted(files.items()))]
    return head + mark + "\n".join(tables) + "\n"


def speed_table(benchmarks: str) -> str:
    """Return the rows of the page of benchmarks' table of speeds that are about the model.

    Rows about the program, whose names are in code, are left out.
    """
    _, begun, rest = benchmarks.partition("<!-- speed -->\n")
    table, ended, _ = rest.partition("<!-- end of speed -->")
    rows = [line for line in table.splitlines() if line.startswith("|") and not line.startswith("| `")]
    if not (begun and ended and len(rows) > 2):  # a header has two lines
        message = f"{BENCHMARKS} has no table of speeds; run python -m benchmarks.speed --page {BENCHMARKS}"
        raise ValueError(message)
    return "\n".join(rows)


def main() -> None:
    """Read the command line and rewrite the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scores", type=Path, help="the .summary.json that benchmarks.default_model --json wrote")
    options = parser.parse_args()
    path = FOLDER / "card.toml"
    card = path.read_text(encoding="utf-8")
    scores = tomllib.loads(card)["scores"]
    if options.scores:
        scores = json.loads(options.scores.read_text(encoding="utf-8"))["summary"]
    try:
        speed = speed_table(BENCHMARKS.read_text(encoding="utf-8"))
    except ValueError as error:
        parser.error(str(error))
    weights = sorted(p for p in (FOLDER / "weights").iterdir() if p.suffix in {".onnx", ".safetensors"})
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in weights}
    path.write_text(updated(card, files=files, scores=scores), encoding="utf-8")
    replace_part(PAGE, "speed", speed)


if __name__ == "__main__":
    main()
