"""Files of SAM 2 in Meta's form and in transformers', for pictures and for volumes."""

import pytest
import torch
from safetensors.torch import save_file
from tests.models.sam2.reference import make, official

from samaritan.models import published, sam2
from samaritan.models.checkpoint import Checkpoint, read_checkpoint
from samaritan.models.family import load_module, recognise
from samaritan.models.planar import PlanarModel
from samaritan.models.published import load_file, load_published
from samaritan.models.sam2.build import SIZES
from samaritan.models.sam2.keys import to_transformers
from samaritan.models.sam2.volume import VolumeModel


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Meta's form of a file, with first weights."""
    path = tmp_path_factory.mktemp("weights") / "renamed.bin"
    torch.save({"model": make(SIZES["tiny"], newer=True, side=1024).state_dict()}, path)
    return path


@pytest.mark.parametrize("name", sam2.FAMILY.variants)
def test_a_file_is_known_by_its_tensors(name, monkeypatch, tmp_path):
    tensors = {name: torch.empty(shape, device="meta") for name, shape in official(name, monkeypatch).items()}
    found = recognise(Checkpoint(tmp_path / "renamed.bin", tensors, ""))
    assert (found.family, found.variant, found.difference.none) == ("sam2", name, True)


def test_both_forms_of_file_are_read(file, tmp_path):
    ours = load_module(read_checkpoint(file), "sam2", "sam2.1-tiny").state_dict()
    for name, tensor in to_transformers(read_checkpoint(file).tensors).items():
        assert torch.equal(ours[name], tensor), name
    # transformers ties the matrix that places prompts, and writes it once.
    once = {
        name: tensor for name, tensor in ours.items() if name != "prompt_encoder.shared_embedding.positional_embedding"
    }
    save_file(once, tmp_path / "model.safetensors")
    again = load_module(read_checkpoint(tmp_path / "model.safetensors"), "sam2", "sam2.1-tiny").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.items())


def test_one_file_serves_pictures_and_volumes(file):
    with pytest.warns(published.AmbiguousWeightsWarning, match=r"medsam2 and medsam2-volume and sam2\.1-tiny-volume"):
        pictures = load_file(file, device="cpu")
    volumes = load_published("medsam2-volume", weights=file, device="cpu")
    assert isinstance(pictures, PlanarModel)
    assert pictures.card.name == "sam2.1-tiny"
    assert isinstance(volumes, VolumeModel)
    assert (volumes.tracker.side, volumes.tracker.mask_side) == (512, 128)
    assert volumes.card.title.startswith("MedSAM2: ")
    assert volumes.card.sha256 == pictures.card.sha256


def test_models_that_share_a_file_share_a_folder_and_the_picture_s_comes_first(monkeypatch, tmp_path):
    pictures, volumes = published.published("sam2.1-tiny"), published.published("sam2.1-tiny-volume")
    assert pictures.path == volumes.path
    assert pictures.sha256 == volumes.sha256
    monkeypatch.setattr(published, "read_checkpoint", lambda path: Checkpoint(path, {}, pictures.sha256))
    monkeypatch.setattr(published, "_opened", lambda checkpoint, known, *_, **__: known.card.name)
    assert published.open_file(tmp_path / "renamed.bin") == "sam2.1-tiny"
