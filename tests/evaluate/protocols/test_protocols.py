import numpy as np
import pytest

from samaritan.autoprompt.simulate import Target, tight_box
from samaritan.core.errors import UnknownNameError
from samaritan.core.geometry import Geometry
from samaritan.core.prompts import Box
from samaritan.evaluate.protocols import PROTOCOLS, SUITES, Answer, chosen
from samaritan.evaluate.protocols.components import components
from samaritan.evaluate.protocols.cvpr25 import challenge_box, challenge_click, scores


def two_discs():
    """A large disc and a small one, apart, in a picture."""
    i, j = np.mgrid[:80, :60]
    large, small = np.hypot(i - 25, j - 30) <= 14, np.hypot(i - 62, j - 20) <= 6
    return Target.of_picture(large | small), large[..., None], small[..., None]


def ball():
    grid = np.mgrid[:24, :20, :10]
    mask = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, (11, 9, 5), (6, 5, 3), strict=True)) <= 1
    return Target(mask, Geometry.from_spacing(mask.shape, (1.0, 1.0, 2.0)))


def answered(name, target, answer=None, seed=0):
    """Carry a protocol out with a model that answers ``answer(question)``, by default with nothing; its questions."""
    asking = PROTOCOLS.get(name).run(target, np.random.default_rng(seed))
    questions = []
    question = next(asking, None)
    while question is not None:
        questions.append(question)
        mask = np.zeros_like(target.mask) if answer is None else answer(question)
        try:
            question = asking.send(Answer(mask[None], np.ones(1, np.float32)))
        except StopIteration:
            question = None
    return questions


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_protocol_asks_what_it_says_within_the_object(name):
    protocol = PROTOCOLS.get(name)
    target = ball() if protocol.dims == 3 else two_discs()[0]
    questions = answered(name, target)
    assert questions
    assert protocol.title
    kinds = {kind for q in questions for prompts in q.prompts or () for kind in prompts.kinds}
    assert kinds <= protocol.kinds
    assert not questions[0].refines
    for question in questions:
        for prompts in question.prompts or ():
            assert prompts.geometry == target.geometry
            assert all(target.mask[point.voxel] for point in prompts.points if point.positive)
    again = answered(name, target)
    assert [q.step for q in again] == [q.step for q in questions]
    assert [[p.to_dict() for p in q.prompts or ()] for q in again] == [
        [p.to_dict() for p in q.prompts or ()] for q in questions
    ]


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_a_voxel_can_be_asked_for(name):
    mask = np.zeros((5, 4, 3), bool)
    mask[2, 1, 1] = True
    volume = Target(mask, Geometry.from_spacing(mask.shape))
    protocol = PROTOCOLS.get(name)
    target = volume if protocol.dims == 3 else Target.of_picture(mask[..., 1])
    assert answered(name, target)


def test_the_modes_of_mazurowski():
    target, large, small = two_discs()
    (m1,) = answered("m1", target)
    (m2,) = answered("m2", target)
    (m3,) = answered("m3", target)
    (m4,) = answered("m4", target)
    (m5,) = answered("m5", target)
    grid = target.geometry
    assert [point.voxel for point in m1.prompts[0].points] == [(25, 30, 0)]
    assert {point.voxel for point in m2.prompts[0].points} == {(25, 30, 0), (62, 20, 0)}
    assert m3.prompts[0].boxes == (tight_box(Target(large, grid)),)
    assert [p.boxes for p in m4.prompts] == [(tight_box(Target(large, grid)),), (tight_box(Target(small, grid)),)]
    assert m5.prompts[0].boxes == (tight_box(target),)


def test_points_in_turn_go_where_most_is_wrong():
    target, large, small = two_discs()
    spilt = large.copy()
    spilt[40:70, 40:60] = True
    questions = answered("m-points", target, lambda _: spilt)
    assert [len(q.prompts[0].points) for q in questions] == list(range(1, 10))
    second = questions[1].prompts[0].points[1]
    assert not second.positive  # the spill is deeper than the disc that is missed
    assert spilt[second.voxel]
    assert not any(q.refines for q in questions)
    assert not target.mask[second.voxel] or small[second.voxel]


def test_the_deepest_points_are_apart():
    (first, *_, last) = answered("points-deepest", two_discs()[0])
    assert [len(q.prompts[0].points) for q in (first, last)] == [1, 20]
    assert len({point.voxel for point in last.prompts[0].points}) == 20


def test_jitter_grows_and_begins_with_the_tight_box():
    target, *_ = two_discs()
    for name, sign in (("box-inward", 1), ("box-outward", -1)):
        boxes = [q.prompts[0].boxes[0] for q in answered(name, target)]
        assert boxes[0] == tight_box(target)
        starts = np.array([box.start for box in boxes])
        assert (sign * np.diff(starts[:, 0]) >= 0).all()
    assert answered("box-whole", target)[0].prompts[0].boxes == (Box((0, 0, 0), (80, 60, 1)),)


def test_corrective_clicks_refine_and_end_when_nothing_is_wrong():
    target, large, _ = two_discs()
    questions = answered("clicks", target, lambda _: large)
    assert [q.refines for q in questions] == [False] + [True] * 9
    assert [len(q.prompts[0].points) for q in questions] == list(range(1, 11))
    perfect = answered("clicks", target, lambda _: target.mask)
    assert [len(q.prompts[0].points) for q in perfect] == [1] * 10
    boxed = answered("box-clicks", target)
    assert [(len(q.prompts[0].boxes), len(q.prompts[0].points)) for q in boxed] == [(1, n) for n in range(6)]


def test_corruptions_are_seven_in_five_severities():
    questions = answered("corrupted-images", two_discs()[0])
    assert questions[0].corruption == ("none", 0)
    assert len({q.corruption for q in questions}) == 1 + 7 * 5


# -- CVPR 2025 --------------------------------------------------------------------------------------------------


def test_the_challenge_clicks_in_the_largest_error_not_in_the_deepest():
    reference = np.zeros((30, 30, 8), bool)
    reference[2:28, 2:4, 1:7] = True  # a sheet: large and shallow
    predicted = np.zeros_like(reference)
    predicted[10:15, 20:25, 2:6] = True  # a block: small and deep, and wrong
    click = challenge_click(reference, predicted)
    assert click.positive
    assert reference[click.voxel]
    without = challenge_click(reference & False, predicted)
    assert not without.positive
    assert predicted[without.voxel]
    assert challenge_click(reference, reference) is None


def test_the_challenge_clicks_where_its_script_would():
    # A block of 5 x 5 x 5 whose depth is greatest in one voxel, and one of 4 x 4 x 4, where eight are as deep.
    reference = np.zeros((12, 12, 12), bool)
    reference[3:8, 2:7, 4:9] = True
    assert challenge_click(reference, reference & False).voxel == (5, 4, 6)
    even = np.zeros((12, 12, 12), bool)
    even[3:7, 2:6, 4:8] = True
    deepest = np.argwhere(np.pad(np.ones((2, 2, 2), bool), ((5, 5), (3, 7), (4, 6))))  # (k, j, i), as in the script
    np.random.seed(42)  # noqa: NPY002  # as the script does
    k, j, i = deepest[np.random.choice(len(deepest))]  # noqa: NPY002
    assert challenge_click(even, even & False).voxel == (i, j, k)


def test_depth_is_in_voxels_whatever_the_spacing_and_the_border_is_outside():
    reference = np.zeros((9, 9, 3), bool)
    reference[:5, :5, :] = True
    assert challenge_click(reference, reference & False).voxel[2] == 1


def test_the_box_is_on_the_middle_slice():
    target = ball()
    boxes = {challenge_box(target, np.random.default_rng(seed)) for seed in range(20)}
    held = np.flatnonzero(target.mask.any(axis=(0, 1)))
    assert {(box.start[2], box.stop[2]) for box in boxes} == {(held[0], held[-1] + 1)}
    assert {box.start[:2] for box in boxes} == {(5, 4)}  # a shift of up to 5 of 256 is less than a pixel of 24
    wide = Target(np.pad(target.mask, ((100, 132), (100, 136), (0, 0))), Geometry.from_spacing((256, 256, 10)))
    shifts = {105 - challenge_box(wide, np.random.default_rng(seed)).start[0] for seed in range(60)}
    assert shifts == {0, 1, 2, 3, 4, 5}


def test_the_challenge_scores_by_hand():
    dice = np.array([[0.1, 0.2], [0.2, 0.2], [0.4, 0.6], [0.6, 0.8], [0.8, 0.8], [0.9, 0.9]])
    nsd = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.7], [0.7, 0.9], [0.9, 0.9], [1.0, 1.0]])
    found = scores(dice, nsd)
    assert found["dice_auc"] == pytest.approx((0.2 + 0.9) / 2 + 0.5 + 0.7 + 0.8, abs=1e-9)
    assert found["nsd_auc"] == pytest.approx((0.0 + 1.0) / 2 + 0.6 + 0.8 + 0.9, abs=1e-9)  # at Dice .2 NSD counts 0
    assert (found["dice_final"], found["nsd_final"]) == (0.9, 1.0)
    assert scores(dice[1:], nsd[1:]) == found  # without the box's step
    perfect = np.ones((6, 3))
    assert scores(perfect, perfect)["dice_auc"] == 4.0


# -- names ------------------------------------------------------------------------------------------------------


def test_suites_name_protocols_that_exist():
    for suite in SUITES:
        assert chosen(suites=[suite]) == SUITES[suite]
    assert set(PROTOCOLS) == {name for names in SUITES.values() for name in names}
    assert chosen(["box", "box", "clicks"]) == ("box", "clicks")
    assert chosen()
    with pytest.raises(UnknownNameError, match="Did you mean 'zero-shot'"):
        chosen(suites=["zeroshot"])
    with pytest.raises(UnknownNameError, match="unknown protocol"):
        chosen(["bax"])


def test_components_come_largest_first_and_touch_at_corners():
    target, large, small = two_discs()
    assert [np.array_equal(piece.mask, mask) for piece, mask in zip(components(target), (large, small), strict=True)]
    corner = np.zeros((4, 4), bool)
    corner[0, 0] = corner[1, 1] = True
    assert len(components(Target.of_picture(corner))) == 1
