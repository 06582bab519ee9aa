"""The SAM-HQ family gives what segment-anything-hq itself gives, for the same weights: with a ViT, and with TinyViT."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.references import PROMPTS, asked, original, randomise

from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Point, Prompts
from samaritan.models import sam_hq
from samaritan.models.checkpoint import Checkpoint, read_checkpoint
from samaritan.models.family import FAMILIES, Difference, family_of, recognise
from samaritan.models.planar import FrameSpec, PlanarModel, Tokens
from samaritan.models.published import load_file, load_published, published
from samaritan.models.sam_hq import light
from samaritan.models.sam_hq.keys import to_transformers

WIDTH, DEPTH, HEADS = 96, 8, 3
SIDE, WHOLE = 256, 1024  # pixels of a frame: of the small ViT, and of TinyViT, whose original knows no other
CLOSE = 1e-4
SIZES = {"vit_b": "sam-hq-vit-b", "vit_l": "sam-hq-vit-l", "vit_h": "sam-hq-vit-h", "vit_tiny": "sam-hq-vit-tiny"}
SLOW = [pytest.mark.slow, pytest.mark.xdist_group("light-hq-sam")]  # one process encodes each picture


@pytest.fixture(autouse=True)
def _one_thread():
    """Small products wait longer for other threads than they take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def reference():
    """segment-anything-hq with a small encoder for small pictures, and random weights."""
    modeling = original("segment_anything_hq.modeling")
    norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    cells = SIDE // 16
    encoder = modeling.ImageEncoderViT(
        depth=DEPTH, embed_dim=WIDTH, num_heads=HEADS, global_attn_indexes=[1, 3, 5, 7], img_size=SIDE, patch_size=16,
        mlp_ratio=4, norm_layer=norm, qkv_bias=True, use_rel_pos=True, window_size=14, out_chans=256,
    )  # fmt: skip
    prompt = modeling.PromptEncoder(
        embed_dim=256, image_embedding_size=(cells, cells), input_image_size=(SIDE, SIDE), mask_in_chans=16
    )
    decoder = modeling.MaskDecoderHQ(
        num_multimask_outputs=3, transformer_dim=256, iou_head_depth=3, iou_head_hidden_dim=256, vit_dim=WIDTH,
        transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
    )  # fmt: skip
    return randomise(modeling.Sam(encoder, prompt, decoder))


@functools.cache
def network():
    """Ours, with the reference's weights."""
    module = sam_hq.build(WIDTH, DEPTH, HEADS, side=SIDE)
    module.load_state_dict(to_transformers(reference().state_dict()), strict=True)
    return sam_hq.network(module, "cpu")


@functools.cache
def light_reference():
    """Light HQ-SAM of segment-anything-hq with random weights."""
    return randomise(original("segment_anything_hq").sam_model_registry["vit_tiny"]())


@functools.cache
def light_network():
    """Ours, with the light reference's weights."""
    module = light.build(WHOLE)
    module.load_state_dict(light.FAMILY.rename(light_reference().state_dict()), strict=True)
    return light.network(module.eval(), "cpu")


def picture(width, height):
    rng = np.random.default_rng(width)
    array = rng.integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


@dataclass(frozen=True)
class Pair:
    """The original and ours, with the same weights, for frames of ``side`` pixels."""

    reference: Callable[[], Any]
    network: Callable[[], Any]
    side: int

    def predictor(self, image):
        theirs = original("segment_anything_hq").SamPredictor(self.reference())
        theirs.set_image(image.array[..., 0].astype(np.uint8).T)
        return theirs

    @functools.cache  # noqa: B019 - there are two, and they stay
    def encoded(self, size):
        image = picture(*size)
        return self.predictor(image), self.network().encode(FrameSpec(self.side).picture(image))

    def details(self, theirs):
        """What the original makes of a picture for its decoder, whatever is asked."""
        decoder = self.reference().mask_decoder
        early = theirs.interm_features[0].permute(0, 3, 1, 2)
        return decoder.embedding_encoder(theirs.features) + decoder.compress_vit_feat(early)

    def both(self, name, size, *, several):
        """What theirs gives, one mask in any case, and what ours gives: logits and scores of each."""
        points, labels, box, _ = PROMPTS[name]
        theirs, features = self.encoded(size)
        low, scores, mask = asked(theirs, name, mask_side=self.side // 4, several=several)
        coords = np.array([*points, *((box[:2], box[2:]) if box else ((-0.5, -0.5),))])
        kinds = [*labels, *((2, 3) if box else (-1,))]
        placed = (theirs.transform.apply_coords(coords, size[::-1]) + 0.5).astype(np.float32)
        tokens = Tokens(placed, np.array(kinds), mask)
        return (low, scores), self.network().decode(features, tokens)


VIT, LIGHT = Pair(reference, network, SIDE), Pair(light_reference, light_network, WHOLE)
each_pair = pytest.mark.parametrize("pair", [VIT, pytest.param(LIGHT, marks=SLOW)], ids=["vit", "light"])


@each_pair
@pytest.mark.parametrize("size", [(256, 256), (256, 100), (90, 256), (300, 517), (61, 47)])
@torch.no_grad()
def test_embeddings_and_details_are_the_same(pair, size):
    theirs, ours = pair.encoded(size)
    for wanted, found in ((theirs.features, ours["embedding"]), (pair.details(theirs), ours["details"])):
        assert wanted.std() > 0.01
        assert (wanted - found).abs().max() <= CLOSE


@each_pair
@pytest.mark.parametrize("size", [(256, 100), (300, 517), (61, 47)])
@pytest.mark.parametrize("name", PROMPTS)
def test_mask_0_is_the_one_that_the_original_gives_if_asked_for_one(pair, name, size):
    (low, scores), (logits, iou) = pair.both(name, size, several=False)
    assert np.ptp(low) > 0.1
    np.testing.assert_allclose(logits[:1], low, atol=CLOSE)
    np.testing.assert_allclose(iou[:1], scores, atol=CLOSE)


@each_pair
@pytest.mark.parametrize("size", [(256, 100), (300, 517), (61, 47)])
@pytest.mark.parametrize("name", PROMPTS)
def test_the_best_of_the_others_is_the_one_that_the_original_gives_if_asked_for_several(pair, name, size):
    (low, scores), (logits, iou) = pair.both(name, size, several=True)
    best = 1 + iou[1:].argmax()
    assert len(low) == 1
    np.testing.assert_allclose(logits[best : best + 1], low, atol=CLOSE)
    np.testing.assert_allclose(iou[best : best + 1], scores, atol=CLOSE)


@each_pair
@pytest.mark.parametrize("number", [0, 1, 2, 3])
@torch.no_grad()
def test_the_fine_mask_is_added_to_every_one(pair, number):
    theirs, features = pair.encoded((256, 100))
    prompt, decoder = pair.reference().prompt_encoder, pair.reference().mask_decoder
    sparse, dense = prompt((torch.tensor([[[70.0, 33.0]]]), torch.tensor([[1]])), None, None)
    masks, _ = decoder.predict_masks(theirs.features, prompt.get_dense_pe(), sparse, dense, pair.details(theirs))
    tokens = Tokens(np.array([[70.5, 33.5], [0, 0]], np.float32), np.array([1, -1]))
    logits, _ = pair.network().decode(features, tokens)
    assert masks[0, 4].std() > 0.1
    np.testing.assert_allclose(logits[number], masks[0, number] + masks[0, 4], atol=CLOSE)


@functools.cache
def official(size):
    if size == "vit_tiny":  # it reads numbers out of a tensor, which those of the meta device have none of
        return light_reference().state_dict()
    with torch.device("meta"):
        return original("segment_anything_hq").sam_model_registry[size]().state_dict()


@pytest.mark.parametrize("size", SIZES)
def test_every_tensor_of_the_official_files_has_its_place(size):
    family = FAMILIES.get(family_of(SIZES[size]))
    with torch.device("meta"):
        ours = family.variants[SIZES[size]]().state_dict()
    found = {name: tuple(tensor.shape) for name, tensor in family.rename(official(size)).items()}
    assert Difference.between(found, {name: tuple(tensor.shape) for name, tensor in ours.items()}).none


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_known_by_its_tensors(size, tmp_path):
    found = recognise(Checkpoint(tmp_path / "renamed.bin", official(size), ""))
    assert (found.variant, found.difference.none) == (SIZES[size], True)


def test_a_file_by_transformers_names_stays_as_it_is():
    tensors = sam_hq.build(WIDTH, DEPTH, HEADS, side=SIDE).state_dict()
    assert to_transformers(tensors).keys() == tensors.keys()


def test_the_official_file_format_is_read(tmp_path):
    torch.save(reference().state_dict(), tmp_path / "sam_hq.pth")
    checkpoint = read_checkpoint(tmp_path / "sam_hq.pth")
    assert checkpoint.shapes == {name: tuple(tensor.shape) for name, tensor in reference().state_dict().items()}


def test_an_embedding_is_kept_and_found_again():
    model = PlanarModel(published("sam-hq-vit-b").card, network(), FrameSpec(SIDE))
    image = picture(90, 61)
    embedding = model.embed(image)
    kept = model.unpack(model.pack(embedding), image.geometry)
    prompts = Prompts(image.geometry, (Box((10, 20, 0), (50, 55, 1)), Point((20, 30, 0))))
    np.testing.assert_array_equal(model.decode(kept, prompts).logits, model.decode(embedding, prompts).logits)
    cells = SIDE // 16
    assert embedding.nbytes == 4 * (256 * cells**2 + 32 * (4 * cells) ** 2)


@pytest.mark.slow
def test_a_file_of_light_hq_sam_is_a_model_whatever_its_name(tmp_path):
    torch.save(light_reference().state_dict(), tmp_path / "renamed.bin")
    found = load_file(tmp_path / "renamed.bin", device="cpu")
    asked_for = load_published("sam-hq-vit-tiny", weights=tmp_path / "renamed.bin", device="cpu")
    image = picture(90, 61)
    prompts = Prompts(image.geometry, (Box((10, 20, 0), (50, 55, 1)), Point((20, 30, 0))))
    embedding = found.embed(image)
    assert (found.card.name, found.card.licence) == ("sam-hq-vit-tiny", "unknown")
    assert embedding.features["details"].shape == (1, 32, 256, 256)
    np.testing.assert_array_equal(
        found.decode(embedding, prompts).logits, asked_for.decode(asked_for.embed(image), prompts).logits
    )
