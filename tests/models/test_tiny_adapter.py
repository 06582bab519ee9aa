import shutil

import numpy as np
import pytest

from samaritan.core.errors import ChecksumError, CorruptFileError, ImageError, WeightsError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box, Point, Prompts, Scribble
from samaritan.models import load_model
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyModel
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


@pytest.mark.parametrize("label", [1, 2])
def test_a_tight_box_finds_a_plain_object(model, phantom, embedding, label):
    prediction = model.decode(embedding, prompts(phantom, phantom.box(label)))
    truth = phantom.mask(label)
    dice = 2 * (prediction.mask & truth).sum() / (prediction.mask.sum() + truth.sum())
    assert dice > 0.85
    assert prediction.score > 0.3


def test_a_previous_prediction_matters(model, phantom, embedding):
    asked = prompts(phantom, phantom.box(1))
    plain = model.decode(embedding, asked)
    shape = phantom.image.shape
    nothing = Prediction(np.full((1, *shape), -9, np.float32), np.ones(1, np.float32), phantom.image.geometry)
    assert not np.allclose(plain.logits, model.decode(embedding, asked, nothing).logits, atol=1e-2)


def test_a_packed_embedding_is_small_and_exact(model, embedding, phantom):
    packed = model.pack(embedding)
    assert {name: array.dtype.name for name, array in packed.items()} == {
        "plane": "uint8",
        "s16": "float16",
        "s8": "float16",
        "s4": "float16",
        "s2": "float16",
    }
    assert 2 * sum(array.nbytes for array in packed.values()) == embedding.nbytes + packed["plane"].nbytes
    unpacked = model.unpack(packed, phantom.image.geometry)
    for name, array in embedding.features.items():
        np.testing.assert_array_equal(array, unpacked.features[name])


def test_a_packed_embedding_of_another_image_is_refused(model, embedding):
    with pytest.raises(CorruptFileError, match="embedding of shapes"):
        model.unpack(model.pack(embedding), Geometry.picture(160, 240))
    with pytest.raises(CorruptFileError):
        model.unpack({}, Geometry.picture(240, 160))


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


def square():
    return Image(np.zeros((3, 32, 32, 1), np.float32), Geometry.picture(32, 32), RGB)


def test_damaged_weights_are_refused(copied):
    weights = copied / "weights" / "encoder.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ChecksumError, match=r"encoder\.onnx"):
        TinyModel(copied).embed(square())


def test_missing_weights_are_refused(copied):
    (copied / "weights" / "encoder.onnx").unlink()
    with pytest.raises(WeightsError, match="Install samaritan again"):
        TinyModel(copied).embed(square())


def test_weights_are_read_only_when_they_are_needed(copied):
    shutil.rmtree(copied / "weights")
    assert TinyModel(copied).card.name == "tiny"
