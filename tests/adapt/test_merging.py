from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.adapt.bases.test_planar import course, opened
from tests.adapt.test_lesson import answer, lesson  # noqa: F401 - a fixture

from samaritan.adapt.adapter import AdapterCard
from samaritan.adapt.bases.planar import base
from samaritan.adapt.lesson import Lesson, teach
from samaritan.adapt.merging import merged_checkpoint, merged_folder
from samaritan.adapt.prompted.kind import Prompted
from samaritan.core.errors import TrainingError
from samaritan.models import load_model


@pytest.mark.slow
def test_a_merged_folder_answers_as_the_adapter_does(lesson, tmp_path):  # noqa: F811
    teach(lesson, tmp_path / "run", name="mine")
    written = merged_folder(tmp_path / "run", tmp_path / "whole")
    assert written > 3_000_000
    card = AdapterCard.read(tmp_path / "whole")
    assert (card.method, card.name, card.base) == ("full", "whole", "tiny")
    one, other = (answer(load_model(str(tmp_path / name))) for name in ("run", "whole"))
    assert abs(one - other).max() < 1e-2
    with pytest.raises(TrainingError, match="of tiny, for which there is no form of checkpoint"):
        merged_checkpoint(tmp_path / "run", tmp_path / "whole.safetensors")


@pytest.mark.slow
def test_what_cannot_be_merged_says_so(lesson, tmp_path):  # noqa: F811
    teach(replace(lesson, method="houlsby", settings={}), tmp_path / "run", name="mine")
    with pytest.raises(TrainingError, match="bottlenecks"):
        merged_folder(tmp_path / "run", tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_a_merged_checkpoint_has_the_names_of_its_family(tmp_path, data, monkeypatch):
    like = base(opened("sam-vit-b"))
    like = replace(like, file=Path("weights.pth"))
    taught = Lesson(base=like, kind=Prompted(), method="lora", settings={}, course=course(data, like))
    names = set(opened("sam-vit-b").module.state_dict())
    monkeypatch.setattr("samaritan.adapt.adapter.base_of", lambda *_, **__: replace(like, network=fresh))
    state = {name: tensor.clone() for name, tensor in opened("sam-vit-b").module.state_dict().items()}

    def fresh():
        module = opened("sam-vit-b").module
        module.load_state_dict(state)
        return module

    teach(replace(taught, base=replace(like, network=fresh)), tmp_path / "run", name="mine")
    merged_checkpoint(tmp_path / "run", tmp_path / "merged.safetensors")
    found = load_file(tmp_path / "merged.safetensors")
    assert found.keys() == names
    changed = [name for name in names if not torch.equal(found[name], state[name])]
    assert any(name.endswith("attn.qkv.weight") for name in changed)
    assert not [name for name in changed if not (name.startswith("mask_decoder.") or "qkv" in name)]
