"""What tells weights from others, and whether they are there, without loading them."""

import pytest

from samaritan.core.errors import UnknownNameError, WeightsError
from samaritan.models import model_card
from samaritan.models.fingerprint import fingerprint


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMARITAN_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("SAMARITAN_NNINTERACTIVE_URL", raising=False)
    monkeypatch.chdir(tmp_path)


def test_of_what_is_built_in_it_is_the_cards():
    assert fingerprint("tiny") == model_card("tiny").sha256
    assert fingerprint("ellipse") != fingerprint("otsu")


@pytest.mark.parametrize(
    ("name", "words"), [("sam-vit-b", "models pull sam-vit-b"), ("sam3-concept", "pull"), ("nninteractive", "URL")]
)
def test_weights_that_are_not_here_are_told(name, words):
    with pytest.raises(WeightsError, match=words):
        fingerprint(name)


def test_of_a_published_model_it_is_the_cards_or_what_was_recorded(tmp_path):
    from samaritan.models.published import published  # noqa: PLC0415

    for name in ("sam-vit-b", "sam-med2d"):
        known = published(name)
        known.path.parent.mkdir(parents=True)
        known.path.write_bytes(b"weights")
    assert fingerprint("sam-vit-b") == published("sam-vit-b").sha256
    before = fingerprint("sam-med2d")
    assert before
    known.path.write_bytes(b"other weights")
    assert fingerprint("sam-med2d") != before
    known.path.with_name(f"{known.path.name}.sha256").write_text("abc  file\n")
    assert fingerprint("sam-med2d") == "abc"


def test_of_a_file_and_of_an_adapter_it_changes_with_what_is_there(tmp_path):
    file, folder = tmp_path / "mine.safetensors", tmp_path / "run"
    file.write_bytes(b"12345678{}")
    folder.mkdir()
    (folder / "adapter.json").write_text("{}")
    (folder / "adapter.safetensors").write_bytes(b"one")
    before = fingerprint("mine.safetensors"), fingerprint("run")
    assert (fingerprint(str(file)), fingerprint(str(folder))) == before
    (folder / "adapter.json").write_text('{"metrics": 1}')  # scores are written there once they are known
    assert fingerprint("run") == before[1]
    file.write_bytes(b"12345678{...}")
    (folder / "adapter.safetensors").write_bytes(b"two")
    assert fingerprint("mine.safetensors") != before[0]
    assert fingerprint("run") != before[1]


def test_what_is_no_model_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "card.toml").write_text("")
    for name, error, words in (
        ("data", UnknownNameError, "a folder without a model"),
        ("gone.pth", UnknownNameError, "no such file"),
        ("medsan", UnknownNameError, "Did you mean 'medsam'"),
        ("photo.png", WeightsError, "no checkpoint"),
        ("exported", WeightsError, "no file encoder.onnx"),
    ):
        with pytest.raises(error, match=words):
            fingerprint(name)
