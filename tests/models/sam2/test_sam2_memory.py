"""SAM 2's memory does from slice to slice what its own package does from frame to frame, for the same weights."""

import functools

import numpy as np
import pytest
import torch
from tests.models.sam2.reference import bias_presence, doubles, make_pair

from samaritan.models.planar import Tokens
from samaritan.models.sam2.tracker import Bank

pytestmark = pytest.mark.slow

SIDE = 128
EXACT = 1e-10
SLICES = 24
BOX = ([(20.0, 25.0), (100.0, 90.0)], [2, 3])
CLICK = ([(50.0, 45.0)], [1])
CLICKS = ([(50.0, 45.0), (15.0, 100.0)], [1, 0])


@functools.cache
def exact(*, newer):
    """Return a pair in float64; among ``doubles`` only."""
    return make_pair(newer=newer, side=SIDE)


@pytest.fixture(params=["2.1", "2.1, absent", "2"])
def pair(request):
    """The package's model and ours, in float64; one of a kind by which the object is nowhere to be seen."""
    with doubles():
        found = exact(newer=request.param != "2")
        bias_presence(*found, -9.0 if "absent" in request.param else 9.0)
        yield found


@functools.cache
def picture(index):
    rng = np.random.default_rng(index)
    coarse = torch.from_numpy(rng.normal(0, 1, (1, 3, 16, 16)).astype(np.float32))
    return torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")


@functools.cache
def encoded(model, index):
    with torch.no_grad():
        return model.forward_image(picture(index))


class Theirs:
    """Tracks as the package's video predictor does: its ``track_step``, and what that remembers."""

    def __init__(self, model):
        self.model, self.seen = model, {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

    @torch.no_grad()
    def step(self, index, prompt=None, *, first=False, drawn=None):
        out = encoded(self.model, index)
        _, features, places, sizes = self.model._prepare_backbone_features(out)
        points = prompt and {
            "point_coords": torch.tensor([prompt[0]]), "point_labels": torch.tensor([prompt[1]], dtype=torch.int32)
        }  # fmt: skip
        mask = None if drawn is None else torch.from_numpy(drawn).float()[None, None]
        found = self.model.track_step(index, first, features, places, sizes, points, mask, self.seen, SLICES)
        self.seen["cond_frame_outputs" if first else "non_cond_frame_outputs"][index] = found
        return found


def tokens(prompt):
    coords = np.array([*prompt[0]], np.float32) + np.float32(0.5)
    labels = np.array(prompt[1])
    if 2 not in labels:
        coords, labels = np.concatenate([coords, np.zeros((1, 2), np.float32)]), np.append(labels, -1)
    return Tokens(coords, labels, None)


@functools.cache
def features(ours, index):
    return ours.encode(picture(index).numpy())


def compare(seen, found, *, atol=EXACT):
    """Compare what was seen of a slice and what is remembered; return that."""
    pairs = (torch.from_numpy(seen.logits), "pred_masks"), (seen.memory.pointer, "obj_ptr")
    for ours, name in (*pairs, (seen.memory.cells, "maskmem_features")):
        assert (found[name] - ours).abs().max() <= atol, name
    return seen.memory


@pytest.mark.parametrize("prompt", [BOX, CLICK, CLICKS], ids=["box", "click", "clicks"])
def test_a_prompted_slice_is_seen_and_remembered_the_same(pair, prompt):
    theirs, ours = pair
    seen = ours.ask(features(ours, 3), tokens(prompt), sure=False)
    compare(seen, Theirs(theirs).step(3, prompt, first=True))


def test_a_drawn_slice_is_remembered_the_same(pair):
    theirs, ours = pair
    for area in (np.zeros((SIDE, SIDE), bool), np.add.outer(np.arange(SIDE), np.arange(SIDE)) < 100):
        # A step takes the sigmoid of logits of 10 for it, the predictor yes or no, as we do: see test_sam2_walk.
        compare(ours.show(features(ours, 3), area), Theirs(theirs).step(3, first=True, drawn=area), atol=1e-5)


def test_slices_are_followed_the_same(pair):
    theirs, ours = pair
    prompted = {10: BOX, 12: CLICK}
    track, bank = Theirs(theirs), Bank({}, SLICES, 1)
    for index, prompt in prompted.items():
        bank.asked[index] = compare(
            ours.ask(features(ours, index), tokens(prompt), sure=False), track.step(index, prompt, first=True)
        )
    for index in (11, 13, 14):
        bank.remember(index, compare(ours.follow(features(ours, index), index, bank), track.step(index)))


def test_a_person_s_word_counts_more_than_the_network_s(pair):
    _, ours = pair
    sure, unsure = (ours.ask(features(ours, 3), tokens(BOX), sure=sure) for sure in (True, False))
    assert sure.logits.min() > -1000
    assert (unsure.logits.max() < -1000) == (ours.decoder.mask_decoder.pred_obj_score_head.proj_out.bias.item() < 0)
