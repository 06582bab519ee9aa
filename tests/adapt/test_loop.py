"""The training loop: it learns, it goes on after a kill as if nothing had happened, and it says what is wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from samaritan.adapt import Group, Settings, fit, loop  # noqa: E402
from samaritan.adapt.loop import rate_factor  # noqa: E402
from samaritan.adapt.state import load  # noqa: E402
from samaritan.core.errors import CheckpointMismatchError, TrainingError  # noqa: E402


class Discs:
    """Find bright discs in noise: learnt in a few steps, and a function of the step alone."""

    def batch(self, step):
        generator = torch.Generator().manual_seed(step)
        centre = torch.rand(8, 2, 1, 1, generator=generator) * 16 + 8
        grid = torch.stack(torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij"))
        masks = (((grid - centre) ** 2).sum(dim=1, keepdim=True) < 36).float()
        return {"image": masks + 0.5 * torch.randn(8, 1, 32, 32, generator=generator), "masks": masks}

    def losses(self, module, batch):
        return {"bce": functional.binary_cross_entropy_with_logits(module(batch["image"]), batch["masks"])}


class Broken(Discs):
    def batch(self, step):
        if step == 3:
            raise ZeroDivisionError
        return super().batch(step)


class Exploding(Discs):
    def losses(self, module, batch):
        return {"bce": super().losses(module, batch)["bce"] / 0.0}


class Unrelated(Discs):
    def losses(self, module, batch):
        return {"nothing": sum(p.sum() for p in module.parameters()) * 0.0 + batch["image"].mean()}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(8, 1, 3, padding=1)
    )


def test_it_learns_and_tells_how(tmp_path):
    seen = []
    result = fit(
        _network(), Discs(), Settings(steps=40, validate_every=20), tmp_path,
        groups=None, validate=lambda module: {"bias": module[-1].bias.item()}, on_step=seen.append,
    )  # fmt: skip
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log == seen
    assert [entry["step"] for entry in log] == list(range(1, 41))
    assert [entry["step"] for entry in log if "scores" in entry] == [20, 40]
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert log[0]["terms"] == {"bce": log[0]["loss"]}
    assert result.warnings == ()
    assert result.scores == {"bias": pytest.approx(float(result.average["4.bias"]))}
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def _on_a_gpu(*values):
    missing = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    return pytest.param(*values, marks=(pytest.mark.gpu, missing))


@pytest.mark.parametrize(
    ("device", "precision"), [("cpu", "bfloat16"), _on_a_gpu("cuda", "bfloat16"), _on_a_gpu("cuda", "float16")]
)
def test_it_learns_in_mixed_precision_and_keeps_float32_weights(tmp_path, device, precision):
    computed = set()
    network = _network()
    network[0].register_forward_hook(lambda _module, _given, out: computed.add(out.dtype))
    entries = []
    settings = Settings(steps=40, device=device, precision=precision)
    result = fit(network, Discs(), settings, tmp_path, on_step=entries.append)
    assert computed == {getattr(torch, precision)}
    assert {weight.dtype for weight in result.average.values() if weight.is_floating_point()} == {torch.float32}
    assert entries[-1]["loss"] < 0.8 * entries[0]["loss"]


def test_float16_wants_a_gpu(tmp_path):
    with pytest.raises(TrainingError, match="float16"):
        fit(_network(), Discs(), Settings(steps=1, device="cpu", precision="float16"), tmp_path)


def test_validation_does_not_disturb_training(tmp_path):
    plain, validated = _network(), _network()
    fit(plain, Discs(), Settings(steps=6), tmp_path / "a")
    fit(validated, Discs(), Settings(steps=6), tmp_path / "b", validate=lambda _module: {})
    _assert_same(plain.state_dict(), validated.state_dict())


def test_frozen_parts_stay_bit_equal_and_rates_differ(tmp_path):
    network = _network()
    network[0].requires_grad_(requires_grad=False)
    network[1].requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit(network, Discs(), Settings(steps=5), tmp_path, groups=[Group(list(network.parameters()), rate=1e-2)])
    after = network.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]) == (not name.startswith("4."))


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_change_nothing(tmp_path, workers):
    network, alone = _network(), _network()
    fit(network, Discs(), Settings(steps=4, workers=workers), tmp_path / "workers")
    fit(alone, Discs(), Settings(steps=4), tmp_path / "alone")
    _assert_same(network.state_dict(), alone.state_dict())


def test_accumulated_batches_count_as_one_step(tmp_path):
    entries = []
    fit(_network(), Discs(), Settings(steps=2, accumulate=3), tmp_path, on_step=entries.append)
    alone = _network().train()
    losses = [float(Discs().losses(alone, Discs().batch(step))["bce"].detach()) for step in range(3)]
    assert entries[0]["loss"] == pytest.approx(sum(losses) / 3, rel=0.1)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path):
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        from test_loop import Discs, Settings, _network, fit
        slow = float(sys.argv[2])
        fit(_network(), Discs(), Settings(steps=30, save_every_s=0.3), Path(sys.argv[1]),
            on_step=lambda entry: time.sleep(slow))
    """)  # fmt: skip
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    process = subprocess.Popen([sys.executable, "-c", script, str(killed), "0.1"])
    deadline = time.monotonic() + 60
    while _lines(killed / "log.jsonl") < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 10 <= _lines(killed / "log.jsonl") < 30
    subprocess.run([sys.executable, "-c", script, str(killed), "0"], check=True)
    fit(_network(), Discs(), Settings(steps=30, save_every_s=0.3), straight)
    results = [torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (killed, straight)]
    for part in ("module", "average"):
        _assert_same(results[0][part], results[1][part])
    assert _lines(killed / "log.jsonl") == 30


class Bulky(Discs):
    """Batches that fill the pipe from a worker to the run."""

    def batch(self, step):
        return super().batch(step) | {"ballast": bytes(1_000_000)}


@pytest.mark.slow
def test_the_workers_of_a_killed_run_end_too(tmp_path):
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from test_loop import Bulky, Settings, _network, fit
        if __name__ == "__main__":
            fit(_network(), Bulky(), Settings(steps=30, workers=1), Path(sys.argv[1]),
                on_step=lambda entry: time.sleep(0.5))
    """)
    (tmp_path / "run.py").write_text(script)
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", tmp_path / "out"], stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while _lines(tmp_path / "out" / "log.jsonl") < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)  # ends only when nothing holds the pipe any more, workers included


def test_going_on_with_other_settings_is_refused(tmp_path):
    fit(_network(), Discs(), Settings(steps=2), tmp_path, config={"data": "discs"})
    with pytest.raises(CheckpointMismatchError, match=r"'steps': 2.*'steps': 3.*name another folder"):
        fit(_network(), Discs(), Settings(steps=3), tmp_path, config={"data": "discs"})
    with pytest.raises(CheckpointMismatchError, match="'data': 'discs'"):
        fit(_network(), Discs(), Settings(steps=2), tmp_path, config={"data": "rings"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "made_with", lambda: {"samaritan": "newer"})
        fit(_network(), Discs(), Settings(steps=2, workers=0, save_every_s=1.0), tmp_path, config={"data": "discs"})
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["data"], written["made_with"]) == ("discs", {"samaritan": "newer"})


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointMismatchError, match="is not a checkpoint"):
        fit(_network(), Discs(), Settings(steps=2), tmp_path)


@pytest.mark.parametrize("stored", [{"config": {}}, [1, 2]])
def test_a_checkpoint_without_its_parts_is_named(tmp_path, stored):
    torch.save(stored, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointMismatchError, match=r"is not a checkpoint of a run \(without average"):
        load(tmp_path / "checkpoint.pt", config={})


@pytest.mark.parametrize(
    ("task", "message"),
    [(Broken(), r"batch 3 cannot be made: ZeroDivisionError.*task\.batch\(3\)"), (Exploding(), "not finite at step 0")],
)
def test_failures_are_named(tmp_path, task, message):
    with pytest.raises(TrainingError, match=message):
        fit(_network(), task, Settings(steps=5), tmp_path)


def test_failures_in_workers_are_named_as_well(tmp_path):
    with pytest.raises(TrainingError, match=r"^batch 3 cannot be made: ZeroDivisionError.*task\.batch\(3\)\.$"):
        fit(_network(), Broken(), Settings(steps=5, workers=2), tmp_path)


def test_nothing_to_train_is_named(tmp_path):
    network = _network().requires_grad_(requires_grad=False)
    with pytest.raises(TrainingError, match="no parameter"):
        fit(network, Discs(), Settings(steps=1), tmp_path)


def test_a_run_that_learns_nothing_says_so(tmp_path):
    result = fit(_network(), Unrelated(), Settings(steps=3), tmp_path)
    assert any("all gradients are zero" in warning for warning in result.warnings)


def test_the_rate_rises_and_fades():
    factors = [rate_factor(fraction, warm_up=0.1, last=0.01) for fraction in (0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0.5, 1.0, 0.505, 0.01])


def _lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def _assert_same(first, second):
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)
