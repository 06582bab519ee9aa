import shutil
import tracemalloc
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import skimage

from samaritan import read
from samaritan.core.errors import ChecksumError, CorruptFileError, ImageError, WeightsError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Lasso, MaskPrompt, Point, Prompts, Scribble
from samaritan.infer.embedder import Embedder
from samaritan.models import load_model
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
from samaritan.models.tiny.prompts import drawn_around
from samaritan.models.tiny.zoom import FRAME_SIDE
from samaritan.testing.phantoms import picture


@pytest.fixture(scope="module")
def model():
    return load_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def phantom():
    return picture(240, 160, colour=True)


@pytest.fixture(scope="module")
def embedding(model, phantom):
    return model.embed(phantom.image)


def prompts(phantom, *items):
    return Prompts(phantom.image.geometry, items)


CLICK = Point((72, 64, 0))


def test_a_lone_click_gets_three_masks_best_first(model, phantom, embedding):
    prediction = model.decode(embedding, prompts(phantom, CLICK))
    assert len(prediction.scores) == 3
    assert prediction.mask[72, 64, 0]


@pytest.mark.parametrize(
    ("file", "place"),
    [("cell.png", (427, 375)), ("retina.jpg", (220, 657)), ("retina.jpg", (620, 690)), ("ihc.png", (256, 256)),
     ("ihc.png", (120, 180)), ("microaneurysms.png", (50, 50))],
)  # fmt: skip
def test_the_masks_of_a_click_on_a_real_picture_differ_and_come_best_first(model, file, place):
    image = read(Path(skimage.__file__).parent / "data" / file)
    embedding = Embedder(model, image).embedding(("k", 0))
    prediction = model.decode(embedding, Prompts(embedding.geometry, (Point((*place, 0)),)))
    scores, masks = prediction.scores, prediction.logits > 0
    assert len(scores) == 3
    assert (np.diff(scores) < 0).all()
    assert scores[0] - scores[2] > 0.1
    assert masks[(slice(None), *place, 0)].all()
    assert all(iou(one, other) < 0.9 for one, other in combinations(masks, 2))


class Windows:
    """A network that answers for each search window with a mask and a predicted IoU; for the close look with 0.5."""

    def __init__(self, predicted, masks):
        self.predicted, self.masks = predicted, masks

    def run(self, inputs):
        n, _, height, width = inputs["image"].shape
        closely = (height, width) == (FRAME_SIDE, FRAME_SIDE)
        logits = np.full((n, 3, height // 2, width // 2), -5, np.float32)
        for window, mask in enumerate([DISC] if closely else self.masks):
            logits[window, :, *mask] = 5
        scores = np.array([0.5] if closely else self.predicted, np.float32)
        return {"logits": logits, "iou": np.repeat(scores[:, None], 3, axis=1)}


DISC = (slice(20, 44), slice(20, 44))  # around the click, which is in the middle of every window
CUT = (slice(None), slice(0, 40))
BESIDE = (slice(2, 10), slice(2, 10))


def found_by(predicted, masks):
    image, _ = disc(1024, (512, 512), 20)
    model = TinyModel(FOLDER, network=Windows(predicted, masks))
    return model.decode(model.embed(image), Prompts(image.geometry, (Point((512, 512, 0)),)))


def less_sure(*scores):
    logits = np.log(scores) - np.log1p(-np.array(scores))
    return 1 / (1 + np.exp(1.5 - 1.5 * logits))


def test_the_scores_of_a_click_are_less_by_what_windows_cut_off_and_order_its_masks():
    # One mask covers all of one side of its window's border and five eighths of two: (1 + 5/8 + 5/8) / 4.
    answer = found_by([0.95, 0.9, 0.8, 0.1, 0.2], [CUT, DISC, DISC, DISC, DISC])
    expected = less_sure(0.8, 0.5, 0.95 - 0.5625)  # of .9 at first, closely .5
    np.testing.assert_allclose(answer.scores, expected, atol=0.02)
    sides = [np.ptp(np.flatnonzero((logits > 0).any(axis=(1, 2)))) for logits in answer.logits]
    assert sides[2] < 128 < sides[0]  # the cut one is of the smallest window, the first of the third


def test_a_mask_without_the_click_is_not_offered():
    answer = found_by([0.4, 0.99, 0.3, 0.98, 0.97], [DISC, BESIDE, DISC, BESIDE, BESIDE])
    np.testing.assert_allclose(answer.scores, less_sure(0.5, 0.3), atol=1e-6)
    assert (answer.logits[:, 512, 512, 0] > 0).all()


def test_of_masks_that_are_all_but_the_same_one_is_offered():
    same = [(slice(32 - half, 32 + half),) * 2 for half in (16, 8, 4)]  # in windows of which each is twice the last
    answer = found_by([0.9, 0.8, 0.7, 0.6, 0.2], [*same, DISC, DISC])
    np.testing.assert_allclose(answer.scores, less_sure(0.8, 0.6, 0.5), atol=1e-6)


def ring(radius, *, share=1.0):
    """A stroke along a circle around the middle of a plane of 256 pixels, or a share of it."""
    turn = np.linspace(0, 2 * np.pi * share, 400)
    places = np.stack([128 + radius * np.cos(turn), 128 + radius * np.sin(turn), 0 * turn], axis=1)
    return Scribble(np.unique(places.round().astype(np.int64), axis=0))


def test_a_stroke_around_says_where_the_object_is():
    geometry = Geometry.picture(256, 256)
    around = drawn_around(Prompts(geometry, (ring(40),)))
    np.testing.assert_allclose(around, [[88 - 4, 88 - 4], [169 + 4, 169 + 4]], atol=0.2)  # a tenth wider in all
    assert drawn_around(Prompts(geometry, (ring(40, share=0.6),))) is None
    assert drawn_around(Prompts(geometry, (Scribble(np.array([[9, 9, 0]])),))) is None
    assert drawn_around(Prompts(geometry, (ring(40), Point((9, 9, 0))))) is None
    assert drawn_around(Prompts(geometry, (Point((9, 9, 0)),))) is None


def test_a_wall_is_found_from_a_stroke_along_it(model):
    i, j = np.mgrid[0:256, 0:256]
    away = np.hypot(i - 128, j - 128)[..., None]
    mask = (away > 30) & (away <= 50)
    grey = np.where(mask, 90, np.where(away <= 30, 190, 150)) + np.random.default_rng(0).normal(0, 4, mask.shape)
    image = Image(np.repeat(grey[None].astype(np.float32), 3, axis=0), Geometry.picture(256, 256), RGB)
    found = model.decode(model.embed(image), Prompts(image.geometry, (ring(40),)))
    assert dice(found.mask, mask) > 0.85


@pytest.mark.parametrize(
    "items",
    [
        (Box((20, 20, 0), (110, 110, 1)),),
        (CLICK, Point((5, 5, 0), positive=False)),
        (Scribble(np.array([[72, 64, 0]])),),
    ],
    ids=["box", "two clicks", "scribble"],
)
def test_anything_less_ambiguous_gets_one_mask(model, phantom, embedding, items):
    assert len(model.decode(embedding, prompts(phantom, *items)).scores) == 1


def test_a_click_on_a_previous_prediction_gets_one_mask(model, phantom, embedding):
    previous = model.decode(embedding, prompts(phantom, CLICK))
    assert len(model.decode(embedding, prompts(phantom, CLICK), previous).scores) == 1


def disc(side, centre, radius):
    """A bright disc on a dark, slightly noisy plane of ``side`` pixels: its embedding's image and its mask."""
    i, j = np.mgrid[0:side, 0:side]
    mask = np.hypot(i - centre[0], j - centre[1])[..., None] <= radius
    noise = np.random.default_rng(0).normal(0, 4, mask.shape)
    grey = np.where(mask, 170, 70) + noise
    return Image(np.repeat(grey[None].astype(np.float32), 3, axis=0), Geometry.picture(side, side), RGB), mask


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("centre", "radius"), [((256, 256), 6), ((100, 400), 40), ((256, 256), 170), ((40, 60), 90), ((256, 256), 240)]
)
def test_a_lone_click_finds_plain_objects_of_any_size(model, centre, radius):
    image, mask = disc(512, centre, radius)
    found = model.decode(model.embed(image), Prompts(image.geometry, (Point((*centre, 0)),)))
    assert found.mask[(*centre, 0)]
    assert dice(found.mask, mask) > 0.85


def test_a_click_far_from_a_part_finds_the_whole(model):
    image, mask = disc(512, (256, 256), 170)
    _, part = disc(512, (200, 256), 30)
    previous = Prediction(
        np.where(part, np.float32(6), np.float32(-6))[None], np.full(1, 0.9, np.float32), image.geometry
    )
    clicks = Prompts(image.geometry, (Point((200, 256, 0)), Point((370, 256, 0))))
    assert dice(model.decode(model.embed(image), clicks, previous).mask, mask) > 0.85


def test_a_negative_click_far_away_changes_little(model):
    image, mask = disc(512, (60, 60), 10)
    box = Box((50, 50, 0), (71, 71, 1))
    embedding = model.embed(image)
    alone = model.decode(embedding, Prompts(image.geometry, (box,)))
    denied = model.decode(embedding, Prompts(image.geometry, (box, Point((480, 480, 0), positive=False))))
    np.testing.assert_array_equal(alone.logits, denied.logits)
    assert dice(alone.mask, mask) > 0.85


def test_a_negative_lasso_far_away_does_not_widen_what_is_looked_at(model):
    image, mask = disc(512, (60, 60), 6)
    box = Box((54, 54, 0), (67, 67, 1))
    far = Lasso(np.array([(485, 485, 0), (495, 485, 0), (495, 495, 0), (485, 495, 0.0)]), positive=False)
    embedding = model.embed(image)
    alone = model.decode(embedding, Prompts(image.geometry, (box,)))
    denied = model.decode(embedding, Prompts(image.geometry, (box, far)))
    np.testing.assert_array_equal(alone.logits, denied.logits)
    assert dice(alone.mask, mask) > 0.85


def test_a_long_thin_plane_takes_the_memory_of_its_pixels(model):
    geometry = Geometry.picture(1, 2000)
    line = np.full((3, 1, 2000, 1), 70, np.float32)
    line[:, :, 900:1100] = 170
    embedding = model.embed(Image(line, geometry, RGB))
    click = Prompts(geometry, (Point((0, 1000, 0)),))
    found = model.decode(embedding, click)
    tracemalloc.start()
    try:
        model.decode(embedding, click)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.mask[0, 1000, 0]
    assert peak < 16 * 2**20  # a square of twice its length would take 64 MiB


def _stroke(*ends, positive):
    return Scribble(np.linspace(*ends, 60).round().astype(np.int64), positive=positive)


def test_negative_strokes_beside_the_object_change_nothing(model):
    image, mask = disc(512, (200, 200), 60)
    embedding = model.embed(image)
    inside = _stroke((170, 200, 0), (230, 200, 0), positive=True)
    far = _stroke((60, 380, 0), (340, 380, 0), positive=False)
    alone = model.decode(embedding, Prompts(image.geometry, (inside,)))
    both = model.decode(embedding, Prompts(image.geometry, (inside, far)))
    np.testing.assert_array_equal(alone.logits, both.logits)
    assert dice(alone.mask, mask) > 0.85


def test_a_negative_stroke_on_what_was_found_counts(model):
    image, _ = disc(512, (200, 200), 60)
    embedding = model.embed(image)
    inside = _stroke((170, 200, 0), (200, 200, 0), positive=True)
    within = _stroke((235, 180, 0), (235, 220, 0), positive=False)
    alone = model.decode(embedding, Prompts(image.geometry, (inside,))).mask
    both = model.decode(embedding, Prompts(image.geometry, (inside, within))).mask
    there = tuple(within.voxels.T)
    assert both[there].sum() < alone[there].sum()


def test_a_click_with_a_negative_stroke_gets_one_mask(model, phantom, embedding):
    stroke = _stroke((5, 5, 0), (60, 5, 0), positive=False)
    assert len(model.decode(embedding, prompts(phantom, CLICK, stroke)).scores) == 1


def test_negative_marks_leave_an_empty_prediction_empty(model, phantom, embedding):
    nothing = Prediction(
        np.full((1, *phantom.image.shape), -9, np.float32), np.full(1, 0.5, np.float32), phantom.image.geometry
    )
    asked = prompts(phantom, Point((5, 5, 0), positive=False))
    assert not model.decode(embedding, asked, nothing).mask.any()


def test_a_mask_drawn_after_an_empty_answer_counts(model):
    image, mask = disc(96, (60, 40), 15)
    embedding = model.embed(image)
    empty = Prediction(np.full((1, 96, 96, 1), -4, np.float32), np.zeros(1, np.float32), embedding.geometry)
    answer = model.decode(embedding, Prompts(embedding.geometry, (MaskPrompt(mask),)), empty)
    assert dice(answer.mask, mask) > 0.9


@pytest.mark.parametrize("seed", range(6))
def test_every_click_has_its_say_whatever_is_asked_at_once(model, seed):
    rng = np.random.default_rng(seed)
    grey = rng.uniform(0, 255, (1, 48, 40, 1)).astype(np.float32)
    image = Image(np.repeat(grey, 3, axis=0), Geometry.picture(48, 40), RGB)
    places = rng.permutation(48 * 40)[:5]
    clicks = [Point((int(p % 48), int(p // 48), 0), positive=n % 2 == 0) for n, p in enumerate(places)]
    answer = model.decode(model.embed(image), Prompts(image.geometry, tuple(clicks)))
    assert [bool(answer.mask[click.voxel]) for click in clicks] == [click.positive for click in clicks]


def test_several_marks_are_found_together(model):
    image, mask = disc(300, (150, 150), 100)
    marks = (Point((90, 150, 0)), Point((210, 150, 0)), Point((20, 20, 0), positive=False))
    found = model.decode(model.embed(image), Prompts(image.geometry, marks))
    assert len(found.scores) == 1
    assert dice(found.mask, mask) > 0.85


@pytest.mark.parametrize("label", [1, 2])
def test_a_tight_box_finds_a_plain_object(model, phantom, embedding, label):
    prediction = model.decode(embedding, prompts(phantom, phantom.box(label)))
    assert dice(prediction.mask, phantom.mask(label)) > 0.85
    assert prediction.score > 0.3


def test_a_previous_prediction_matters(model, phantom, embedding):
    asked = prompts(phantom, phantom.box(1))
    plain = model.decode(embedding, asked)
    shape = phantom.image.shape
    nothing = Prediction(np.full((1, *shape), -9, np.float32), np.ones(1, np.float32), phantom.image.geometry)
    assert not np.allclose(plain.logits, model.decode(embedding, asked, nothing).logits, atol=1e-2)


def test_a_packed_embedding_is_the_plane_alone(model, embedding, phantom):
    packed = model.pack(embedding)
    assert {name: array.dtype.name for name, array in packed.items()} == {"plane": "uint8"}
    assert embedding.nbytes == packed["plane"].nbytes
    asked = prompts(phantom, phantom.box(1))
    unpacked = model.unpack(packed, phantom.image.geometry)
    np.testing.assert_array_equal(model.decode(unpacked, asked).logits, model.decode(embedding, asked).logits)


def test_a_packed_embedding_of_another_image_is_refused(model, embedding):
    with pytest.raises(CorruptFileError, match="an embedding of"):
        model.unpack(model.pack(embedding), Geometry.picture(160, 240))
    with pytest.raises(CorruptFileError):
        model.unpack({}, Geometry.picture(240, 160))


def test_a_packed_embedding_is_grey_or_in_three_colours(model):
    geometry = Geometry.picture(40, 30)
    for channels in (1, 3):
        model.unpack({"plane": np.zeros((channels, 40, 30, 1), np.uint8)}, geometry)
    with pytest.raises(CorruptFileError, match=r"an embedding of .*\(2, 40, 30, 1\)"):
        model.unpack({"plane": np.zeros((2, 40, 30, 1), np.uint8)}, geometry)


def test_grey_is_refused_with_what_is_wanted(model):
    with pytest.raises(ImageError, match="one plane of 3 channels"):
        model.embed(picture().image)


def test_threads_do_not_change_the_result(model, phantom, embedding):
    asked = prompts(phantom, phantom.box(1))
    single = TinyModel(FOLDER, device="cpu", threads=1)
    wanted = model.decode(embedding, asked).logits
    np.testing.assert_allclose(single.decode(single.embed(phantom.image), asked).logits, wanted, atol=1e-2)


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "tiny")
    return tmp_path / "tiny"


def ask(model):
    image = Image(np.zeros((3, 32, 32, 1), np.float32), Geometry.picture(32, 32), RGB)
    return model.decode(model.embed(image), Prompts(image.geometry, (Point((16, 16, 0)),)))


def test_damaged_weights_are_refused(copied):
    weights = copied / "weights" / "network.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ChecksumError, match=r"network\.onnx"):
        ask(TinyModel(copied))


def test_missing_weights_are_refused(copied):
    (copied / "weights" / "network.onnx").unlink()
    with pytest.raises(WeightsError, match="Install samaritan again"):
        ask(TinyModel(copied))


def test_weights_are_read_only_when_they_are_needed(copied):
    shutil.rmtree(copied / "weights")
    assert TinyModel(copied).card.name == "tiny"
