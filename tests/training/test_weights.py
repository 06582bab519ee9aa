"""After training: weights are read, calibrated and exported; the whole recipe runs in miniature."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from training.tiny import miniature
from training.tiny.calibrate import average, calibrate, calibrated, fitted, judged
from training.tiny.checkpoint import read_network
from training.tiny.compare import TRIALS, window_ms
from training.tiny.export import export
from training.tiny.quick_check import letterbox

from samaritan.core.errors import CheckpointMismatchError
from samaritan.models.tiny.network import TinyNetwork


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("other.pt", lambda file: torch.save({"weights": 1}, file), r"not a checkpoint of a run \(without average"),
        ("smaller.pt", lambda file: torch.save({"average": {}}, file), "other weights than the network's"),
        ("broken.safetensors", lambda file: file.write_bytes(b"nothing"), "no safetensors file, or a broken one"),
    ],
)
def test_files_of_other_weights_are_named(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(CheckpointMismatchError, match=rf"{name}.*{message}"):
        read_network(tmp_path / name)


def test_weights_are_read_from_a_run_and_from_safetensors(tmp_path):
    network = TinyNetwork()
    torch.save({"average": network.state_dict(), "step": 1}, tmp_path / "checkpoint.pt")
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    for name in ("checkpoint.pt", "network.safetensors"):
        read = read_network(tmp_path / name).state_dict()
        assert all(torch.equal(read[key], weight) for key, weight in network.state_dict().items())


def test_calibration_finds_the_stretch_and_puts_it_into_the_network(views):
    predicted = np.linspace(0.05, 0.95, 19)
    true = calibrated(predicted, slope=0.7, shift=-0.5)
    assert fitted(predicted, true) == pytest.approx((0.7, -0.5))
    network = TinyNetwork().eval()
    before = np.array(list(judged(network, views[:1])))
    assert len(before) == len(letterbox(views[0])[1]) * (2 + 3)  # as the benchmark: two boxes; 3, 5 and 10 clicks
    calibrate(network, slope=0.7, shift=-0.5)
    after = np.array(list(judged(network, views[:1])))
    np.testing.assert_allclose(after[:, 0], calibrated(before[:, 0], slope=0.7, shift=-0.5), atol=1e-5)
    np.testing.assert_array_equal(after[:, 1], before[:, 1])


def test_a_run_is_averaged_with_what_it_refined():
    one, other = TinyNetwork(), TinyNetwork()
    before, theirs = ({name: t.clone() for name, t in each.state_dict().items()} for each in (one, other))
    average(one, other)
    for name, mean in one.state_dict().items():
        wanted = (before[name] + theirs[name]) / 2 if mean.is_floating_point() else before[name]
        torch.testing.assert_close(mean, wanted)
        assert torch.equal(other.state_dict()[name], theirs[name])


def test_the_exported_graph_agrees_with_the_network(tmp_path):
    torch.manual_seed(0)
    manifest = export(TinyNetwork(), tmp_path)
    assert manifest["largest_difference"] < 1e-3
    assert sum(file["bytes"] for file in manifest["files"].values()) < 20_000_000
    assert {path.name for path in tmp_path.iterdir()} == {
        "network.onnx",
        "network.safetensors",
        "manifest.json",
    }


@pytest.mark.parametrize("name", ["prompts late", "without appearance", "without attention"])
def test_the_graph_of_every_design_takes_any_number_of_windows(name, tmp_path):
    assert window_ms(TinyNetwork(TRIALS[name].design), tmp_path) > 0


def test_the_recipe_in_miniature_runs_and_says_what_did_not_improve(tmp_path, capsys):
    result, network = miniature.run(tmp_path, steps=3)
    assert (tmp_path / "curve.png").exists()
    assert json.loads((tmp_path / "config.json").read_text())["steps"] == 3
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, result.average[name])
    assert not miniature.verdict([1.0] * 10 + [0.5] * 10, 1.0, 0.9)
    assert len(miniature.verdict([1.0] * 20, 1.0, 0.99)) == 2
    assert "loss on training: 1.000 -> 1.000" in capsys.readouterr().out
