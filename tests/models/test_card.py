import hashlib

import pytest

from samaritan.core.errors import ChecksumError, UnknownNameError, WeightsError
from samaritan.models.card import read_card, read_weights

CARD = """
name = "m"
family = "sam"
title = "A model"
licence = "MIT"
commercial_use = true
native_shape = [64, 32]
dims = 2
prompts = ["point", "box"]
training_data = ["a (CC0-1.0)"]
[scores]
"box Dice" = 0.5
[files]
"""


@pytest.fixture
def card(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"weights")
    path = tmp_path / "card.toml"
    path.write_text(f'{CARD}"a.onnx" = "{hashlib.sha256(b"weights").hexdigest()}"\n')
    return path


def test_a_card_is_read(card):
    found = read_card(card)
    assert (found.name, found.native_shape, found.prompts) == ("m", (64, 32), {"point", "box"})
    assert found.training_data == ("a (CC0-1.0)",)
    assert found.scores == {"box Dice": 0.5}
    assert len(found.sha256) == 64


def test_the_fingerprint_follows_the_weights_and_nothing_else(card):
    before = read_card(card).sha256
    text = card.read_text()
    card.write_text(text.replace("A model", "Another title"))
    assert read_card(card).sha256 == before
    card.write_text(text.replace(hashlib.sha256(b"weights").hexdigest(), "0" * 64))
    assert read_card(card).sha256 != before


def test_weights_of_the_card_are_returned(card):
    assert read_weights(card, card.parent / "a.onnx") == b"weights"


def test_changed_weights_are_refused(card):
    (card.parent / "a.onnx").write_bytes(b"weightz")
    with pytest.raises(ChecksumError, match=r"a\.onnx"):
        read_weights(card, card.parent / "a.onnx")


def test_missing_weights_are_refused(card):
    (card.parent / "a.onnx").unlink()
    with pytest.raises(WeightsError, match="pip install"):
        read_weights(card, card.parent / "a.onnx")


def test_weights_that_the_card_does_not_list_are_refused(card):
    with pytest.raises(WeightsError, match=r"b\.onnx"):
        read_weights(card, card.parent / "b.onnx")


@pytest.mark.parametrize(
    ("old", "new"),
    [('name = "m"', "name = "), ('licence = "MIT"', ""), ("dims = 2", 'dims = 2\ncolour = "red"')],
    ids=["no TOML", "a field missing", "a field too many"],
)
def test_a_malformed_card_is_refused(card, old, new):
    card.write_text(card.read_text().replace(old, new))
    with pytest.raises(WeightsError, match=r"card\.toml"):
        read_card(card)


def test_a_missing_card_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        read_card(tmp_path / "card.toml")


def test_an_unknown_kind_of_prompt_on_a_card_is_refused(card):
    card.write_text(card.read_text().replace('"point"', '"pint"'))
    with pytest.raises(UnknownNameError, match="point"):
        read_card(card)
