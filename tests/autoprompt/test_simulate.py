"""Simulated users: what they promise about where they click, box and draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from samaritan.autoprompt import simulate as people
from samaritan.autoprompt.simulate import KINDS, Recipe, Target
from samaritan.core.errors import GeometryMismatchError, PromptError, UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Scribble


def _disc(shape, centre, radius):
    i, j = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (i - centre[0]) ** 2 + (j - centre[1]) ** 2 <= radius**2


def _ring(shape, centre, radius, hole):
    return _disc(shape, centre, radius) & ~_disc(shape, centre, hole)


SHAPES = {
    "disc": _disc((80, 64), (40, 30), 20),
    "ring": _ring((80, 64), (40, 30), 24, 16),
    "at the corner": _disc((80, 64), (0, 0), 15),
    "one pixel": _disc((80, 64), (12, 50), 0),
    "thin": np.eye(80, 64, dtype=bool),
    "everything": np.ones((40, 30), bool),
    "two pieces": _disc((80, 64), (20, 20), 8) | _disc((80, 64), (60, 50), 5),
}


@pytest.fixture(params=sorted(SHAPES), ids=lambda name: name.replace(" ", "_"))
def target(request):
    return Target.of_picture(SHAPES[request.param])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def _volume(mask, spacing):
    return Target(mask, Geometry(mask.shape, np.diag([*spacing, 1.0])))


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


# --- targets


def test_a_target_must_be_something_on_its_grid():
    with pytest.raises(PromptError, match="empty mask"):
        Target.of_picture(np.zeros((8, 8), bool))
    with pytest.raises(GeometryMismatchError):
        Target(np.ones((8, 8, 1), bool), Geometry.picture(9, 8))


# --- clicks


def test_clicks_are_where_they_say(target, rng):
    assert target.mask[people.centre_click(target).voxel]
    for _ in range(20):
        assert target.mask[people.random_click(target, rng).voxel]
        assert target.mask[people.edge_click(target, rng).voxel]
        outside = people.outside_click(target, rng)
        assert (outside is None) == target.mask.all()
        assert outside is None or (not outside.positive and not target.mask[outside.voxel])


def test_the_centre_of_a_ring_is_in_its_wall_and_that_of_a_disc_in_its_middle():
    assert people.centre_click(Target.of_picture(SHAPES["disc"])).voxel == (40, 30, 0)
    ring = people.centre_click(Target.of_picture(SHAPES["ring"])).voxel
    assert 18 <= np.hypot(ring[0] - 40, ring[1] - 30) <= 22


def test_depth_is_in_millimetres_not_voxels():
    mask = np.zeros((30, 30, 30), bool)
    mask[2:12, 2:12, 2:8] = True  # 10 x 10 x 6 voxels
    mask[16:29, 16:29, 16:20] = True  # 13 x 13 x 4 voxels
    narrow, wide = (people.centre_click(_volume(mask, (1.0, 1.0, thickness))).voxel for thickness in (1.0, 10.0))
    assert narrow[2] in {4, 5}  # 3 mm deep: the slices limit it, and the first block has more of them
    assert wide[:2] == (22, 22)  # 7 mm deep: the second block is wider


def test_depth_of_a_plane_with_unequal_sides_of_pixels_is_in_millimetres():
    plane = Geometry((30, 40, 9), np.diag([1.0, 4.0, 3.0, 1.0])).plane("k", 4)
    mask = np.zeros(plane.shape, bool)
    mask[2:12, 2:10, 0] = True  # 10 x 32 mm: 5 mm deep
    mask[14:29, 14:18, 0] = True  # 15 x 16 mm, but 4 pixels wide: 8 mm deep
    target = Target(mask, plane)
    assert target.depth.max() == pytest.approx(8)
    assert people.centre_click(target).voxel[1] in {15, 16}


def test_corrections_hit_the_deepest_error_with_the_right_sign():
    reference = SHAPES["disc"][..., None]
    grid = Geometry.picture(80, 64)
    nothing = np.zeros_like(reference)
    assert people.next_click(reference, nothing, grid) == people.centre_click(Target(reference, grid))
    spilled = reference | _disc((80, 64), (70, 55), 6)[..., None]
    assert people.next_click(reference, spilled, grid) == Point((70, 55, 0), positive=False)
    missed = reference & ~_disc((80, 64), (40, 30), 6)[..., None]
    assert people.next_click(reference, missed, grid) == Point((40, 30, 0))
    assert people.next_click(reference, reference, grid) is None
    with pytest.raises(GeometryMismatchError):
        people.next_click(reference, nothing[:-1], grid)


def test_clicks_until_done_never_repeat_and_reach_the_object():
    reference, predicted = SHAPES["ring"][..., None], np.zeros((80, 64, 1), bool)
    seen = set()
    for _ in range(30):
        click = people.next_click(reference, predicted, Geometry.picture(80, 64))
        if click is None:
            break
        assert click.voxel not in seen
        seen.add(click.voxel)
        near = _disc((80, 64), click.voxel[:2], 9)[..., None]
        predicted = np.where(near, reference, predicted)
    assert _dice(reference, predicted) > 0.95


# --- boxes


def test_the_tight_box_holds_the_object_and_nothing_smaller_does(target):
    box = people.tight_box(target)
    inside = target.mask[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))]
    assert inside.sum() == target.mask.sum()
    assert all(inside.any(axis=tuple({0, 1, 2} - {axis})).take([0, -1]).all() for axis in range(3))


def test_jitter_is_bounded_and_goes_where_it_is_told(target, rng):
    tight = people.tight_box(target)
    sides = np.subtract(tight.stop, tight.start)
    for _ in range(20):
        loose = people.jittered_box(target, rng, inward=0.0, outward=0.3)
        assert (np.array(loose.start) <= tight.start).all()
        assert (np.array(loose.stop) >= tight.stop).all()
        either = people.jittered_box(target, rng)
        for moved, still in ((either.start, tight.start), (either.stop, tight.stop)):
            assert (np.abs(np.subtract(moved, still)) <= 0.1 * sides + 0.5).all()


def test_a_careless_box_has_room_around_the_object(rng):
    target = Target.of_picture(SHAPES["disc"])
    tight, rooms = people.tight_box(target), []
    for _ in range(30):
        [wide] = people.simulate(target, rng, Recipe({"wide box": 1.0})).items
        rooms += [*np.subtract(tight.start, wide.start)[:2], *np.subtract(wide.stop, tight.stop)[:2]]
    assert min(rooms) >= 0
    assert max(rooms) > 0.2 * (tight.stop[0] - tight.start[0])


def test_a_box_in_a_volume_is_jittered_along_all_three_axes(rng):
    mask = np.zeros((40, 40, 40), bool)
    mask[10:30, 10:30, 10:30] = True
    boxes = [people.jittered_box(_volume(mask, (1, 1, 1)), rng) for _ in range(10)]
    assert len({box.start[2] for box in boxes}) > 1


# --- strokes


@pytest.mark.parametrize("draw", [people.line, people.centre_line, people.contour])
def test_scribbles_stay_in_the_object(target, rng, draw):
    for _ in range(5):
        voxels = draw(target, rng).voxels
        assert target.mask[tuple(voxels.T)].all()


def test_scribbles_are_strokes_not_dots_nor_fills():
    target, rng = Target.of_picture(SHAPES["disc"]), np.random.default_rng(1)
    for draw in (people.line, people.centre_line, people.contour):
        sizes = [len(draw(target, rng).voxels) / target.mask.sum() for _ in range(10)]
        assert 0.003 < np.mean(sizes) < 0.2


def _angles_around(strokes, centre):
    """Return how many of 36 directions from ``centre`` each stroke covers."""
    covered = []
    for stroke in strokes:
        i, j = (stroke.voxels[:, :2] - centre).T
        covered.append(len(np.unique(np.floor(np.degrees(np.arctan2(i, j)) / 10) % 36)))
    return np.array(covered)


def test_along_a_wall_people_draw_around_the_cavity_halfway_between_its_sides(rng):
    strokes = [people.centre_line(Target.of_picture(SHAPES["ring"]), rng) for _ in range(40)]
    covered = _angles_around(strokes, (40, 30))
    assert covered.max() == 36  # all around
    assert covered.min() < 27  # or only a part
    radii = np.concatenate([np.hypot(*(stroke.voxels[:, :2] - (40, 30)).T) for stroke in strokes])
    assert abs(radii.mean() - 20) < 1


def test_strokes_along_closed_lines_begin_anywhere(rng):
    whole = Target.of_picture(SHAPES["ring"])
    for draw in (people.centre_line, people.contour):
        middles = [draw(whole, rng).voxels[:, :2].mean(axis=0) - (40, 30) for _ in range(60)]
        for axis in (0, 1):
            along = [middle[axis] for middle in middles]
            assert min(along) < -2 < 2 < max(along)


def test_the_pen_is_lifted_now_and_then():
    target, rng = Target.of_picture(SHAPES["disc"]), np.random.default_rng(3)
    pieces = [ndimage.label(_on_grid(people.line(target, rng), target), np.ones((3, 3)))[1] for _ in range(60)]
    assert 0.05 < np.mean(np.array(pieces) > 1) < 0.4


def _on_grid(stroke, target):
    drawn = np.zeros(target.mask.shape[:2], bool)
    drawn[tuple(stroke.voxels[:, :2].T)] = True
    return drawn


def test_negative_strokes_stay_outside(target, rng):
    stroke = people.negative_stroke(target, rng)
    if target.mask.all():
        assert stroke is None
    elif stroke is not None:
        assert not stroke.positive
        assert not target.mask[tuple(stroke.voxels.T)].any()


def test_negative_strokes_run_near_and_far():
    target, rng = Target.of_picture(SHAPES["disc"]), np.random.default_rng(0)
    away = ndimage.distance_transform_edt(~target.mask[..., 0])
    drawn = [people.negative_stroke(target, rng) for _ in range(40)]
    nearest = [away[tuple(stroke.voxels[:, :2].T)].min() for stroke in drawn if stroke is not None]
    assert np.min(nearest) < 0.2 * np.max(nearest)


def test_a_lasso_is_about_the_object():
    for name in ("disc", "ring", "at the corner"):
        target = Target.of_picture(SHAPES[name])
        lasso = people.lasso(target, np.random.default_rng(2))
        low, high = lasso.vertices.min(axis=0), lasso.vertices.max(axis=0)
        box = people.tight_box(target)
        assert np.abs(low[:2] - box.start[:2]).max() < 6
        assert np.abs(high[:2] - np.array(box.stop[:2]) + 1).max() < 6


def test_in_a_volume_strokes_lie_in_the_slice_where_the_object_is_largest(rng):
    mask = np.zeros((40, 40, 9), bool)
    for k, radius in enumerate((2, 4, 6, 8, 12, 9, 6, 4, 2)):
        mask[..., k] = _disc((40, 40), (20, 20), radius)
    target = _volume(mask, (1, 1, 3))
    assert set(people.centre_line(target, rng).voxels[:, 2]) == {4}
    assert people.lasso(target, rng).slice_index == 4


# --- masks


def test_wrong_masks_are_wrong_at_the_boundary_but_right_in_the_main(rng):
    target = Target.of_picture(SHAPES["disc"])
    scores = [_dice(target.mask, people.wrong_mask(target, rng).mask) for _ in range(30)]
    assert 0.7 < np.mean(scores) < 0.97
    assert max(scores) > 0.97  # now and then hardly wrong
    far = ~_disc((80, 64), (40, 30), 35)[..., None]
    assert not any((people.wrong_mask(target, rng).mask & far).any() for _ in range(10))


def test_wrong_masks_of_anything_are_something(target, rng):
    for _ in range(5):
        assert people.wrong_mask(target, rng, strength=2.0).mask.any()


# --- mixtures


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_works_on_every_shape_and_repeats_with_its_seed(target, kind):
    recipe = Recipe({kind: 1.0}, wrong_click_share=0.5)
    first, again = (people.simulate(target, np.random.default_rng(7), recipe) for _ in range(2))
    assert first
    assert first.to_dict() == again.to_dict()


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (8, 8), (64, 64), (300, 200)])
def test_every_kind_works_on_images_that_the_object_fills_and_on_single_pixels(shape, kind):
    single = np.zeros(shape, bool)
    single[shape[0] // 2, shape[1] // 2] = True
    for mask in (np.ones(shape, bool), single):
        for seed in range(3):  # not every lasso around a large object was far enough out to fail
            people.simulate(Target.of_picture(mask), np.random.default_rng(seed), Recipe({kind: 1.0}))


def test_the_everyday_recipe_mixes_all_kinds():
    target, rng = Target.of_picture(SHAPES["disc"]), np.random.default_rng(0)
    seen = [people.simulate(target, rng) for _ in range(300)]
    kinds = [type(item) for prompts in seen for item in prompts.items]
    assert {Point, Box, Scribble, Lasso, MaskPrompt} <= set(kinds)
    lone = sum(len(p.items) == 1 and isinstance(p.items[0], Point) for p in seen)
    assert 30 < lone < 90


def test_wrong_clicks_have_the_wrong_sign():
    target, rng = Target.of_picture(SHAPES["disc"]), np.random.default_rng(0)
    recipe = Recipe({"box": 1.0}, wrong_click_share=1.0)
    for _ in range(20):
        (click,) = people.simulate(target, rng, recipe).points
        assert target.mask[click.voxel] != click.positive


def test_an_unknown_kind_is_named():
    target = Target.of_picture(SHAPES["disc"])
    with pytest.raises(UnknownNameError, match="'clik'"):
        people.simulate(target, np.random.default_rng(0), Recipe({"clik": 1.0}))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_anything_goes_for_random_scraps(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((12, 9)) < 0.2
    mask[0, 0] = True
    assert people.simulate(Target.of_picture(mask), rng)


# --- ambiguity


def test_a_click_on_a_nucleus_may_mean_the_cell():
    parts = np.zeros((20, 20, 1), np.uint16)
    parts[2:18, 2:18] = 1
    parts[8:12, 8:12] = 2
    objects = [(1, 2), (1,), (2,)]
    assert people.meanings(Point((9, 9, 0)), parts, objects) == ((2,), (1, 2))
    assert people.meanings(Point((4, 4, 0)), parts, objects) == ((1,), (1, 2))
    assert people.meanings(Point((0, 0, 0)), parts, objects) == ()
