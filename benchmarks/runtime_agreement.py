"""How well the masks of exported models agree with PyTorch's: `python -m benchmarks.runtime_agreement`.

`[--model NAME] [--page docs/benchmarks.md]`. Each model is exported in float32 and in eight bits, and every runtime's
masks are compared with PyTorch's on synthetic pictures, on which the eight bits are calibrated too. No published
weights are needed: they are drawn so that values neither die out nor explode. Trained ones round better or worse;
`samaritan export` measures it for yours.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tests.models.references import randomise
from training.tiny.quick_check import picture

from benchmarks.family_speed import model
from benchmarks.page import page_with, replace_part
from samaritan.core.errors import WeightsError
from samaritan.core.image import Image
from samaritan.data.synthesis import draw_scene
from samaritan.models.bundle import load_bundle
from samaritan.models.certificate import certify
from samaritan.models.export import LEAST_DICE, LEAST_DICE_INT8, export

MODELS = ("mobile-sam", "lite-medsam", "sam-med2d", "sam2.1-tiny")  # small pictures or encoders: it takes minutes
RUNTIMES = ("onnxruntime", "openvino")
SIDE, PICTURES = 512, 3


def pictures() -> list[Image]:
    """Return colour pictures of synthetic scenes."""
    return [picture(draw_scene(SIDE, np.random.default_rng(seed)).image) for seed in range(PICTURES)]


def rows(name: str, images: Sequence[Image]) -> Iterator[str]:
    """Yield the table's rows of a model, one for each precision and runtime."""
    ours = model(name, randomise)
    for int8, least in ((False, LEAST_DICE), (True, LEAST_DICE_INT8)):
        precision = "int8" if int8 else "float32"
        print(f"exporting {name} in {precision}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="samaritan-agreement-") as folder:
            bundle = Path(folder) / "bundle"
            try:
                export(ours, bundle, images=images, int8=int8)
            except WeightsError as error:
                yield f"| {name} | {precision} | refused: {error.got} | | | **no** |"
                continue
            for runtime in RUNTIMES:
                found = certify(ours, load_bundle(bundle, runtime=runtime), images)
                yield (
                    f"| {name} | {precision} | {runtime} | {found.logits_apart:.1e} of {found.logits_spread:.2f} "
                    f"| {found.dice:.5f} | {'yes' if found.dice >= least else '**no**'} |"
                )


def main() -> None:
    """Read the command line, compare, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, action="append", help="compare this one only; may be repeated")
    parser.add_argument(
        "--page",
        type=page_with("runtime agreement"),
        help="Markdown page whose part 'runtime agreement' the table becomes",
    )
    options = parser.parse_args()
    if options.page and options.model:
        parser.error("--page wants all models: leave out --model")
    images = pictures()
    head = (
        "| model | encoder | runtime | logits apart, of their spread | lowest Dice | kept |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    text = "\n".join((*head, *(row for name in options.model or MODELS for row in rows(name, images))))
    print(text)
    if options.page:
        replace_part(options.page, "runtime agreement", text + "\n")


if __name__ == "__main__":
    main()
