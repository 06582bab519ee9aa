"""Several pictures and several objects at once, in PyTorch: what comes out is what each gives alone."""

import functools
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.references import randomise

from samaritan.core.errors import GeometryMismatchError, ImageError, PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import BatchModel, images_at_once
from samaritan.core.prompts import Box, Point, Prompts, Scribble
from samaritan.models import sam
from samaritan.models.planar import FrameSpec, PlanarModel
from samaritan.models.planar.graph_network import GraphNetwork
from samaritan.models.planar.network import PAD, DecoderSpec, Tokens, padded
from samaritan.models.planar.torch_network import TorchNetwork
from samaritan.models.published import published

SIDE = 64


@functools.cache
def model():
    network = sam.network(randomise(sam.build(48, 4, 3, side=SIDE)), "cpu")
    return PlanarModel(replace(published("sam-vit-b").card, sha256="0" * 64), network, FrameSpec(SIDE))


def picture(width=40, height=30, seed=0):
    array = np.random.default_rng(seed).integers(0, 256, (3, width, height, 1)).astype(np.float32)
    return Image(array, Geometry.picture(width, height), channels=RGB)


def asked(image, *items):
    return Prompts(image.geometry, items)


class Counted:
    """Counts what a decoder is asked at once."""

    def __init__(self, monkeypatch):
        self.sizes = []
        inputs = DecoderSpec.inputs

        def counting(spec, tokens):
            self.sizes.append((len(tokens), len(tokens[0].labels)))
            return inputs(spec, tokens)

        monkeypatch.setattr(DecoderSpec, "inputs", counting)


def mixed(image):
    """Return prompts of objects that take 2, 3, 2, 2 and 9 tokens."""
    line = Scribble(np.array([(n, n, 0) for n in range(2, 20)]))
    return [
        asked(image, Point((9, 9, 0))),
        asked(image, Point((9, 9, 0)), Point((20, 5, 0), positive=False)),
        asked(image, Box((3, 4, 0), (30, 22, 1))),
        asked(image, Point((30, 20, 0))),
        asked(image, line),
    ]


def test_objects_with_as_many_tokens_are_decoded_together(monkeypatch):
    image = picture()
    embedding = model().embed(image)
    previous = [None, None, None, model().decode(embedding, mixed(image)[2]), None]
    wanted = [model().decode(embedding, *both) for both in zip(mixed(image), previous, strict=True)]
    counted = Counted(monkeypatch)
    found = model().decode_batch(embedding, mixed(image), previous)
    assert counted.sizes == [(3, 2), (1, 3), (1, 9)]
    for first, second in zip(found, wanted, strict=True):
        np.testing.assert_allclose(first.logits, second.logits, atol=1e-4)
        np.testing.assert_allclose(first.scores, second.scores, atol=1e-4)
    assert [len(prediction.scores) for prediction in found] == [3, 1, 1, 1, 1]


def test_no_more_are_decoded_together_than_memory_allows(monkeypatch):
    image = picture()
    embedding = model().embed(image)
    monkeypatch.setattr(TorchNetwork, "most_objects", 2)
    counted = Counted(monkeypatch)
    model().decode_batch(embedding, mixed(image))
    assert [count for count, _ in counted.sizes] == [2, 1, 1, 1]


def test_the_larger_the_masks_the_fewer_objects_at_once():
    assert [DecoderSpec({}, mask_side).objects_in(512 << 20) for mask_side in (64, 256, 4096)] == [128, 8, 1]


def test_a_cpu_is_asked_about_few_objects_at_once_and_a_gpu_about_more():
    network = copy(model().network)
    network._spec = replace(network.spec, mask_side=256)
    assert network.most_objects == GraphNetwork(None, None, network.spec).most_objects == 2
    network.device = torch.device("cuda")
    assert network.most_objects == 8


def test_the_object_that_is_refused_is_named():
    image = picture()
    embedding, good = model().embed(image), asked(image, Point((9, 9, 0)))
    beside = asked(image, Point((9, 9, 0), positive=False))
    with pytest.raises(PromptError, match=r"^object 2 of 3: negative"):
        model().decode_batch(embedding, [good, beside, good])
    with pytest.raises(GeometryMismatchError, match=r"^object 1 of 1: "):
        model().decode_batch(embedding, [asked(picture(30, 40), Point((9, 9, 0)))])


def test_pictures_encoded_together_are_what_they_are_alone(monkeypatch):
    assert isinstance(model(), BatchModel)
    monkeypatch.setattr(TorchNetwork, "most_pictures", 2)
    images = [picture(seed=0), picture(25, 60, seed=1), picture(64, 64, seed=2)]
    found = model().embed_batch(images)
    for image, embedding in zip(images, found, strict=True):
        assert embedding.geometry.matches(image.geometry)
        alone = model().embed(image)
        for name, features in alone.features.items():
            assert embedding.features[name].shape == features.shape
            assert (embedding.features[name] - features).abs().max() <= 1e-4
            held = embedding.features[name].untyped_storage().nbytes()
            assert held == features.nbytes, "an embedding holds on to the others"


def test_a_cpu_encodes_one_picture_at_once_and_a_gpu_what_it_has_room_for(monkeypatch):
    assert images_at_once(model()) == 1
    assert GraphNetwork(None, None, model().network.spec).most_pictures == 1
    elsewhere = copy(model().network)
    elsewhere.device = torch.device("cuda")
    for free, wanted in ((1 << 20, 1), (5 << 30, 5), (99 << 30, 16)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 99 << 30))
        assert images_at_once(PlanarModel(model().card, elsewhere, model().frame)) == wanted


def test_the_picture_that_is_refused_is_named_before_any_is_encoded(monkeypatch):
    grey = Image(np.ones((1, 8, 8, 1), np.float32), Geometry.picture(8, 8))
    monkeypatch.setattr(TorchNetwork, "encode_all", None)
    with pytest.raises(ImageError, match=r"^image 2 of 2: "):
        model().embed_batch([picture(), grey])


def test_one_token_that_says_nothing_is_enough():
    box = Tokens(np.ones((2, 2), np.float32), np.array([2, 3]), np.zeros((4, 4), np.float32))
    once = padded(box)
    assert once.labels.tolist() == [2, 3, PAD]
    assert once.coords.shape == (3, 2)
    assert once.mask is box.mask
    assert padded(once) is once
