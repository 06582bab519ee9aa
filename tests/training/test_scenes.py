"""Samples: valid, seeded, and drawn as often as they should be."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from training.tiny.scenes import SCENE_SHARE, Sampler

from samaritan.adapt.prompted.view import Balanced, View, anchor_of


def test_samples_are_valid(views):
    sampler = Sampler(views)
    for seed in range(20):
        sample = sampler.draw(64, np.random.default_rng(seed))
        assert sample.image.shape == (64, 64, 3)
        assert sample.image.dtype == np.float32
        assert sample.image.min() >= 0
        assert sample.image.max() <= 255
        assert sample.mask.shape == (64, 64)
        assert sample.mask.any()
        assert not sample.image[~sample.valid].any()


def test_the_same_generator_draws_the_same_sample(views):
    first, second = (Sampler(views).draw(64, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)


def test_without_views_there_are_synthetic_scenes():
    sample = Sampler([]).draw(64, np.random.default_rng(1))
    assert sample.image.std() > 1
    assert sample.mask.any()


def test_label_maps_without_an_image_are_painted():
    parts = np.zeros((80, 60), np.uint16)
    parts[20:60, 10:40] = 900
    sampler = Sampler([View("labels", "labels", None, parts, ((900,),), (1,))])
    sample = sampler.draw(64, np.random.default_rng(0))
    assert sample.image.std() > 1


def _empty(family, modality):
    return View(family, modality, np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint16), (), ())


def test_modalities_are_drawn_by_the_root_of_how_many_families_they_have():
    rare, common = [_empty("one", "CT")] * 30, [_empty(f"family {number}", "MR") for number in range(4)]
    balanced, rng = Balanced([*rare, *common]), np.random.default_rng(0)
    drawn = Counter(balanced.draw(rng).family for _ in range(3000))
    assert drawn["one"] / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert all(drawn[f"family {number}"] / 3000 == pytest.approx(1 / 6, abs=0.03) for number in range(4))


def test_rare_structures_of_a_view_are_drawn_as_often_as_common_ones():
    parts = np.zeros((64, 64), np.uint16)
    objects = []
    for number in range(1, 10):
        row, column = 20 * ((number - 1) // 3) + 2, 20 * ((number - 1) % 3) + 2
        parts[row : row + 16, column : column + 16] = number
        objects.append((number,))
    image = (parts * 25).astype(np.uint8)
    view = View("family", "MR", image, parts, tuple(objects), (1,) * 8 + (2,))
    rng = np.random.default_rng(0)
    picked = Counter(anchor_of(view, rng) for _ in range(1000))
    assert picked[(9,)] / 1000 == pytest.approx(1 / 2, abs=0.06)


def test_samples_say_what_they_were_cut_out_of(views):
    real, pieces = replace(views[0], family="real"), replace(views[1], family="cut")
    sampler, rng = Sampler([real], [pieces]), np.random.default_rng(0)
    sources = Counter(
        "scene" if source.startswith("scene: ") else "repainted" if source.startswith("real as ") else source
        for source in (sampler.draw(64, rng).source for _ in range(200))
    )
    assert set(sources) == {"scene", "real", "repainted", "piece of cut"}
    assert sources["scene"] / 200 == pytest.approx(SCENE_SHARE, abs=0.1)
    assert sources["repainted"] < sources["real"]
