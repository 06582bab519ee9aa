"""What a step of teaching a ViT-B costs: `python -m benchmarks.adaptation_cost [--page docs/benchmarks.md]`.

Segment Anything's ViT-B at 1024 pixels with weights by chance, one picture a step, each variant in its own process: all
weights, LoRA, LoRA with checkpointing, and the decoder alone on pictures that were encoded before. Seconds of the last
of three steps, with batch and optimiser, and the most memory that the process held.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.page import page_with, replace_part
from samaritan.adapt.bases.planar import base
from samaritan.adapt.checkpointing import forget
from samaritan.adapt.kind import encoder_learns, prepared
from samaritan.adapt.methods import settings_of
from samaritan.adapt.prompted.crops import Sample
from samaritan.adapt.prompted.kind import Prompted
from samaritan.core.process import peak_rss
from samaritan.models import sam
from samaritan.models.published import Opened, published

PART = "adaptation cost"
STEPS = 3
# By name: the method, and whether features are computed twice.
VARIANTS = {
    "full": ("full", False),
    "LoRA": ("lora", False),
    "LoRA, checkpointing": ("lora", True),
    "decoder, encoded before": ("decoder", False),
}


@dataclass(frozen=True)
class Disc:
    """A source of samples: one picture of noise with a disc."""

    side: int = 1024

    def draw(self, size: int, _rng: np.random.Generator) -> Sample:
        """Return it, whatever is drawn."""
        noise = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
        rows, columns = np.mgrid[:size, :size]
        inside = np.hypot(rows - size / 2, columns - size / 2) < size / 5
        return Sample(noise + 40 * inside[..., None], np.ones((size, size), np.bool_), inside, "disc")


def measured(name: str) -> dict[str, float]:
    """Return seconds of a step and memory of a variant, in this process."""
    method, checkpointing = VARIANTS[name]
    torch.manual_seed(0)
    known = published("sam-vit-b")
    module = sam.build(*sam.SIZES["vit-b"]).eval().requires_grad_(requires_grad=False)
    like = base(Opened(Path("none"), known, known.card, module))
    network, groups = prepared(Prompted(), like, settings_of(method, {}))
    if checkpointing:
        forget(network, like.anatomy)
    learns = encoder_learns(network, like.anatomy)
    task = like.prompted(lambda **_: Disc(), steps=STEPS, images=1, seed=0, encoder_learns=learns)
    optimiser = torch.optim.AdamW([p for group in groups for p in group.parameters])
    seconds = []
    for step in range(STEPS):
        torch.manual_seed(1)  # as many corrections in each variant
        started = time.perf_counter()
        terms = task.losses(network, task.batch(step))
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]  # torch has no type
        optimiser.step()
        optimiser.zero_grad()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds[-1], "memory": float(peak_rss())}


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return what was found, as Markdown, each beside the first."""
    lines = ["| what learns | s a step | beside full | memory | beside full |", "| --- | ---: | ---: | ---: | ---: |"]
    first = next(iter(found.values()))
    for name, one in found.items():
        slower, larger = (one[what] / first[what] for what in ("seconds", "memory"))
        lines.append(
            f"| {name} | {one['seconds']:.2f} | {slower:.2f} | {one['memory'] / 2**30:.1f} GiB | {larger:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=list(VARIANTS), help="this variant, in this process: prints JSON")
    parser.add_argument("--page", type=page_with(PART), help="page to update")
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measured(options.one)))
        return
    found: dict[str, Any] = {}
    for name in VARIANTS:
        line = [sys.executable, "-m", "benchmarks.adaptation_cost", "--one", name]
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
    if options.page:
        replace_part(options.page, PART, table(found))


if __name__ == "__main__":
    main()
