"""Classes found by name, in the right place; with a network whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from samaritan.adapt.semantic.kind import Semantic
from samaritan.adapt.semantic.model import SemanticModel
from samaritan.core.errors import CorruptFileError, UnknownNameError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import Image
from samaritan.core.prompts import Point, Prompts, Text
from samaritan.infer import every_class, segment
from samaritan.infer.embedder import Embedder
from samaritan.models import model_card

CLASSES = {3: "dim", 7: "bright"}


class Levels(nn.Module):
    """Says what is dim and what is bright of the middle channel, at half resolution."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.calls = []

    def forward(self, pictures):
        self.calls.append(pictures)
        grey = nn.functional.avg_pool2d(pictures[:, 1:2], 2)
        return torch.cat([-(grey - level).abs() / 10 for level in (0.0, 100.0, 250.0)], dim=1)


@pytest.fixture
def model():
    card = Semantic(classes=CLASSES, side=64, slices=3).card(model_card("tiny"))
    return SemanticModel(replace(card, name="levels"), Levels(), side=64, multiple=32)


def volume(orientation="RAS"):
    """A dim and a bright block in some slices of a volume, along k."""
    array = np.zeros((40, 30, 8), np.uint8)
    array[5:15, 5:20, 2:5], array[20:35, 8:24, 3:7] = 100, 250
    geometry = Geometry.from_spacing(array.shape, (1.0, 1.0, 3.0))
    return Image(array[None], geometry)


def test_all_classes_of_a_volume_are_found_where_they_are_with_their_values(model):
    image = volume()
    result = segment(model, image, every_class(model.card, image.geometry))
    assert result.labels.names == {3: "dim", 7: "bright"}
    wanted = np.select([image.array[0] == 100, image.array[0] == 250], [3, 7], 0)
    agree = [2 * ((result.labels.array == v) & (wanted == v)).sum() / ((result.labels.array == v).sum()
             + (wanted == v).sum()) for v in (3, 7)]  # fmt: skip
    assert min(agree) > 0.9
    assert not result.labels.array[..., :2].any()
    assert not result.labels.array[..., 7].any()


def test_one_class_by_name_and_masks_do_not_overlap(model):
    image = volume()
    geometry = image.geometry
    named = {name: Prompts(geometry, (Text(name.upper()),)) for name in CLASSES.values()}
    found = segment(model, image, named).objects
    assert not (found[0].mask & found[1].mask).any()
    alone = segment(model, image, {"x": named["dim"]})
    np.testing.assert_array_equal(alone.objects[0].mask, found[0].mask)
    assert alone.labels.names == {1: "x"}
    both = segment(model, image, {"x": Prompts(geometry, (Text("dim"), Text("bright")))})
    # What lies between two classes in a plane is both's.
    assert not ((found[0].mask | found[1].mask) & ~both.objects[0].mask).any()


def test_neighbouring_slices_are_seen_as_channels(model):
    image = volume()
    embedder = Embedder(model, image)
    seen = embedder.prepared(("k", 4)).array
    np.testing.assert_allclose(seen[:, ..., 0], image.array[0][..., 3:6].transpose(2, 0, 1), atol=1)
    np.testing.assert_array_equal(embedder.prepared(("k", 0)).array[0], embedder.prepared(("k", 0)).array[1])
    picture = Image(image.array[..., 4:5], Geometry.picture(40, 30))
    np.testing.assert_array_equal(*Embedder(model, picture).prepared(("k", 0)).array[:2])


def test_what_is_no_class_and_what_is_no_name(model):
    embedding = Embedder(model, volume()).embedding(("k", 4))
    with pytest.raises(UnknownNameError, match=r"class of model 'levels' 'brigth'\. Did you mean 'bright'"):
        model.decode(embedding, Prompts(embedding.geometry, (Text("brigth"),)))
    with pytest.raises(UnsupportedPromptError, match="point"):
        model.decode(embedding, Prompts(embedding.geometry, (Point((1, 1, 0)),)))


def test_planes_of_a_size_are_seen_at_once_and_embeddings_are_kept(model):
    image = volume()
    embedder = Embedder(model, image)
    planes = [embedder.prepared(("k", index)) for index in range(4)]
    together = model.embed_batch(planes)
    assert len(model._network.calls) == 1
    for plane, one in zip(planes, together, strict=True):
        np.testing.assert_allclose(model.embed(plane).logits, one.logits, atol=1e-5)
    kept = model.unpack(model.pack(together[3]), planes[3].geometry)
    asked = Prompts(planes[3].geometry, (Text("dim"),))
    np.testing.assert_array_equal(model.decode(kept, asked).logits, model.decode(together[3], asked).logits)
    with pytest.raises(CorruptFileError, match="2 classes"):
        model.unpack({"logits": np.zeros((2, 32, 32), np.float32)}, planes[3].geometry)


def test_the_score_is_the_overlap_that_is_to_be_expected(model):
    image = volume()
    embedding = Embedder(model, image).embedding(("k", 4))
    sure = model.decode(embedding, Prompts(embedding.geometry, (Text("dim"),)))
    assert 0.8 < sure.score <= 1
    empty = Embedder(model, image).embedding(("k", 0))
    assert model.decode(empty, Prompts(empty.geometry, (Text("dim"),))).score == 0
