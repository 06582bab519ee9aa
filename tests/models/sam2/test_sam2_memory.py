"""SAM 2's memory does from slice to slice what its own package does from frame to frame, for the same weights."""

import functools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from tests.models.references import original
from tests.models.sam2.reference import CELLS, SIDE, make, module, reference

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import sam2
from samaritan.models.planar import FrameSpec, Tokens
from samaritan.models.published import published
from samaritan.models.sam2.memory import Memory
from samaritan.models.sam2.tracker import Bank, Tracker

pytestmark = pytest.mark.slow

CLOSE = 1e-4
BY_A_PIXEL = 0.25  # of the memory's cells, 16 x 16 here
SLICES = 24
BOX = ([(40.0, 50.0), (200.0, 180.0)], [2, 3])
CLICK = ([(100.0, 90.0)], [1])
CLICKS = ([(100.0, 90.0), (30.0, 200.0)], [1, 0])


@pytest.fixture(params=["2.1", "2.1, absent", "2"])
def pair(request):
    """The package's model and ours; one of a kind by which the object is nowhere to be seen."""
    newer = request.param != "2"
    head, ours = reference(newer=newer).sam_mask_decoder.pred_obj_score_head.layers[2], module(newer=newer)
    bias = -9.0 if "absent" in request.param else 9.0
    with torch.no_grad():
        head.bias.fill_(bias)
        ours.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(bias)
    return reference(newer=newer), tracker(newer=newer)


@functools.cache
def tracker(*, newer):
    return Tracker(module(newer=newer), side=SIDE, device="cpu")


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
    def step(self, index, prompt=None, *, first=False, reverse=False, drawn=None, earlier=None):
        out = encoded(self.model, index)
        _, features, places, sizes = self.model._prepare_backbone_features(out)
        points = prompt and {
            "point_coords": torch.tensor([prompt[0]]), "point_labels": torch.tensor([prompt[1]], dtype=torch.int32)
        }  # fmt: skip
        mask = None if drawn is None else torch.from_numpy(drawn).float()[None, None]
        asked = (index, first, features, places, sizes, points, mask)
        found = self.model.track_step(*asked, self.seen, SLICES, reverse, prev_sam_mask_logits=earlier)
        self.seen["cond_frame_outputs" if first else "non_cond_frame_outputs"][index] = found
        return found


def tokens(prompt, mask=None):
    coords = np.array([*prompt[0]], np.float32) + np.float32(0.5)
    labels = np.array(prompt[1])
    if 2 not in labels:
        coords, labels = np.concatenate([coords, np.zeros((1, 2), np.float32)]), np.append(labels, -1)
    return Tokens(coords, labels, mask)


@functools.cache
def features(ours, index):
    return ours.encode(picture(index).numpy())


def compare(seen, found):
    """Compare what was seen of a slice and what is remembered; return their memory, to go on with.

    What is remembered of a prompted slice in SAM 2.0 is its mask in black and white: a pixel whose logit is all but 0
    may be either, by the number of threads already, and reaches the cells around it.
    """
    assert (found["pred_masks"][0, 0] - torch.from_numpy(seen.logits)).abs().max() <= CLOSE
    assert (found["obj_ptr"] - seen.memory.pointer).abs().max() <= CLOSE
    assert ((found["maskmem_features"] - seen.memory.cells).abs() > CLOSE).float().mean() < BY_A_PIXEL
    return Memory(found["maskmem_features"], found["obj_ptr"])


@pytest.mark.parametrize("prompt", [BOX, CLICK, CLICKS], ids=["box", "click", "clicks"])
def test_a_prompted_slice_is_seen_and_remembered_the_same(pair, prompt):
    theirs, ours = pair
    seen = ours.ask(features(ours, 3), tokens(prompt), sure=False)
    compare(seen, Theirs(theirs).step(3, prompt, first=True))


def test_a_drawn_slice_is_remembered_the_same(pair):
    theirs, ours = pair
    for area in (np.zeros((SIDE, SIDE), bool), np.add.outer(np.arange(SIDE), np.arange(SIDE)) < 200):
        compare(ours.show(features(ours, 3), area), Theirs(theirs).step(3, first=True, drawn=area))


def follow(theirs, ours, *, step, slices):
    """Follow the object past so many slices from the first of two prompted ones, comparing; return the memories."""
    prompted = {10: BOX, 12: CLICK}
    track = Theirs(theirs)
    asked = {
        index: compare(
            ours.ask(features(ours, index), tokens(prompt), sure=False), track.step(index, prompt, first=True)
        )
        for index, prompt in prompted.items()
    }
    bank = Bank(asked, SLICES, step)
    for index in range(10, 10 + (slices + 1) * step, step):
        if index not in prompted:
            seen = ours.follow(features(ours, index), index, bank)
            bank.followed[index] = compare(seen, track.step(index, reverse=step < 0))
    return bank


def test_slices_are_followed_upwards_the_same(pair):
    bank = follow(*pair, step=1, slices=4)
    assert set(bank.followed) == {11, 13, 14}


@pytest.mark.parametrize("pair", ["2.1"], indirect=True)
def test_slices_are_followed_downwards_the_same_until_the_first_is_forgotten(pair):
    bank = follow(*pair, step=-1, slices=8)
    assert len(bank.recall(1).recent) == 6 < len(bank.followed)


def test_a_correction_on_the_way_is_seen_the_same(pair):
    theirs, ours = pair
    track = Theirs(theirs)
    asked = ours.ask(features(ours, 10), tokens(BOX), sure=False)
    bank = Bank({10: compare(asked, track.step(10, BOX, first=True))}, SLICES, 1)
    mask = np.random.default_rng(0).normal(0, 4, (4 * CELLS, 4 * CELLS)).astype(np.float32)
    seen = ours.follow(features(ours, 11), 11, bank, tokens(CLICKS, mask))
    compare(seen, track.step(11, CLICKS, earlier=torch.from_numpy(mask)[None, None]))


def test_a_person_s_word_counts_more_than_the_network_s(pair):
    _, ours = pair
    sure, unsure = (ours.ask(features(ours, 3), tokens(BOX), sure=sure) for sure in (True, False))
    assert sure.logits.min() > -1000
    assert (unsure.logits.max() < -1000) == (ours.decoder.mask_decoder.pred_obj_score_head.proj_out.bias.item() < 0)


def video(frames, width, height):
    """Return what the package's video predictor keeps of a video, as its ``init_state`` does for a file."""
    names = ("point_inputs_per_obj", "mask_inputs_per_obj", "cached_features", "constants", "output_dict_per_obj")
    names += ("temp_output_dict_per_obj", "frames_tracked_per_obj")
    cpu = torch.device("cpu")
    return {
        **{name: {} for name in names},
        "images": frames,
        "num_frames": len(frames),
        "video_width": width,
        "video_height": height,
        "device": cpu,
        "storage_device": cpu,
        "obj_ids": [],
        "obj_id_to_idx": OrderedDict(),
        "obj_idx_to_id": OrderedDict(),
    }


@pytest.fixture
def predictors():
    """The package's video predictor, and ours, with the same weights: the object is seen everywhere."""
    predictor = make(newer=True, kind=original("sam2.sam2_video_predictor").SAM2VideoPredictor)
    predictor.load_state_dict(reference().state_dict())
    predictor.eval()
    predictor.add_all_frames_to_correct_as_cond = True
    ours = module()
    with torch.no_grad():
        predictor.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(9.0)
        ours.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(9.0)
    return predictor, sam2.FAMILY.model(ours, published("sam2.1-tiny-volume").card, FRAME, "cpu")


FRAME = FrameSpec(SIDE, fit="stretch", filter="bicubic")


def volume(width, height, slices):
    array = np.random.default_rng(0).integers(0, 256, (3, width, height, slices)).astype(np.float32)
    return Image(array, Geometry.from_spacing((width, height, slices)), RGB)


class Video:
    """A volume as the package has a video; boxes and clicks are those of the middles of pixels."""

    def __init__(self, predictor, embedding):
        width, height, slices = embedding.geometry.shape
        frames = torch.cat([torch.from_numpy(FRAME.picture(embedding.slice(index))) for index in range(slices)])
        self.predictor, self.state = predictor, video(frames, width, height)
        # It adds half a pixel of its frame.
        self.shift = 0.5 - np.array([width, height]) / (2 * SIDE)

    def box(self, index, start, stop):
        corners = np.concatenate([start + self.shift, np.subtract(stop, 1) + self.shift]).astype(np.float32)
        self.predictor.add_new_points_or_box(self.state, index, 1, box=corners)

    def click(self, index, at, *, positive):
        clicks, labels = (at + self.shift)[None].astype(np.float32), np.array([int(positive)])
        self.predictor.add_new_points_or_box(self.state, index, 1, points=clicks, labels=labels)

    def propagate(self, start, *, reverse):
        """Return the logits (i, j) of the slices from ``start``, without the memories of ways that were gone before."""
        self.state["output_dict_per_obj"][0]["non_cond_frame_outputs"].clear()
        gone = self.predictor.propagate_in_video(self.state, start_frame_idx=start, reverse=reverse)
        return {index: logits[0, 0].numpy().T for index, _, logits in gone}


def compare_slices(found, wanted, *, atol):
    for index, logits in wanted.items():
        assert logits.std() > 0.1
        np.testing.assert_allclose(found.logits[0, :, :, index], logits, atol=atol)


def test_a_volume_is_gone_through_as_the_package_goes_through_a_video(predictors):
    predictor, model = predictors
    image = volume(90, 70, 5)
    embedding = model.embed(image)
    found = model.decode(embedding, Prompts(image.geometry, (Box((20, 10, 2), (60, 50, 3)),)))
    for reverse in (False, True):
        theirs = Video(predictor, embedding)
        theirs.box(2, (20, 10), (60, 50))
        # It keeps memories in bfloat16; we keep encoded slices in float16.
        compare_slices(found, theirs.propagate(2, reverse=reverse), atol=0.02)


@pytest.mark.parametrize("positive", [True, False], ids=["positive", "negative"])
@pytest.mark.parametrize("at", [1, 5], ids=["below", "above"])
def test_a_click_after_that_corrects_as_the_package_does(predictors, at, positive):
    predictor, model = predictors
    middle, slices = 3, 7
    image = volume(SIDE // 4, SIDE // 4, slices)  # pixels are those of the decoder's masks: nothing is resampled
    embedding = model.embed(image)
    box = Box((20, 10, middle), (50, 40, middle + 1))
    first = model.decode(embedding, Prompts(image.geometry, (box,)))
    inside = first.mask[..., at]
    place = np.argwhere(inside != positive)[100]
    click = Point((*place.tolist(), at), positive=positive)
    found = model.decode(embedding, Prompts(image.geometry, (box, click)), first)
    np.testing.assert_array_equal(found.logits[..., middle], first.logits[..., middle])
    assert np.abs(found.logits - first.logits)[..., at].max() > 0.1

    theirs = Video(predictor, embedding)
    theirs.box(middle, (20, 10), (50, 40))
    compare_slices(first, theirs.propagate(middle, reverse=at < middle), atol=0.02)
    theirs.click(at, place, positive=positive)
    for reverse in (False, True):
        compare_slices(found, theirs.propagate(min(at, middle), reverse=reverse), atol=0.03)
