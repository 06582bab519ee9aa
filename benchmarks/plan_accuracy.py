"""How well `samaritan segment --dry-run` foretells time, memory and disk: what it says beside what is then taken.

`python -m benchmarks.plan_accuracy [--scenario MODEL PROMPT] [--slices N] [--json OUT] [--page docs/benchmarks.md]`

A synthetic CT of 512 x 512 voxels a slice, with an object that goes through all of them, and models with random weights
in their official files: speed and size are the same. Plan and run are processes of their own, started cold one after
the other, each with an empty cache. Of a box over all slices the plan should be met within 20%; of a click it is an
upper bound, as it is of any model of volumes. Run it on a machine that does nothing else: how many processors the run
had tells whether it did.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from training.arguments import count

from benchmarks.page import page_with, replace_part
from samaritan.infer.memory import MIB
from samaritan.models import DEFAULT_MODEL
from samaritan.testing.phantoms import ct_volume

SIDE = 512
WITHIN = 0.2
# The object of the phantom, from where it is 9/10 as wide as in its middle to where it is so again.
BOX, CLICK = "72,72,0:297,297,{slices}", "184,184,{middle}"
PROMPTS = {"box": ("--box", BOX), "click": ("--point", CLICK)}
# A model of volumes can be asked for, too; a click with ViT-B follows the same way as one with MobileSAM.
SCENARIOS = (
    ("sam-vit-b", "box"),
    ("mobile-sam", "box"),
    ("mobile-sam", "click"),
    (DEFAULT_MODEL, "box"),
    (DEFAULT_MODEL, "click"),
)


@dataclass(frozen=True)
class Process:
    """What a process said, the seconds from its start to its end, and how many processors it had meanwhile."""

    said: dict[str, Any]
    seconds: float
    processors: float


@dataclass(frozen=True)
class Outcome:
    """What was planned and what was taken, of one model and prompt; memory and disk in MiB."""

    model: str
    prompt: str
    slices: int
    at_most: bool
    planned: dict[str, float]
    real: dict[str, float]
    planning_s: float
    processors: tuple[float, float]  # while planning, and in the run

    @property
    def ratios(self) -> dict[str, float]:
        """Planned over real."""
        return {what: self.planned[what] / max(self.real[what], 1e-9) for what in self.real}

    @property
    def kept(self) -> bool:
        """Whether the plan is right within 20%; one that is an upper bound may be higher."""
        return all(ratio >= 1 - WITHIN and (self.at_most or ratio <= 1 + WITHIN) for ratio in self.ratios.values())


def write_ct(path: Path, slices: int) -> None:
    """Write a volume of which every slice shows the object."""
    tall = ct_volume((SIDE, SIDE, 5 * slices), affine=np.diag([0.8, 0.8, 2.5, 1.0])).image
    first = round(0.36 * 5 * slices) - slices // 2
    noise = np.random.default_rng(0).normal(0, 12, (SIDE, SIDE, slices))
    voxels = (tall.array[0][..., first : first + slices] + noise).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, tall.geometry.affine), path)


def sam_vit_b() -> dict[str, Any]:
    """Return the tensors of a ViT-B that believes in what it finds, or else no slice would be followed."""
    from tests.models.references import original  # noqa: PLC0415

    tensors = original("segment_anything").sam_model_registry["vit_b"]().state_dict()
    tensors["mask_decoder.iou_prediction_head.layers.2.bias"].fill_(0.9)
    return tensors


def mobile_sam() -> dict[str, Any]:
    """Return the tensors of a MobileSAM that believes in what it finds."""
    from tests.models.references import original  # noqa: PLC0415

    tensors = original("mobile_sam").sam_model_registry["vit_t"]().state_dict()
    tensors["mask_decoder.iou_prediction_head.layers.2.bias"].fill_(0.9)
    return tensors


def sam2_tiny() -> dict[str, Any]:
    """Return the tensors of a SAM 2.1."""
    from tests.models.sam2.reference import make  # noqa: PLC0415

    from samaritan.models.sam2.build import SIZES  # noqa: PLC0415

    return make(SIZES["tiny"], newer=True, side=1024).state_dict()


# The default model is in the package.
CHECKPOINTS: dict[str, Callable[[], dict[str, Any]]] = {
    "mobile-sam": mobile_sam,
    "sam-vit-b": sam_vit_b,
    "sam2.1-tiny-volume": sam2_tiny,
}


def program(*arguments: str, cache: Path) -> Process:
    """Run `samaritan segment` in a process of its own."""
    command = [sys.executable, "-m", "samaritan.cli", "segment", *arguments, "--json"]
    environment = {**os.environ, "SAMARITAN_CACHE": str(cache)}
    before, started = processor_s(), time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    seconds = time.perf_counter() - started
    return Process(json.loads(done.stdout), seconds, (processor_s() - before) / seconds)


def processor_s() -> float:
    """Return the seconds of a processor that all processes begun here took, as far as they have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(name: str, prompt: str, slices: int, folder: Path) -> Outcome:
    """Plan, then run."""
    option, where = PROMPTS[prompt]
    asked = (option, where.format(slices=slices, middle=slices // 2))
    model = ("--model", name, *weights_of(name, folder))
    command = (str(folder / "ct.nii.gz"), *asked, *model, "-o", str(folder / "mask.nii.gz"))
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        plan = program(*command, "--dry-run", cache=Path(cache))
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        run = program(*command, cache=Path(cache))
        kept = sum(path.stat().st_size for path in Path(cache).rglob("*.safetensors"))
    said = plan.said
    return Outcome(
        name,
        prompt,
        slices,
        said["at_most"],
        {"seconds": said["seconds"], "memory": said["memory_bytes"] / MIB, "disk": said["disk_bytes"] / MIB},
        {"seconds": run.seconds, "memory": run.said["peak_memory_mib"], "disk": kept / MIB},
        plan.seconds,
        (plan.processors, run.processors),
    )


def weights_of(name: str, folder: Path) -> Sequence[str]:
    """Return the option that names the checkpoint of a model, made if it is not there; none for the default one."""
    make, path = CHECKPOINTS.get(name), folder / f"{name}.pth"
    if make is None:
        return ()
    if not path.exists():
        import torch  # noqa: PLC0415

        torch.save(make(), path)
    return ("--weights", str(path))


def rows(found: Iterable[Outcome]) -> Iterator[str]:
    """Yield the table's rows."""
    digits = {"seconds": 1, "memory": 0, "disk": 0}
    for outcome in found:
        parts = [
            f"{outcome.planned[what]:.{n}f} | {outcome.real[what]:.{n}f} | {outcome.ratios[what]:.2f}"
            for what, n in digits.items()
        ]
        kept = "yes" if outcome.kept else "**no**"
        bound = ", upper bound" if outcome.at_most else ""
        had = " | ".join(f"{share:.2f}" for share in outcome.processors)
        name = f"{outcome.model}, {outcome.prompt}{bound}"
        yield f"| {name} | {' | '.join(parts)} | {kept} | {outcome.planning_s:.0f} s | {had} |"


def recorded(path: Path | None, slices: int) -> dict[tuple[str, str], Outcome]:
    """Return what was found before with so many slices, by model and prompt."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else []
    outcomes = (Outcome(**outcome) for outcome in kept)
    return {(outcome.model, outcome.prompt): outcome for outcome in outcomes if outcome.slices == slices}


def main() -> None:
    """Read the command line, plan and run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scenario", nargs=2, metavar=("MODEL", "PROMPT"), action="append", help="this one only; may be repeated"
    )
    parser.add_argument("--slices", type=count, default=100)
    parser.add_argument(
        "--page", type=page_with("plan accuracy"), help="Markdown page whose part 'plan accuracy' the table becomes"
    )
    parser.add_argument("--json", type=Path, help="where the figures are kept; those of other scenarios stay")
    options = parser.parse_args()
    scenarios = options.scenario or SCENARIOS
    if unknown := [
        pair for pair in scenarios if pair[0] not in (DEFAULT_MODEL, *CHECKPOINTS) or pair[1] not in PROMPTS
    ]:
        parser.error(f"no scenario {unknown[0]}: models {[DEFAULT_MODEL, *CHECKPOINTS]}, prompts {list(PROMPTS)}")
    with tempfile.TemporaryDirectory(prefix="samaritan-plan-") as folder:
        write_ct(Path(folder) / "ct.nii.gz", options.slices)
        known = recorded(options.json, options.slices)
        for name, prompt in scenarios:
            known[name, prompt] = compare(name, prompt, options.slices, Path(folder))
            print(known[name, prompt], file=sys.stderr)
            if options.json:
                found = [asdict(outcome) for outcome in known.values()]
                options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    title = f"512 × 512 × {options.slices}; {os.cpu_count()} cores, {platform.machine()}, no GPU"
    kinds = [f"{what} {state}" for what in ("s", "MiB", "MiB of disk") for state in ("planned", "real", "ratio")]
    columns = (title, *kinds, "kept", "planning took", "processors in the plan", "in the run")
    head = (f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns))
    text = "\n".join((*head, *rows(known.values())))
    print(text)
    if options.page:
        replace_part(options.page, "plan accuracy", text + "\n")


if __name__ == "__main__":
    main()
