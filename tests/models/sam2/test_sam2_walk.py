"""SAM 2 goes through a whole volume as its own package's predictor goes through a video, for the same weights."""

import functools
from collections import OrderedDict

import numpy as np
import pytest
import torch
from tests.models.sam2.reference import bias_presence, doubles, make_pair

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompts
from samaritan.models.planar import FrameSpec
from samaritan.models.published import published
from samaritan.models.sam2.volume import VolumeModel

pytestmark = pytest.mark.slow

SIDE = 64
FRAME = FrameSpec(SIDE, fit="stretch", filter="bicubic")
PLANE = SIDE // 4  # pixels are those of the decoder's masks: nothing is resampled
EXACT = 1e-6  # of logits in float32; those that either side goes on with agree to 1e-13
EVERYWHERE = 9.0


@functools.cache
def exact(*, newer):
    """Return a pair in float64; among ``doubles`` only."""
    return make_pair(newer=newer, side=SIDE)


@pytest.fixture(params=["2.1", "2"])
def pair(request):
    """The package's predictor and our model, in float64: the object is seen everywhere."""
    with doubles():
        theirs, tracker = exact(newer=request.param == "2.1")
        bias_presence(theirs, tracker, EVERYWHERE)
        yield theirs, VolumeModel(published("sam2.1-tiny-volume").card, tracker, FRAME)


def volume(width, height, slices):
    array = np.random.default_rng(0).integers(0, 256, (3, width, height, slices)).astype(np.float32)
    return Image(array, Geometry.from_spacing((width, height, slices)), RGB)


def plane_of(embedding, index):
    """Return one slice as a picture, as ``SliceEncoder`` does."""
    voxels = np.broadcast_to(embedding.voxels[index], (3, *embedding.geometry.shape[:2]))
    return Image(voxels[..., None], Geometry.picture(*voxels.shape[1:]), RGB)


class Video:
    """A volume as the package has a video, and an object in it."""

    def __init__(self, predictor, embedding):
        width, height, slices = embedding.geometry.shape
        frames = torch.cat([torch.from_numpy(FRAME.picture(plane_of(embedding, index))) for index in range(slices)])
        self.predictor, self.state = predictor, _state(frames, width, height)
        # Our boxes and clicks are those of the middles of pixels, and it adds half a pixel of its frame.
        self.shift = 0.5 - np.array([width, height]) / (2 * SIDE)

    def ask(self, item):
        match item:
            case Box(start=(*start, index), stop=(*stop, _)):
                corners = np.concatenate([start + self.shift, np.subtract(stop, 1) + self.shift]).astype(np.float32)
                self.predictor.add_new_points_or_box(self.state, index, 1, box=corners)
            case Point(voxel=(*at, index), positive=positive):
                clicks, labels = (at + self.shift)[None].astype(np.float32), np.array([int(positive)])
                self.predictor.add_new_points_or_box(self.state, index, 1, points=clicks, labels=labels)
            case MaskPrompt(mask=mask):
                (index,) = np.flatnonzero(mask.any(axis=(0, 1))).tolist()
                self._draw(index, torch.from_numpy(mask[..., index].T.copy()))

    def _draw(self, index, mask):
        """Have it remember the mask as its training does, which its predictor makes four times as coarse before."""
        self.predictor.add_new_mask(self.state, index, 1, mask)
        drawn = self.state["mask_inputs_per_obj"][0][index]
        kept = self.state["temp_output_dict_per_obj"][0]["cond_frame_outputs"][index]
        with torch.inference_mode():
            kept["maskmem_features"], kept["maskmem_pos_enc"] = self.predictor._run_memory_encoder(
                self.state, index, 1, 20 * drawn - 10, kept["object_score_logits"], is_mask_from_pts=True
            )

    def propagate(self, *, reverse):
        """Return the logits (i, j) of the slices from the first that was asked about, but for drawn ones.

        What was remembered on ways that were gone before is not, as we go each way by itself.
        """
        self.state["output_dict_per_obj"][0]["non_cond_frame_outputs"].clear()
        gone = self.predictor.propagate_in_video(self.state, reverse=reverse)
        seen = {index: logits[0, 0].numpy().T for index, _, logits in gone}
        return {index: logits for index, logits in seen.items() if index not in self.state["mask_inputs_per_obj"][0]}

    def presence(self):
        """Return how sure it was in each slice that was followed that the object is there."""
        followed = self.state["output_dict_per_obj"][0]["non_cond_frame_outputs"]
        return {index: float(out["object_score_logits"]) for index, out in followed.items()}


def _state(frames, width, height):
    """Return what the package keeps of a video, as its ``init_state`` does for a file."""
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


def compare(found, wanted, *, atol=EXACT):
    for index, logits in wanted.items():
        assert logits.std() > 0.1
        np.testing.assert_allclose(found.logits[0, :, :, index], logits, rtol=0, atol=atol)


def box(index):
    return Box((4, 2, index), (13, 11, index + 1))


def drawn(index, slices):
    mask = np.zeros((PLANE, PLANE, slices), bool)
    mask[3:12, 5:9, index] = mask[6, 9:13, index] = True
    return MaskPrompt(mask)


def asked(predictor, embedding, *items):
    video = Video(predictor, embedding)
    for item in items:
        video.ask(item)
    return video


@pytest.mark.parametrize(
    ("slices", "items"),
    [
        (19, [box(17)]),  # farther than any memory lasts
        (8, [box(2), Point((7, 6, 5))]),
        # More than are recalled at once.
        (13, [Point((6, 6, 2)), box(3), Point((9, 2, 5)), box(8), Point((3, 9, 9)), Point((12, 4, 11))]),
        (8, [drawn(2, 8), Point((7, 6, 5))]),
    ],
    ids=["far", "two", "many", "drawn"],
)
def test_a_volume_is_gone_through_as_the_package_goes_through_a_video(pair, slices, items):
    predictor, model = pair
    image = volume(PLANE, PLANE, slices)
    embedding = model.embed(image)
    found = model.decode(embedding, Prompts(image.geometry, tuple(items)))
    for reverse in (False, True):
        compare(found, asked(predictor, embedding, *items).propagate(reverse=reverse))


def test_slices_without_the_object_are_remembered_as_in_the_package(pair):
    predictor, model = pair
    first, last, slices = 1, 9, 10
    image, masks = volume(PLANE, PLANE, slices), (drawn(first, slices), drawn(last, slices))
    embedding = model.embed(image)
    theirs = asked(predictor, embedding, *masks)
    theirs.propagate(reverse=False)
    bias_presence(predictor, model.tracker, EVERYWHERE - np.median([*theirs.presence().values()]))
    wanted = asked(predictor, embedding, *masks).propagate(reverse=False)
    between = np.stack([wanted[index] for index in range(first + 1, last)], axis=-1)
    hidden = (between <= -1000).all(axis=(0, 1))
    assert set(hidden) == {False, True}
    found = model.decode(embedding, Prompts(image.geometry, masks))
    np.testing.assert_allclose(found.logits[0, ..., first + 1 : last], between.clip(-32), rtol=0, atol=EXACT)


@pytest.mark.parametrize("pair", ["2.1"], indirect=True)
@pytest.mark.parametrize("positive", [True, False], ids=["positive", "negative"])
@pytest.mark.parametrize("at", [1, 5], ids=["below", "above"])
def test_a_click_after_that_corrects_as_the_package_does(pair, at, positive):
    predictor, model = pair
    middle, slices = 3, 7
    image = volume(PLANE, PLANE, slices)
    embedding = model.embed(image)
    first = model.decode(embedding, Prompts(image.geometry, (box(middle),)))
    place = np.argwhere(first.mask[..., at] != positive)[10]
    click = Point((*place.tolist(), at), positive=positive)
    found = model.decode(embedding, Prompts(image.geometry, (box(middle), click)), first)
    np.testing.assert_array_equal(found.logits[..., middle], first.logits[..., middle])
    assert np.abs(found.logits - first.logits)[..., at].max() > 0.1

    theirs = asked(predictor, embedding, box(middle))
    compare(first, theirs.propagate(reverse=at < middle))
    theirs.ask(click)
    for reverse in (False, True):
        compare(found, theirs.propagate(reverse=reverse))


def test_what_either_keeps_in_half_precision_makes_little_difference():
    predictor, tracker = make_pair(newer=True, side=SIDE)
    bias_presence(predictor, tracker, EVERYWHERE)
    model = VolumeModel(published("sam2.1-tiny-volume").card, tracker, FRAME)
    image = volume(90, 70, 5)
    embedding = model.embed(image)
    around = Box((20, 10, 2), (60, 50, 3))
    found = model.decode(embedding, Prompts(image.geometry, (around,)))
    for reverse in (False, True):
        compare(found, asked(predictor, embedding, around).propagate(reverse=reverse), atol=0.01)
