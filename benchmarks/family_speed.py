"""How fast models of the family run here and in their own repositories, side by side.

`python -m benchmarks.family_speed [--model NAME] [--rounds N] [--page docs/benchmarks.md]`

Weights are random: speed is the same. Each runner is a process of its own, started anew in each round, and rounds take
turns, so that what else the machine does falls on all alike; times are the best over all rounds, memory the least peak.
The originals are those of `requirements-parity.txt`. A click is everything from prompt to masks of full size.
"""
# ruff: noqa: PLC0415 - each process imports what it measures, and nothing that would count against it

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from training.arguments import count

from benchmarks.page import page_with, replace_part
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import Model
from samaritan.core.process import peak_rss
from samaritan.core.prompts import Point, Prompts

SIDE = 1024
CLICKS = 8
# Runners of one model, the original first. Ours are what `samaritan export` writes, and PyTorch without export.
RUNNERS = ("original", "torch", "onnxruntime", "openvino", "auto")
ORIGINALS = {"sam-vit-b": ("segment_anything", "vit_b"), "mobile-sam": ("mobile_sam", "vit_t")}
# The most of the original's time that ours may take, and the memory in MiB.
GOALS = {"sam-vit-b": {"embed": 1 / 1.9, "click": 0.55, "memory": 2048}, "mobile-sam": {"embed": 1 / 2.3}}


def picture() -> Image:
    """Return a picture of the networks' own size."""
    values = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 1)).astype(np.float32)
    return Image(values, Geometry.picture(SIDE, SIDE), channels=RGB)


def model(name: str, draw: Callable[[Any], object] | None = None) -> Model:
    """Return a model in PyTorch, with the weights that its layers begin with, or that ``draw`` gives its module."""
    from samaritan.models.family import FAMILIES, family_of
    from samaritan.models.published import published

    known, family = published(name), FAMILIES.get(family_of(name))
    module = family.variants[known.variant]().eval()
    if draw:
        draw(module)
    return family.model(module, replace(known.card, sha256="0" * 64), known.frame or family.frame, "cpu")


def best(call: Callable[[], object], times: int) -> float:
    """Return the seconds that the fastest of some calls took."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure_original(name: str) -> Iterator[float]:
    """Yield the seconds to embed and to click in the original repository."""
    from tests.models.references import original

    package, size = ORIGINALS[name]
    predictor = original(package).SamPredictor(original(package).sam_model_registry[size]().eval())
    pixels = picture().array[..., 0].astype(np.uint8).T.copy()
    yield best(lambda: predictor.set_image(pixels), 2)
    where = {"point_coords": np.array([[300, 400]]), "point_labels": np.array([1])}
    yield best(lambda: predictor.predict(**where), CLICKS)


def measure_ours(runner: str, name: str, bundle: Path) -> Iterator[float]:
    """Yield the seconds to embed and to click in ours."""
    from samaritan.models.bundle import load_bundle

    ours = model(name) if runner == "torch" else load_bundle(bundle, runtime=runner)
    image = picture()
    prompts = Prompts(image.geometry, (Point((300, 400, 0)),))
    yield best(lambda: ours.embed(image), 2)
    embedding = ours.embed(image)
    yield best(lambda: ours.decode(embedding, prompts), CLICKS)


def export(name: str, folder: Path) -> None:
    """Write the bundle that is measured."""
    from samaritan.models.export import export as write

    print(f"exporting {name}", file=sys.stderr)
    certificate = write(model(name), folder, images=[picture()])
    print(json.dumps(certificate.to_dict()), file=sys.stderr)


def asked(*arguments: str) -> dict[str, float]:
    """Run this file in a process of its own, and return what it says."""
    command = [sys.executable, "-m", "benchmarks.family_speed", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout or "{}")


def compare(name: str, rounds: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return what every runner of a model takes: the best of the rounds."""
    bundle = folder / name
    asked("--export", name, str(bundle))
    found: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for runner in RUNNERS:
            now = asked("--runner", runner, name, str(bundle))
            before = found.setdefault(runner, now)
            found[runner] = {what: min(value, before[what]) for what, value in now.items()}
            print(name, runner, now, file=sys.stderr)
    return found


def rows(name: str, found: dict[str, dict[str, float]]) -> Iterator[str]:
    """Yield the table's rows of a model."""
    first = found["original"]
    for runner, now in found.items():
        parts = [f"{now[what]:.{2 if what == 'embed' else 3}f} s" for what in ("embed", "click")]
        ratios = [f"{now[what] / first[what]:.2f}" for what in ("embed", "click")]
        yield f"| {name} | {runner} | {parts[0]} | {ratios[0]} | {parts[1]} | {ratios[1]} | {now['memory']:.0f} MiB |"
    for what, most in GOALS[name].items():
        value = found["auto"][what] if what == "memory" else found["auto"][what] / first[what]
        met = "kept" if value <= most else "**not kept**"
        yield f"| {name} | goal: {what} of `auto` ≤ {most:.2f} | | | | | {value:.2f}: {met} |"


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=ORIGINALS, action="append", help="measure this one only; may be repeated")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument(
        "--page", type=page_with("family speed"), help="Markdown page whose part 'family speed' the table becomes"
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--runner", nargs=3, help=argparse.SUPPRESS)  # what a process of its own is asked
    parser.add_argument("--export", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(options.export[0], Path(options.export[1]))
        return
    if options.runner:
        runner, name, bundle = options.runner
        embed, click = measure_original(name) if runner == "original" else measure_ours(runner, name, Path(bundle))
        print(json.dumps({"embed": embed, "click": click, "memory": peak_rss() / 2**20}))
        return
    with tempfile.TemporaryDirectory(prefix="samaritan-family-") as folder:
        found = {name: compare(name, options.rounds, Path(folder)) for name in options.model or ORIGINALS}
    title = f"{os.cpu_count()} cores, {platform.machine()}, no GPU"
    text = "\n".join(
        (
            f"| {title} | runner | embed 1024 × 1024 | of the original | a click | of the original | peak memory |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(row for name, figures in found.items() for row in rows(name, figures)),
        )
    )
    print(text)
    if options.page:
        replace_part(options.page, "family speed", text + "\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
