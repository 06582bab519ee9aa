"""How SAM 2 goes through a volume: tried on a stand-in for its networks, which sees what is bright."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.sam2.reference import SIDE, module

from samaritan.core.errors import CorruptFileError, PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompts, Scribble
from samaritan.models import sam2
from samaritan.models.planar import FrameSpec
from samaritan.models.published import published
from samaritan.models.sam2 import volume
from samaritan.models.sam2.memory import Memory
from samaritan.models.sam2.tracker import Seen
from samaritan.models.sam2.volume import VolumeModel
from samaritan.testing.conformance import MODEL_CHECKS, check_refinement

CARD = published("sam2.1-tiny-volume").card
FRAME = FrameSpec(SIDE, fit="stretch", filter="bicubic")
LEVELS = (0.485 * 255, 0.229 * 255)
WIDTH, HEIGHT, DEPTH = 40, 30, 24


class Bright:
    """Sees as the object what is bright, wherever it is asked; keeps a record."""

    mask_side = 128

    def __init__(self):
        self.encoded, self.asked, self.shown, self.followed = 0, [], [], []

    def encode(self, picture):
        self.encoded += 1
        grey = torch.from_numpy(picture[:, :1]) * LEVELS[1] + LEVELS[0]
        return {"grey": torch.nn.functional.adaptive_avg_pool2d(grey, self.mask_side)}

    def _seen(self, features):
        logits = (features["grey"][0, 0].float().numpy() - 127.5) / 8
        return Seen(logits, 0.9, Memory(torch.zeros(1), torch.zeros(1)))

    def ask(self, features, tokens, *, sure=True):
        self.asked.append((tokens, sure))
        return self._seen(features)

    def show(self, features, area):
        self.shown.append(area)
        return replace(self._seen(features), iou=1.0)

    def follow(self, features, index, bank, tokens=None):
        assert index - bank.step in {*bank.asked, *bank.followed}, "a slice is followed from the one before"
        self.followed.append((index, bank.step, tokens))
        return self._seen(features)


@pytest.fixture
def model():
    return VolumeModel(CARD, Bright(), FRAME)


def image(shows):
    """Return a volume that shows a bright block in these slices, and the mask of the block."""
    mask = np.zeros((WIDTH, HEIGHT, DEPTH), bool)
    mask[10:25, 8:20, list(shows)] = True
    grey = np.where(mask, 200.0, 50.0).astype(np.float32)
    return Image(np.broadcast_to(grey, (3, *grey.shape)), Geometry.from_spacing(grey.shape, (1, 1, 4)), RGB), mask


def decoded(model, shows, *items, previous=None):
    picture, mask = image(shows)
    found = model.decode(model.embed(picture), Prompts(picture.geometry, items), previous)
    return found, mask


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


INSIDE = (15, 12)


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance(model, check):
    check(model)


def test_an_object_is_followed_both_ways_until_it_ends(model):
    found, mask = decoded(model, range(8, 15), Point((*INSIDE, 11)))
    assert dice(found.mask, mask) > 0.95
    assert found.score == pytest.approx(0.9)
    # Two slices beyond either end, to be sure; and no other was encoded.
    assert [(index, step) for index, step, _ in model.tracker.followed] == [
        *((index, 1) for index in range(12, 17)),
        *((index, -1) for index in range(10, 5, -1)),
    ]
    assert model.tracker.encoded == 11


def test_an_object_that_hides_in_one_slice_goes_on(model):
    found, mask = decoded(model, [*range(8, 12), *range(13, 16)], Point((*INSIDE, 9)))
    assert dice(found.mask, mask) > 0.95


def test_between_prompted_slices_it_may_hide_for_long(model):
    found, mask = decoded(model, [4, 5, 15, 16], Point((*INSIDE, 5)), Scribble(np.array([[*INSIDE, 15]])))
    assert len(model.tracker.asked) == 2
    assert dice(found.mask, mask) > 0.95


def test_nothing_is_looked_at_or_kept_outside_a_box(model):
    found, mask = decoded(model, range(DEPTH), Box((9, 7, 6), (20, 22, 13)))
    assert model.tracker.encoded == 7
    kept = mask.copy()
    kept[20:] = kept[..., :6] = kept[..., 13:] = False
    assert dice(found.mask, kept) > 0.9
    assert not (found.mask & ~mask & ~kept)[20:].any()
    assert not found.mask[..., 13:].any()


def test_a_mask_in_one_slice_stays_as_it_is(model):
    drawn = np.zeros((WIDTH, HEIGHT, DEPTH), bool)
    drawn[3:30, 12:14, 9] = True
    found, mask = decoded(model, range(8, 12), MaskPrompt(drawn))
    np.testing.assert_array_equal(found.mask[..., 9], drawn[..., 9])
    assert dice(found.mask[..., 10], mask[..., 10]) > 0.9
    (area,) = model.tracker.shown
    assert area.mean() == pytest.approx(drawn[..., 9].mean(), rel=0.05)


def test_a_mask_thinner_than_a_pixel_of_the_frame_is_not_lost():
    model = VolumeModel(CARD, Bright(), FrameSpec(32, fit="stretch"))
    picture = Image(np.zeros((3, 200, 200, 3), np.float32), Geometry.from_spacing((200, 200, 3)), RGB)
    drawn = np.zeros(picture.shape, bool)
    drawn[100, 100, 1] = True
    model.decode(model.embed(picture), Prompts(picture.geometry, (MaskPrompt(drawn),)))
    assert model.tracker.shown[0].any()


def test_a_correction_is_made_in_the_light_of_what_was_followed(model):
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)), Point((12, 10, 13), positive=False))
    (before, (_, _, tokens)) = [visit for visit in model.tracker.followed if visit[0] == 13]
    assert before[2] is None
    assert 0 in tokens.labels
    assert (tokens.mask > 0).any()
    assert found.mask[..., 13].any()


def test_a_previous_prediction_helps_where_it_is_asked_about(model):
    first, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)))
    decoded(model, range(8, 15), Point((*INSIDE, 11)), Point((12, 10, 12)), previous=first)
    masks = [tokens.mask is not None for tokens, _ in model.tracker.asked]
    assert masks == [False, True, True]


def test_a_negative_mark_on_a_previous_prediction_starts_from_that(model):
    first, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)))
    again, _ = decoded(model, range(8, 15), Point((12, 10, 13), positive=False), previous=first)
    assert len(model.tracker.shown) == 1  # its largest slice
    np.testing.assert_array_equal(again.mask, first.mask)
    _, sure = model.tracker.asked[-1]
    assert sure
    empty, _ = decoded(model, [], Point((*INSIDE, 11)))
    kept, _ = decoded(model, [], Point((1, 1, 2), positive=False), previous=empty)
    np.testing.assert_array_equal(kept.logits, empty.logits)
    assert kept.score == 0


def test_negative_marks_alone_are_refused(model):
    with pytest.raises(PromptError, match="negative"):
        decoded(model, [3], Point((1, 1, 3), positive=False))


def test_slices_are_encoded_once_and_held_while_there_is_room(model, monkeypatch):
    picture, _ = image(range(8, 15))
    embedding, prompts = model.embed(picture), Prompts(picture.geometry, (Point((*INSIDE, 11)),))
    assert model.tracker.encoded == 0
    first = model.decode(embedding, prompts)
    once, held = model.tracker.encoded, embedding.nbytes
    model.decode(embedding, prompts)
    assert model.tracker.encoded == once
    assert held > embedding.voxels.nbytes
    monkeypatch.setattr(volume, "HELD", 3 * 2 * Bright.mask_side**2)  # of three slices in half precision
    fresh = model.unpack(model.pack(embedding), picture.geometry)
    np.testing.assert_array_equal(model.decode(fresh, prompts).logits, first.logits)
    assert fresh.nbytes == embedding.voxels.nbytes + volume.HELD


def test_what_is_packed_are_the_voxels_of_grey_once(model):
    picture, _ = image([3])
    packed = model.pack(model.embed(picture))
    assert {name: (array.shape, array.dtype) for name, array in packed.items()} == {
        "voxels": ((DEPTH, 1, WIDTH, HEIGHT), np.dtype(np.uint8))
    }
    with pytest.raises(CorruptFileError):
        model.unpack({"voxels": packed["voxels"].astype(np.float32)}, picture.geometry)
    with pytest.raises(CorruptFileError):
        model.unpack(packed, Geometry.from_spacing((WIDTH, HEIGHT, DEPTH + 1)))


def test_colours_are_kept(model):
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 2)).astype(np.float32)
    picture = Image(array, Geometry.from_spacing((5, 4, 2)), RGB)
    np.testing.assert_array_equal(model.embed(picture).slice(1).array[..., 0], array[..., 1])


def test_the_card_says_whether_it_is_a_model_of_pictures_or_of_volumes():
    for name, dims in (("sam2.1-tiny", 2), ("medsam2-volume", 3)):
        known = published(name)
        frame = replace(known.frame or sam2.FAMILY.frame, side=SIDE)
        model = sam2.FAMILY.model(module(), known.card, frame, "cpu")
        assert model.card.dims == dims
        check_refinement(model)
