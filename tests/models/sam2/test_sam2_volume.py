"""How SAM 2 goes through a volume: tried on a stand-in for its networks, which sees what is bright."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.sam2.reference import SIDE, module

from samaritan.core.errors import CorruptFileError, PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import GrowingEmbedding, Prediction, StepwiseModel
from samaritan.core.prompts import Box, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer import segment
from samaritan.infer.cache import EmbeddingCache
from samaritan.models import sam2
from samaritan.models.planar import FrameSpec
from samaritan.models.planar.network import NEGATIVE, POSITIVE
from samaritan.models.published import published
from samaritan.models.sam2 import volume
from samaritan.models.sam2.memory import MOST_POINTERS, Memory
from samaritan.models.sam2.tracker import Bank, Seen
from samaritan.models.sam2.volume import SliceEncoder, VolumeModel
from samaritan.testing.conformance import MODEL_CHECKS, check_refinement

CARD = published("sam2.1-tiny-volume").card
FRAME = FrameSpec(SIDE, fit="stretch", filter="bicubic")
LEVELS = (0.485 * 255, 0.229 * 255)
WIDTH, HEIGHT, DEPTH = 40, 30, 24


class Bright:
    """Sees as the object what is bright, wherever it is asked, but for what is near clicks; keeps a record."""

    mask_side = 128
    reach = 6  # of a click, in pixels of the mask

    def __init__(self):
        self.encoded, self.asked, self.shown, self.followed = 0, [], [], []

    def encode(self, picture):
        self.encoded += 1
        grey = torch.from_numpy(picture[:, :1]) * LEVELS[1] + LEVELS[0]
        return {"grey": torch.nn.functional.adaptive_avg_pool2d(grey, self.mask_side)}

    def to_arrays(self, features):
        return {name: found.numpy() for name, found in features.items()}

    def from_arrays(self, arrays):
        return {name: torch.tensor(array) for name, array in arrays.items()}

    def _seen(self, features, tokens=None):
        logits = (features["grey"][0, 0].float().numpy() - 127.5) / 8
        for (x, y), label in zip(tokens.coords, tokens.labels, strict=True) if tokens else ():
            if label in (NEGATIVE, POSITIVE):
                row, column = (int(at * self.mask_side / SIDE) for at in (y, x))
                near = [slice(max(0, at - self.reach), at + self.reach + 1) for at in (row, column)]
                logits[tuple(near)] = 9 if label == POSITIVE else -9
        return Seen(logits, 0.9, Memory(torch.zeros(1), torch.zeros(1)))

    def ask(self, features, tokens, *, sure=True):
        self.asked.append((tokens, sure))
        return self._seen(features, tokens)

    def show(self, features, area):
        self.shown.append(area)
        return replace(self._seen(features), iou=1.0)

    def follow(self, features, index, bank, tokens=None, *, sure=False):
        assert {index, index - bank.step} & {*bank.asked, *bank.followed}, "a slice is followed from the one before"
        self.followed.append((index, bank.step, tokens, sure, set(bank.asked)))
        return self._seen(features, tokens)

    def visits(self):
        """Return the slices that were followed, and the way that they were come to; forget them."""
        visits = [(index, step) for index, step, *_ in self.followed]
        self.followed.clear()
        return visits


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
    assert model.tracker.visits() == [
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


def test_in_a_box_it_may_hide_for_long(model):
    found, mask = decoded(model, [4, 5, 6, 12, 13, 20], Box((9, 7, 4), (26, 21, 14)))
    mask[..., 20] = False
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


def lost(first, then):
    """Return the slices in which voxels were lost from one prediction to the next; none may be won."""
    assert not (then.mask & ~first.mask).any()
    return np.flatnonzero((first.mask & ~then.mask).any(axis=(0, 1))).tolist()


@pytest.fixture
def first(model):
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)))
    model.tracker.__init__()
    return found


BESIDE = (12, 10)


@pytest.mark.parametrize(("at", "there"), [(13, [(12, 1), (13, 1)]), (9, [(10, -1), (9, -1)])])
def test_a_negative_mark_corrects_what_was_followed_and_then_counts_in_all_slices(model, first, at, there):
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)), Point((*BESIDE, at), positive=False))
    assert lost(first, found) == [at]
    (before, correction) = [visit for visit in model.tracker.followed if visit[0] == at]
    assert before[2] is None
    _, _, tokens, sure, asked = correction
    assert 0 in tokens.labels
    assert (tokens.mask > 0).any()
    assert not sure
    assert asked == {11}
    again = model.tracker.followed[len(there) + 1 :]
    assert {visit[0] for visit in again} == {*range(6, 17)} - {11, at}
    assert all(visit[4] == {11, at} for visit in again)


def test_a_negative_mark_where_the_object_is_not_says_nothing(model, first):
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)), Point((*BESIDE, 22), positive=False))
    np.testing.assert_array_equal(found.logits, first.logits)
    assert model.tracker.encoded == 11


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("at", [9, 13])
def test_a_mark_against_a_previous_prediction_corrects_its_slice_and_leaves_the_start(model, first, at, positive):
    mark = Point((33, 25, at) if positive else (*BESIDE, at), positive=positive)
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)), mark, previous=first)
    np.testing.assert_array_equal(found.logits[..., 11], first.logits[..., 11])
    changed = np.flatnonzero((found.mask != first.mask).any(axis=(0, 1)))
    assert changed.tolist() == [at]
    assert found.mask[mark.voxel] == positive
    assert len(model.tracker.asked) == 1 + positive
    (correction,) = [visit for visit in model.tracker.followed if visit[0] == at]
    _, _, tokens, sure, asked = correction
    assert (tokens.mask > 0).any()
    assert sure == positive
    assert asked == {11}


class Fading(Bright):
    """Follows nothing any more once two slices were asked about."""

    def follow(self, features, index, bank, tokens=None, *, sure=False):
        seen = super().follow(features, index, bank, tokens, sure=sure)
        return replace(seen, logits=np.full_like(seen.logits, -9)) if len(bank.asked) > 1 else seen


def test_what_was_seen_on_the_way_to_a_correction_is_not_kept():
    model = VolumeModel(CARD, Fading(), FRAME)
    beside = [Point((*BESIDE, at), positive=False) for at in (9, 22)]
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)), *beside)
    assert np.flatnonzero(found.mask.any(axis=(0, 1))).tolist() == [9, 11]


def test_a_previous_prediction_that_heeds_all_prompts_stays(model, first):
    marks = Point((*INSIDE, 11)), Point((*BESIDE, 13), positive=False)
    corrected, _ = decoded(model, range(8, 15), *marks, previous=first)
    model.tracker.__init__()
    again, _ = decoded(model, range(8, 15), *marks, previous=corrected)
    np.testing.assert_array_equal(again.logits, corrected.logits)
    (area,) = model.tracker.shown  # the slice that was corrected
    assert area.mean() == pytest.approx(corrected.mask[..., 13].mean(), rel=0.1)
    assert {visit[2] for visit in model.tracker.followed} == {None}


def test_a_mark_in_the_slice_that_all_started_from_corrects_it_in_its_own_light(model, first):
    found, _ = decoded(model, range(8, 15), Point((*INSIDE, 11)), Point((*BESIDE, 11), positive=False), previous=first)
    assert lost(first, found) == [11]
    index, _, tokens, sure, asked = model.tracker.followed[0]
    assert (index, sure, asked) == (11, True, {11})
    assert (tokens.mask > 0).any()


def test_a_positive_mark_where_nothing_was_found_is_answered_by_itself(model, first):
    found, _ = decoded(model, [*range(8, 15), 20], Point((*INSIDE, 11)), Point((*INSIDE, 20)), previous=first)
    assert [tokens.mask for tokens, _ in model.tracker.asked] == [None, None]
    assert found.mask[..., 20].any()
    assert 20 not in {visit[0] for visit in model.tracker.followed}


def test_a_negative_mark_alone_starts_from_the_largest_slice_of_a_previous_prediction(model, first):
    again, _ = decoded(model, range(8, 15), Point((*BESIDE, 13), positive=False), previous=first)
    assert len(model.tracker.shown) == 1
    assert lost(first, again) == [13]
    assert again.score == pytest.approx(first.score)


def test_where_nothing_was_found_a_negative_mark_changes_nothing(model):
    picture, _ = image([])
    empty = Prediction(np.full((1, *picture.shape), -4, np.float32), np.zeros(1, np.float32), picture.geometry)
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


def test_an_embedding_holds_no_more_than_it_may(model):
    picture, _ = image(range(8, 15))
    embedding, prompts = model.embed(picture), Prompts(picture.geometry, (Point((*INSIDE, 11)),))
    assert isinstance(embedding, GrowingEmbedding)
    model.decode(embedding, prompts)
    of_a_slice = 2 * Bright.mask_side**2
    assert embedding.nbytes > embedding.voxels.nbytes + 3 * of_a_slice
    embedding.max_bytes = 3 * of_a_slice
    model.decode(embedding, prompts)
    assert embedding.nbytes == embedding.voxels.nbytes + 3 * of_a_slice


def test_encoded_slices_are_kept_on_disk_for_the_next_run(tmp_path):
    picture, _ = image(range(8, 15))
    near, far = ({"it": Prompts(picture.geometry, (Point((*INSIDE, index)),))} for index in (11, 13))

    def run(objects, cache=None):
        model = VolumeModel(CARD, Bright(), FRAME)
        found = segment(model, picture, objects, cache=cache)
        return found.objects[0].mask, model.tracker.encoded

    wanted, encoded = run(near)
    assert encoded == 11
    first, encoded = run(near, EmbeddingCache(tmp_path))
    assert encoded == 2  # the slices that show nothing are alike, and so are those with the block
    np.testing.assert_array_equal(first, wanted)
    again, encoded = run(near, EmbeddingCache(tmp_path))
    assert encoded == 0
    np.testing.assert_array_equal(again, wanted)
    other, encoded = run(far, EmbeddingCache(tmp_path))
    assert encoded == 0
    np.testing.assert_array_equal(other, run(far)[0])


def test_every_slice_is_told_of(model):
    picture, _ = image(range(8, 15))
    told = []
    assert isinstance(model, StepwiseModel)
    found = model.decode_stepwise(
        model.embed(picture), Prompts(picture.geometry, (Point((*INSIDE, 11)),)), step=lambda *at: told.append(at)
    )
    assert told == [(n, DEPTH) for n in range(1, 12)]
    np.testing.assert_array_equal(found.logits, decoded(model, range(8, 15), Point((*INSIDE, 11)))[0].logits)
    told.clear()
    boxed = Prompts(picture.geometry, (Box((9, 7, 6), (20, 22, 13)),))
    model.decode_stepwise(model.embed(picture), boxed, step=lambda *at: told.append(at))
    assert told == [(n, 7) for n in range(1, 8)]


def test_what_a_step_raises_breaks_it_off(model):
    picture, _ = image(range(8, 15))
    embedding, prompts = model.embed(picture), Prompts(picture.geometry, (Point((*INSIDE, 11)),))

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.decode_stepwise(embedding, prompts, step=stop)
    assert model.tracker.encoded == 3
    model.decode(embedding, prompts)
    assert model.tracker.encoded == 11


def test_steps_to_a_correction_and_back_are_no_more_than_were_foretold(model, first):
    picture, _ = image(range(8, 15))
    prompts = Prompts(picture.geometry, (Point((*INSIDE, 11)), Point((*BESIDE, 13), positive=False)))
    told = []
    for previous in (None, first):
        told.clear()
        model.decode_stepwise(model.embed(picture), prompts, previous, step=lambda *at: told.append(at))
        assert [done for done, _ in told] == list(range(1, len(told) + 1))
        assert {total for _, total in told} == {DEPTH + 3}


def test_others_need_not_wait_while_a_slice_is_encoded(model):
    picture, _ = image([3])
    embedding = model.embed(picture)
    waiting = threading.Thread(target=lambda: embedding.nbytes, daemon=True)

    def read():
        waiting.start()
        waiting.join(timeout=30)
        assert not waiting.is_alive()
        return embedding.voxels[3]

    embedding.features(3, read, SliceEncoder(model.tracker, FRAME))


def test_memories_too_old_to_be_recalled_are_let_go():
    bank = Bank({0: Memory(torch.zeros(1), torch.zeros(1))}, 200, 1)
    for index in range(1, 100):
        recalled = bank.recall(index)
        ages = [age for age, _ in recalled.pointers[1:]]
        assert ages == list(range(1, min(index, MOST_POINTERS)))  # as of a bank that forgets nothing
        bank.remember(index, Memory(torch.zeros(1), torch.zeros(1)))
    assert len(bank.followed) <= MOST_POINTERS


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
    np.testing.assert_array_equal(model.embed(picture).voxels[1], array[..., 1])


def test_the_card_says_whether_it_is_a_model_of_pictures_or_of_volumes():
    for name, dims in (("sam2.1-tiny", 2), ("medsam2-volume", 3)):
        known = published(name)
        frame = replace(known.frame or sam2.FAMILY.frame, side=SIDE)
        model = sam2.FAMILY.model(module(), known.card, frame, "cpu")
        assert model.card.dims == dims
        assert model.card.follows_slices == (dims == 3)
        check_refinement(model)
