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
from samaritan.core.prompts import Box, Prompts
from samaritan.models import sam2
from samaritan.models.planar import FrameSpec, Tokens
from samaritan.models.published import published
from samaritan.models.sam2.tracker import Bank, Tracker

CLOSE = 1e-4
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
    for wanted, ours in (
        (found["pred_masks"][0, 0], torch.from_numpy(seen.logits)),
        (found["obj_ptr"], seen.memory.pointer),
        (found["maskmem_features"], seen.memory.cells),
    ):
        assert (wanted - ours).abs().max() <= CLOSE


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
    for index, prompt in prompted.items():
        track.step(index, prompt, first=True)
    asked = {index: ours.ask(features(ours, index), tokens(prompt), sure=False) for index, prompt in prompted.items()}
    bank = Bank({index: seen.memory for index, seen in asked.items()}, SLICES, step)
    for index in range(10, 10 + (slices + 1) * step, step):
        if index not in prompted:
            seen = ours.follow(features(ours, index), index, bank)
            compare(seen, track.step(index, reverse=step < 0))
            bank.followed[index] = seen.memory
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
    track.step(10, BOX, first=True)
    bank = Bank({10: ours.ask(features(ours, 10), tokens(BOX), sure=False).memory}, SLICES, 1)
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


def test_a_volume_is_gone_through_as_the_package_goes_through_a_video():
    width, height, slices, middle = 90, 70, 5, 2
    predictor = make(newer=True, kind=original("sam2.sam2_video_predictor").SAM2VideoPredictor)
    predictor.load_state_dict(reference().state_dict())
    predictor.eval()
    ours = module()
    with torch.no_grad():
        predictor.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(9.0)
        ours.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(9.0)
    frame = FrameSpec(SIDE, fit="stretch", filter="bicubic")
    model = sam2.FAMILY.model(ours, published("sam2.1-tiny-volume").card, frame, "cpu")
    array = np.random.default_rng(0).integers(0, 256, (3, width, height, slices)).astype(np.float32)
    image = Image(array, Geometry.from_spacing((width, height, slices)), RGB)
    embedding = model.embed(image)
    box = Box((20, 10, middle), (60, 50, middle + 1))
    found = model.decode(embedding, Prompts(image.geometry, (box,)))

    frames = torch.cat([torch.from_numpy(frame.picture(embedding.slice(index))) for index in range(slices)])
    # Centres of the first and the last pixel of the box, less the half pixel of the frame that the package adds.
    corners = np.array([20.5, 10.5, 59.5, 49.5]) - np.tile((width, height), 2) / (2 * SIDE)
    for reverse in (False, True):
        state = video(frames, width, height)
        predictor.add_new_points_or_box(state, middle, 1, box=corners.astype(np.float32))
        for index, _, logits in predictor.propagate_in_video(state, start_frame_idx=middle, reverse=reverse):
            wanted = logits[0, 0].numpy().T
            assert wanted.std() > 0.1
            # It keeps memories in bfloat16; we keep encoded slices in float16.
            np.testing.assert_allclose(found.logits[0, :, :, index], wanted, atol=0.02)
