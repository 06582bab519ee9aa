"""Classical methods: what marks and boxes mean to them, and how large pictures are shrunk."""

import sys

import numpy as np
import pytest

from samaritan.core.errors import MissingExtraError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts, Scribble
from samaritan.metrics import dice
from samaritan.models import load_model
from samaritan.models.classical.adapter import ClassicalModel

MARKED = ("geodesic", "grabcut", "random-walker")
BOX = Box((20, 10, 0), (41, 31, 1))


def disk(shape, centre, radius):
    i, j = np.ogrid[: shape[0], : shape[1]]
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2


def scene(*disks, shape=(80, 60)):
    """Return an image of bright disks on noisy dark ground, and their masks (i, j, 1)."""
    masks = [disk(shape, centre, radius)[..., None] for centre, radius in disks]
    noise = np.random.default_rng(0).normal(0, 3, (1, *shape, 1))
    values = np.where(np.logical_or.reduce(masks), 200.0, 40.0)[None] + noise
    image = Image(np.repeat(values, 3, axis=0).astype(np.float32), Geometry.picture(*shape), RGB)
    return image, masks


def ask(name, image, *items):
    model = load_model(name)
    return model.decode(model.embed(image), Prompts(image.geometry, items)).mask


def test_the_ellipse_touches_the_sides_of_its_box():
    image, _ = scene(((30, 20), 10))
    i, j, _ = np.nonzero(ask("ellipse", image, BOX))
    assert (i.min(), i.max() + 1, j.min(), j.max() + 1) == (20, 41, 10, 31)
    assert len(i) == pytest.approx(np.pi * 10.5**2, rel=0.02)


@pytest.mark.parametrize("name", ["ellipse", "otsu", *MARKED])
def test_a_plain_disk_is_found_from_its_box(name):
    image, (truth,) = scene(((30, 20), 10))
    assert dice(truth, ask(name, image, BOX)) > 0.94


@pytest.mark.parametrize("name", MARKED)
def test_a_plain_disk_is_found_from_a_click_and_from_a_stroke(name):
    image, (truth,) = scene(((30, 20), 10))
    assert dice(truth, ask(name, image, Point((30, 20, 0)))) > 0.94
    stroke = np.array([(i, 20, 0) for i in range(25, 36)])
    assert dice(truth, ask(name, image, Scribble(stroke))) > 0.94


@pytest.mark.parametrize("name", MARKED)
def test_a_click_beside_takes_away_what_it_is_on(name):
    image, (first, second) = scene(((25, 20), 8), ((55, 40), 8))
    both = Box((10, 5, 0), (70, 55, 1))
    found = ask(name, image, both, Point((25, 20, 0)), Point((55, 40, 0), positive=False))
    assert found[25, 20, 0]
    assert not found[55, 40, 0]
    assert dice(first, found & ~second) > 0.9


@pytest.mark.parametrize("name", MARKED)
def test_marks_are_kept_even_where_the_image_says_otherwise(name):
    image, _ = scene(((30, 20), 10))
    found = ask(name, image, Point((30, 20, 0)), Point((60, 45, 0)), Point((33, 20, 0), positive=False))
    assert found[60, 45, 0]
    assert not found[33, 20, 0]


def test_an_earlier_prediction_says_where_the_object_is_if_the_prompts_do_not():
    image, (truth,) = scene(((30, 20), 10))
    model = load_model("geodesic")
    embedding = model.embed(image)
    before = model.decode(embedding, Prompts(image.geometry, (Point((30, 20, 0)),)))
    negative = Prompts(image.geometry, (Point((3, 3, 0), positive=False),))
    assert dice(truth, model.decode(embedding, negative, before).mask) > 0.94


def test_what_sees_boxes_only_refuses_clicks():
    image, _ = scene(((30, 20), 10))
    with pytest.raises(UnsupportedPromptError, match="box"):
        ask("otsu", image, Point((30, 20, 0)))


def test_a_stroke_survives_the_shrinking_of_a_large_picture():
    image, (truth,) = scene(((700, 300), 200), shape=(1500, 700))
    seen = []

    class Spy:
        slow = True

        def __call__(self, picture, marks):
            seen.append((picture.shape, marks.box, int(marks.on.sum())))
            return marks.on

    model = ClassicalModel(load_model("geodesic").card, Spy())
    stroke = np.array([(i, 300, 0) for i in range(600, 800)])
    box = Box((500, 100, 0), (901, 501, 1))
    found = model.decode(model.embed(image), Prompts(image.geometry, (Scribble(stroke), box))).mask
    assert seen == [((512, 239, 3), (171, 34, 308, 171), pytest.approx(68, abs=1))]
    assert found.shape == (1500, 700, 1)
    assert found[610:790, 300].all()
    assert dice(truth, ask("geodesic", image, Point((700, 300, 0)))) > 0.95


def test_grabcut_without_opencv_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"samaritan\[evaluate\]"):
        load_model("grabcut")


def test_no_iou_is_predicted():
    image, _ = scene(((30, 20), 10))
    found = load_model("random-walker").decode(
        load_model("random-walker").embed(image), Prompts(image.geometry, (Point((30, 20, 0)),))
    )
    assert np.isnan(found.scores).all()
