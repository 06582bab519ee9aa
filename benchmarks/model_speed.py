"""Time a model on a 512 x 512 picture, in a process of its own: `python -m benchmarks.model_speed`.

Prints JSON: seconds to load, embed and decode (medians), peak memory, and GrabCut's time from the same box.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

from samaritan import Point, Prompts, load_model
from samaritan.core.model import Embedding, Model
from samaritan.infer.intensity import IntensityMap
from samaritan.testing.phantoms import picture

ROUNDS = 15
CLICKS = tuple(Point((i, j, 0.0)) for i, j in ((150.0, 190.0), (190.0, 230.0), (120.0, 250.0)))  # in the disk


def median_seconds(call: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Return the median time of `call`, after one run to warm up."""
    call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_mib() -> float:
    """Return the most memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def click_seconds(model: Model, embedding: Embedding, box: Prompts, *, rounds: int = ROUNDS) -> dict[str, float]:
    """Return the seconds that a lone click takes, one after a box, and the third of clicks without a box."""
    lone, two, three = (Prompts(box.geometry, CLICKS[:count]) for count in (1, 2, 3))
    asked = {
        "lone_click_s": (lone, None),
        "click_s": (box.add(CLICKS[0]), model.decode(embedding, box)),
        "third_click_s": (three, model.decode(embedding, two, model.decode(embedding, lone))),
    }
    return {
        name: median_seconds(partial(model.decode, embedding, *given), rounds=rounds) for name, given in asked.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="name of the model; by default the default one")
    parser.add_argument("--grabcut", action="store_true", help="time GrabCut, too")
    options = parser.parse_args()
    phantom = picture(512, 512, colour=True)
    box = Prompts(phantom.image.geometry, (phantom.box(1),))
    started = time.perf_counter()
    model = load_model(options.model)
    image = IntensityMap.of(phantom.image, model.card)(phantom.image)
    embedding = model.embed(image)
    model.decode(embedding, box)
    found = {"load_and_first_mask_s": time.perf_counter() - started}
    found["embed_s"] = median_seconds(lambda: model.embed(image))
    found |= click_seconds(model, embedding, box)
    found["peak_mib"] = peak_mib()
    if options.grabcut:
        found["grabcut_s"] = _grabcut_seconds()
    print(json.dumps(found))


def _grabcut_seconds() -> float:
    phantom = picture(512, 512, colour=True)
    prompts = Prompts(phantom.image.geometry, (phantom.box(1),))
    model = load_model("grabcut")
    embedding = model.embed(phantom.image)
    return median_seconds(lambda: model.decode(embedding, prompts), rounds=3)


if __name__ == "__main__":
    main()
