"""What tests of training share."""

import json

import numpy as np

from samaritan.adapt.prompted.view import View
from samaritan.data.synthesis import draw_scene


def scene_view(side, rng):
    scene = draw_scene(side, rng)
    return View("synthetic", "any", scene.image, scene.parts, scene.objects, (1,) * len(scene.objects))


def write_cases(folder, *uses):
    lines = [
        {"id": f"{dataset}/1", "dataset": dataset, "use": use, "image": "i.png", "mask": "m.png", "ndim": 2,
         "mask_type": "semantic", "modality": "MR", "licence": "MIT"}
        for dataset, use in uses
    ]  # fmt: skip
    (folder / "cases.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def two_discs():
    y, x = np.mgrid[0:120, 0:160]
    image = np.full((120, 160), 40, np.uint8)
    for centre_x, centre_y in ((40, 60), (115, 55)):
        image[(x - centre_x) ** 2 + (y - centre_y) ** 2 < 25**2] = 200
    noisy = image + np.random.default_rng(0).normal(0, 4, image.shape)
    return View("family", "MR", noisy.clip(0, 255).astype(np.uint8), np.zeros(image.shape, np.uint16), (), ()), image


def nested_view(family="nested"):
    """A core (part 2) in a whole, and a disc beside them (part 3): a click on the core or around it is ambiguous."""
    rows, columns = np.mgrid[0:160, 0:160]
    parts = np.zeros((160, 160), np.uint16)
    for number, radius, centre in ((1, 40, (60, 60)), (2, 20, (60, 60)), (3, 25, (125, 125))):
        parts[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2] = number
    image = (40 + 60 * parts).astype(np.uint8)
    return View(family, "CT", image, parts, ((1,), (2,), (1, 2), (3,)), (1, 2, 3, 4))
