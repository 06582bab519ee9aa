"""Published models: their cards agree with each other, and say no more of a file than is known."""

import pytest
import torch
from tests.models.toys import Toy, publish, use_toys

from samaritan.core.errors import WeightsError
from samaritan.models import MODELS, load_model, model_card
from samaritan.models.published import AmbiguousWeightsWarning, others_of, published, published_names

SHARED = ("file", "sha256", "also", "bytes", "url", "accept", "terms")


def test_a_card_registers_its_model():
    assert set(published_names()) < set(MODELS)
    for name in published_names():
        assert model_card(name) is published(name).card
        assert published(name).card.name == name


@pytest.mark.parametrize("name", [name for name in published_names() if published(name).folder])
def test_models_that_share_a_file_agree_on_it(name):
    one, other = published(name), published(published(name).folder)
    assert other.folder == ""
    assert [getattr(one, field) for field in SHARED] == [getattr(other, field) for field in SHARED]
    assert one.card.licence == other.card.licence


def test_what_a_card_leaves_out_is_as_on_the_one_that_it_shares_its_file_with(monkeypatch, tmp_path):
    use_toys(monkeypatch, tmp_path)
    publish("toy", sha256="0" * 64, accept=True)
    publish("toy-volume", folder="toy", file="other.pth")
    found = published("toy-volume")
    assert (found.accept, found.file, found.card.name) == (True, "other.pth", "toy-volume")
    publish("lost", folder="gone")
    with pytest.raises(WeightsError, match=r"gone\.toml cannot be read"):
        published("lost")


def test_a_licence_that_is_restricted_further_says_where():
    for name in published_names():
        known = published(name)
        if not known.card.commercial_use and "-NC" not in known.card.licence:
            assert known.terms, name


def test_models_with_the_same_tensors_know_of_each_other():
    assert others_of("sam-vit-b") == ["medsam"]
    assert others_of("sam2.1-tiny") == ["medsam2", "medsam2-volume", "sam2.1-tiny-volume"]
    assert others_of("mobile-sam") == []


def test_a_file_that_may_be_of_several_models_is_said_to(monkeypatch, tmp_path):
    use_toys(monkeypatch, tmp_path)
    mine = tmp_path / "mine.pth"
    torch.save(Toy(4).state_dict(), mine)
    publish("toy")
    publish("toy-medical", variant="toy", file="medical.pth")
    with pytest.warns(AmbiguousWeightsWarning, match=rf"taken for toy, .* model toy-medical with --weights {mine}"):
        assert load_model(str(mine), device="cpu").card.name == "toy"
    assert load_model("toy-medical", weights=mine, device="cpu").card.name == "toy-medical"


def test_of_weights_of_ones_own_no_licence_is_known(monkeypatch, tmp_path):
    use_toys(monkeypatch, tmp_path)
    torch.save(Toy(4).state_dict(), tmp_path / "mine.pth")
    publish("toy")
    for model in (load_model(str(tmp_path / "mine.pth")), load_model("toy", weights=tmp_path / "mine.pth")):
        card = model.card
        assert (card.licence, card.commercial_use, card.base, card.source) == ("unknown", False, "", "")
        assert card.training_data == ("unknown",)
        assert not card.scores
