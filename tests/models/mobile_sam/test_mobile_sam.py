"""MobileSAM gives what its own package gives, for the same weights in its own file format."""

import functools

import numpy as np
import pytest
import torch
from tests.models.references import PROMPTS, asked, original, randomise

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import mobile_sam
from samaritan.models.checkpoint import read_checkpoint
from samaritan.models.family import load_module, recognise
from samaritan.models.planar import FrameSpec, Tokens
from samaritan.models.published import load_file

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mobile-sam")]  # one process encodes each picture

CLOSE = 1e-4
SIZES = [(90, 61), (300, 517), (1400, 900)]


@functools.cache
def reference():
    return randomise(original("mobile_sam").sam_model_registry["vit_t"]())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "renamed.bin"
    torch.save(reference().state_dict(), path)
    return path


def picture(width=90, height=61):
    array = np.random.default_rng(0).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def test_the_official_file_is_recognised_whatever_its_name(file):
    found = recognise(read_checkpoint(file))
    assert (found.family, found.variant, found.difference.none) == ("mobile-sam", "mobile-sam", True)


@pytest.fixture(scope="module")
def encoded(file):
    """Return a call that gives the original's predictor for a picture of a size, our network, and its features."""
    ours = mobile_sam.network(load_module(read_checkpoint(file), "mobile-sam", "mobile-sam"), "cpu")

    @functools.cache
    def of(size):
        image = picture(*size)
        theirs = original("mobile_sam").SamPredictor(reference())
        theirs.set_image(image.array[..., 0].astype(np.uint8).T)
        return theirs, ours, ours.encode(FrameSpec(1024).picture(image))

    return of


@pytest.mark.parametrize("size", SIZES)
def test_embeddings_are_the_same(encoded, size):
    theirs, _, features = encoded(size)
    assert theirs.features.std() > 0.01
    assert (theirs.features - features["embedding"]).abs().max() <= CLOSE


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", PROMPTS)
def test_masks_are_the_same(encoded, name, several, size):
    points, labels, box, _ = PROMPTS[name]
    theirs, ours, features = encoded(size)
    low, scores, mask = asked(theirs, name, mask_side=256, several=several)
    placed = np.array([*points, *((box[:2], box[2:]) if box else ((0.0, 0.0),))])
    coords = theirs.transform.apply_coords(placed, size[::-1]).astype(np.float32) + np.float32(0.5)
    kinds = np.array([*labels, *((2, 3) if box else (-1,))])
    logits, iou = ours.decode(features, Tokens(coords, kinds, mask))
    kept = slice(1, None) if several else slice(0, 1)
    assert np.ptp(low) > 0.1
    np.testing.assert_allclose(logits[kept], low, atol=CLOSE)
    np.testing.assert_allclose(iou[kept], scores, atol=CLOSE)


def test_a_file_is_a_model_with_a_card_and_keeps_what_it_embeds(file):
    model = load_file(file, device="cpu")
    assert model.card.family == "mobile-sam"
    assert model.card.sha256 == read_checkpoint(file).sha256
    assert not model.card.scores
    image = picture()
    embedding = model.embed(image)
    prompts = Prompts(image.geometry, (Box((10, 20, 0), (50, 55, 1)), Point((20, 30, 0))))
    kept = model.unpack(model.pack(embedding), image.geometry)
    np.testing.assert_array_equal(model.decode(kept, prompts).logits, model.decode(embedding, prompts).logits)
    assert model.decode(embedding, prompts).logits.shape == (1, 90, 61, 1)
    assert len(model.decode(embedding, Prompts(image.geometry, (Point((20, 30, 0)),))).scores) == 3


def test_lite_medsam_has_as_many_cells_for_a_quarter_of_the_side():
    module = randomise(mobile_sam.FAMILY.variants["lite-medsam"]())
    features = mobile_sam.network(module, "cpu").encode(FrameSpec(256, values="minmax").picture(picture()))
    assert features["embedding"].shape == (1, 256, 64, 64)
    assert torch.isfinite(features["embedding"]).all()
