"""What pickles may ask for, beside the making of tensors."""

import datetime as dt
import pickle
import types
import zipfile
from collections import defaultdict
from functools import partial

import numpy as np
import pytest
import torch

from samaritan.core.errors import UnsafeCheckpointError, WeightsError
from samaritan.models.checkpoint import read_checkpoint

SAVES = {"zip": torch.save, "old": partial(torch.save, _use_new_zipfile_serialization=False)}


def text(word):
    encoded = word.encode()
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def bytes_of(module, size=1 << 40):
    """Return a pickle that calls ``bytearray`` of a number."""
    return b"\x80\x02c" + module + b"\nbytearray\n\x8a\x10" + size.to_bytes(16, "little") + b"\x85R."


def doubled(codec, times=40):
    """Return a pickle that encodes again and again what it has encoded."""
    content = b"h\0" + text("ab") + text("latin1") + b"\x86R"
    for _ in range(times):
        content = b"h\0" + content + text(codec) + b"\x86R"
    return b"\x80\x02c_codecs\nencode\nq\x000" + content + b"."


def as_archive(path, program):
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, program if name.endswith("data.pkl") else content)


def as_old(path, program):
    torch.save({}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    empty = pickle.dumps({}, protocol=2)
    path.write_bytes(content.replace(empty, program, 1))


@pytest.mark.parametrize("write", [as_archive, as_old])
@pytest.mark.parametrize(
    "program",
    [
        bytes_of(b"builtins"),
        bytes_of(b"__builtin__"),
        bytes_of(b"builtins", 1 << 66),
        *map(doubled, ("hex", "HEX-codec", "--hex", "base64", "uu")),
    ],
)
def test_what_makes_much_of_little_is_refused_before_it_is_made(tmp_path, write, program):
    write(tmp_path / "w.pth", program)
    with pytest.raises(UnsafeCheckpointError, match="may take memory of any size"):
        read_checkpoint(tmp_path / "w.pth")


def test_these_pickles_do_what_they_are_refused_for():
    assert pickle.loads(bytes_of(b"builtins", 5)) == bytearray(5)  # noqa: S301 - made above
    in_digits = pickle.loads(doubled("--hex", times=2))  # noqa: S301 - made above
    assert in_digits == b"36313632"  # those of "ab", and of these


HARMLESS = {
    "dates": [dt.datetime(2024, 5, 1, tzinfo=dt.UTC), dt.date(2024, 5, 1), dt.timedelta(1)],
    "options": types.SimpleNamespace(lr=0.1),
    "sets and ranges": [frozenset({1}), {2}, range(3), slice(4), 1j],
    "counts": defaultdict(int, a=1),
    "a scaler": torch.amp.GradScaler("cpu"),
    "an optimizer": torch.optim.RMSprop([torch.nn.Parameter(torch.ones(1))]),
    "a schedule": torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))]), 9),
    "an array": np.arange(3.0),
}


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES)
@pytest.mark.parametrize("beside", HARMLESS.values(), ids=HARMLESS)
def test_what_training_scripts_keep_beside_weights_is_let_pass(tmp_path, save, beside):
    save({"model": {"bias": torch.ones(2)}, "beside": beside}, tmp_path / "w.pth")
    assert set(read_checkpoint(tmp_path / "w.pth").tensors) == {"bias"}


@pytest.mark.parametrize("wrap", [dict, lambda arrays: {"epoch": 3, "model": arrays}], ids=["bare", "wrapped"])
def test_a_file_of_arrays_says_so(tmp_path, wrap):
    torch.save(wrap({"bias": np.ones(2)}), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"holds arrays of NumPy, no tensors.*safetensors\.numpy"):
        read_checkpoint(tmp_path / "w.pth")


def test_what_a_file_asks_for_is_told_without_what_a_terminal_would_obey(tmp_path):
    as_archive(tmp_path / "w.pth", b"\x80\x02cbad\x1b[2J\nname\n.")
    with pytest.raises(UnsafeCheckpointError) as told:
        read_checkpoint(tmp_path / "w.pth")
    assert r"asks to run bad\x1b[2J.name when" in str(told.value)
