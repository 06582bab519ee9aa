"""The data engine: endless, seeded, in range, and never empty."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="synthesis needs the extra 'train'")

from samaritan.core.errors import UnknownNameError
from samaritan.data.synthesis import (
    APPEARANCES,
    SHAPES,
    Canvas,
    contact_sheet,
    deform,
    draw_scene,
    paint_scene,
    spoil,
)
from samaritan.data.synthesis.artefacts import ARTEFACTS, colour_mix, tone_curve
from samaritan.data.synthesis.noise import smooth_noise
from samaritan.data.synthesis.scene import LEAST_SIDE


@pytest.mark.parametrize("name", list(APPEARANCES))
def test_every_appearance_draws_scenes_with_something_in_them(name):
    for seed in range(3):
        scene = draw_scene(96, np.random.default_rng(seed), appearance=name)
        assert scene.appearance == name
        assert scene.image.shape == (96, 96, 3)
        assert scene.image.dtype == np.uint8
        assert scene.parts.dtype == np.uint16
        assert scene.objects
        for members in scene.objects:
            assert scene.mask(members).sum() >= 24
            assert all((scene.parts == part).any() for part in members)


def test_a_seed_decides_everything():
    first, again, other = (draw_scene(64, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.parts, again.parts)
    assert first.objects == again.objects
    assert not np.array_equal(first.parts, other.parts)


def test_all_appearances_turn_up():
    rng = np.random.default_rng(0)
    assert {draw_scene(32, rng).appearance for _ in range(150)} == set(APPEARANCES)


@pytest.mark.parametrize("name", list(APPEARANCES))
def test_the_least_scenes_hold_something_and_lesser_ones_are_refused(name):
    scene = draw_scene(LEAST_SIDE, np.random.default_rng(0), appearance=name)
    assert scene.parts.shape == (LEAST_SIDE, LEAST_SIDE)
    assert scene.objects
    for side in (0, 4, LEAST_SIDE - 1):
        with pytest.raises(ValueError, match="16 at least"):
            draw_scene(side, np.random.default_rng(0), appearance=name)


def test_an_unknown_appearance_is_named():
    with pytest.raises(UnknownNameError, match=r"ultrasuond.*Did you mean"):
        draw_scene(32, np.random.default_rng(0), appearance="ultrasuond")


@pytest.mark.parametrize("name", list(SHAPES))
def test_every_shape_draws_what_it_offers(name):
    offered = 0
    for seed in range(6):
        canvas = Canvas.empty(128)
        SHAPES.get(name)(canvas, np.random.default_rng(seed))
        assert canvas.parts.max() <= canvas.count
        assert all(1 <= part <= canvas.count for members in canvas.objects for part in members)
        offered += sum(bool(np.isin(canvas.parts, members).any()) for members in canvas.objects)
    assert offered > 3


def test_touching_parts_share_a_boundary():
    canvas = Canvas.empty(128)
    SHAPES.get("touching")(canvas, np.random.default_rng(1))
    pairs = {
        tuple(sorted(pair)) for pair in zip(canvas.parts[:, 1:].ravel(), canvas.parts[:, :-1].ravel(), strict=True)
    }
    assert any(a > 0 and b > a for a, b in pairs)


@pytest.mark.parametrize("name", list(ARTEFACTS))
def test_artefacts_keep_the_shape_and_stay_finite(name):
    parts = np.zeros((64, 64), np.uint16)
    parts[20:44, 16:50] = 1
    image = np.asarray(APPEARANCES.get("histology")(parts, np.random.default_rng(5)), np.float32)
    changed = 0
    for seed in range(5):
        spoilt = ARTEFACTS.get(name)(image.copy(), np.random.default_rng(seed))
        assert spoilt.shape == image.shape
        assert np.isfinite(spoilt).all()
        changed += not np.array_equal(spoilt, image)
    assert changed == (0 if name == "inversion" else 5)  # colours are not inverted


def test_mixing_colours_leaves_grey_alone_and_a_tone_curve_keeps_equal_greys_equal():
    grey = np.repeat(np.linspace(0, 255, 32 * 32, dtype=np.float32).reshape(32, 32, 1), 3, axis=2)
    np.testing.assert_array_equal(colour_mix(grey, np.random.default_rng(0)), grey)
    bent = tone_curve(grey, np.random.default_rng(0))
    np.testing.assert_array_equal(bent[..., 0], bent[..., 2])
    assert not np.allclose(bent, grey, atol=10)


def test_spoilt_pictures_stay_in_range():
    image = np.asarray(draw_scene(64, np.random.default_rng(5)).image, np.float32)
    for seed in range(30):
        spoilt = spoil(image, np.random.default_rng(seed))
        assert spoilt.min() >= 0
        assert spoilt.max() <= 255


def test_deformed_anatomy_has_no_new_labels_and_keeps_its_size():
    parts = np.zeros((90, 120), np.uint16)
    parts[20:60, 30:80], parts[40:50, 40:60] = 7, 300
    for seed in range(10):
        bent = deform(parts, np.random.default_rng(seed))
        assert bent.shape == parts.shape
        assert set(np.unique(bent)) <= {0, 7, 300}
        assert 0.7 < (bent > 0).sum() / (parts > 0).sum() < 1.4


def test_a_boundary_is_there_to_be_found():
    """Of all things painted without artefacts, few may be invisible: the grey in and around them must differ."""
    parts = np.zeros((96, 96), np.uint16)
    parts[30:66, 30:66] = 1
    ring = np.zeros_like(parts, bool)
    ring[22:74, 22:74] = True
    ring &= parts == 0
    for name in ("any_contrast", "ct", "mr", "fluorescence", "oct_scan"):
        images = [APPEARANCES.get(name)(parts, np.random.default_rng(seed)).mean(axis=2) for seed in range(10)]
        differences = [abs(image[parts > 0].mean() - image[ring].mean()) for image in images]
        assert np.median(differences) > 8


def test_real_label_maps_can_be_painted():
    parts = np.zeros((64, 48), np.uint16)
    parts[10:40, 10:30] = 4
    scene = paint_scene(parts, ((4,),), np.random.default_rng(0), appearance="mr")
    assert scene.image.shape == (64, 48, 3)


def test_noise_has_the_grain_it_is_asked_for():
    rng = np.random.default_rng(0)
    fine, coarse = smooth_noise((128, 128), 1, rng), smooth_noise((128, 128), 16, rng)
    assert fine.std() == pytest.approx(1, rel=0.05)
    assert coarse.std() == pytest.approx(1, rel=0.05)
    assert np.abs(np.diff(coarse)).mean() < 0.25 * np.abs(np.diff(fine)).mean()


def test_contact_sheets_hold_every_scene():
    scenes = [draw_scene(48, np.random.default_rng(seed)) for seed in range(5)]
    assert contact_sheet(scenes, columns=3, side=64).shape == (2 * (64 + 18), 3 * 128, 3)
    assert contact_sheet(scenes[:1], columns=3, side=64).shape == (64 + 18, 128, 3)
    with pytest.raises(ValueError, match="no scenes"):
        contact_sheet([])
