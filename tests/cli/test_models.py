import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from tests.cli.helpers import samaritan
from tests.models.file_server import serving
from tests.models.toys import Toy, publish, use_toys

from samaritan.models import MODELS, model_card, published, tiny
from samaritan.models.bundle import write_card
from samaritan.models.checkpoint import sha256_of

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()

# The program with the cards of published models in the folder that is named first.
WITH_CARDS = """
import sys
from pathlib import Path
from samaritan.models import published
published.CARDS = Path(sys.argv.pop(1))
from samaritan.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def toys(monkeypatch, place):
    use_toys(monkeypatch, place)
    publish("toy")
    return place


@pytest.fixture
def served(toys):
    """A published model whose file a server on this machine gives."""
    with serving(CONTENT) as server:
        publish("toy", url=server.url(), sha256=SHA256, bytes=len(CONTENT))
        yield server


def program(*args):
    """Run the program with the toys' cards, in a process of its own."""
    return samaritan(published.CARDS, *args, script=WITH_CARDS)


def save(width, path, **beside):
    torch.save({"model": Toy(width).state_dict(), **beside}, path)
    return path


# --- which there are ---


def test_models_are_listed_and_the_default_marked(run):
    done = run("models")
    assert done.code == 0
    assert "tiny (default)" in done.out
    assert {card["name"] for card in json.loads(run("models", "--json").out)} >= {"tiny", "fake"}
    assert run("models", "list").out == done.out


def test_a_card_names_licence_data_and_prompts(run):
    done = run("models", "tiny")
    assert done.code == 0
    for name in ("licence", "training_data", "prompts", "sha256", "commercial_use", "intensity_range"):
        assert f"\n{name} " in done.out
    assert json.loads(run("models", "tiny", "--json").out)["licence"] == "Apache-2.0"
    assert run("models", "show", "tiny").out == done.out


def test_a_card_names_what_matters_to_who_uses_a_published_model(run):
    told = dict(line.split(maxsplit=1) for line in run("models", "medsam2").out.splitlines())
    assert told["base"] == "sam2.1-tiny"
    assert told["normalisation"].startswith("both sides of the picture to 512")
    assert told["ct_window"] == "40.0, 400.0"
    assert told["licence_url"] == "https://huggingface.co/wanglab/MedSAM2"
    found = json.loads(run("models", "sam-vit-b", "--json").out)
    assert (found["ct_window"], found["intensity_range"]) == (None, [0.0, 255.0])
    assert found["checkpoint"]["licence_url"] == "https://spdx.org/licenses/Apache-2.0.html"


@pytest.mark.parametrize("words", [("models",), ("models", "show"), ("models", "inspect")])
def test_the_card_of_an_exported_model_is_shown(run, place, words):
    folder = place / "tiny"  # called like a model
    folder.mkdir()
    write_card(folder, replace(model_card("medsam"), title="Mine"), {"runtime": "auto"}, {})
    done = run(*words, folder)
    assert done.code == 0
    assert "Mine" in done.out
    assert f"{folder}" in done.out
    told = json.loads(run(*words, folder, "--json").out)
    assert (told["title"], told["checkpoint"]) == ("Mine", {"state": "exported", "path": str(folder)})


def test_the_card_of_a_file_is_what_inspect_says(run, place):
    done = run("models", place / "mine.pth")
    assert done.code == 2
    assert f"samaritan models inspect {place / 'mine.pth'}" in done.err


def test_an_unknown_model_is_a_usage_error_that_suggests_one(run):
    done = run("models", "tinny")
    assert done.code == 2
    assert done.err.startswith("error: unknown model 'tinny'. Did you mean 'tiny'? ")
    assert "`samaritan models` lists all" in done.err
    assert len(done.err) < 120


def test_options_may_stand_before_the_name_and_the_verb(run):
    assert json.loads(run("models", "--json", "tiny").out)["name"] == "tiny"
    assert json.loads(run("models", "--json", "list").out)
    assert "Traceback" in run("models", "--debug", "tinny").err


def test_no_model_is_called_like_a_verb():
    assert not {"list", "show", "pull", "inspect"} & set(MODELS)


def test_help_names_the_verbs_and_a_wrong_line_is_told(run):
    done = run("models", "--help")
    assert done.code == 0
    for verb in ("list", "show", "pull", "inspect"):
        assert f"  {verb}" in done.out
    assert run("models", "pull", "one", "two").code == 2
    assert run("models", "list", "all").code == 2


def test_the_list_tells_what_is_here_and_what_may_be_sold(run, toys):
    publish("dear", licence="CC-BY-NC-4.0", commercial=False, file="dear.pth")
    path = published.published("toy").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    lines = {line.split()[0]: line.split() for line in run("models").out.splitlines()}
    assert lines["toy"][1:7] == ["2D", "MIT", "yes", "toy", "here", "A"]
    assert lines["dear"][1:7] == ["2D", "CC-BY-NC-4.0", "no", "toy", "not", "here"]
    assert "built in" in run("models").out
    state = {model["name"]: model["checkpoint"]["state"] for model in json.loads(run("models", "--json").out)}
    assert (state["toy"], state["dear"], state["tiny"]) == ("here", "not here", "built in")
    assert str(path) in run("models", "toy").out


@pytest.mark.parametrize(
    ("content", "fields", "state"),
    [
        (b"", {}, "empty"),
        (None, {}, "a folder"),
        (b"half", {"bytes": 8}, "wrong size"),
        (b"complete", {"bytes": 8}, "here"),
        (b"same weights", {"bytes": 8, "also": ["0" * 64]}, "here"),
    ],
)
def test_what_cannot_be_the_checkpoint_is_not_said_to_be_here(run, toys, content, fields, state):
    publish("toy", **fields)
    path = published.published("toy").path
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_bytes(content)
    (line,) = (line for line in run("models").out.splitlines() if line.startswith("toy "))
    assert f"  {state}  " in line
    assert f"\ncheckpoint       {state}\n" in run("models", "toy").out
    assert json.loads(run("models", "toy", "--json").out)["checkpoint"]["state"] == state


def test_a_model_is_here_only_if_what_it_needs_beside_is(run, toys):
    beside = '[[checkpoint.beside]]\nfile = "words.json"\nsha256 = ""\nbytes = 0\nurl = "https://nowhere.invalid/w"\n'
    card = published.CARDS / "toy.toml"
    card.write_text(card.read_text() + beside)
    published.published.cache_clear()
    path = published.published("toy").path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    words = path.with_name("words.json")
    for content, state in ((None, "not here"), (b"", "empty"), (b"{}", "here")):
        if content is not None:
            words.write_bytes(content)
        assert json.loads(run("models", "toy", "--json").out)["checkpoint"]["state"] == state


# --- pull ---


def test_pull_fetches_and_then_says_that_it_is_here(served):
    path = published.published("toy").path
    done = program("models", "pull", "toy")
    assert (done.code, done.out, done.err) == (0, f"toy: fetched and checked: {path}\n", "")
    assert path.read_bytes() == CONTENT
    again = program("models", "pull", "toy", "--json")
    assert json.loads(again.out) == {"name": "toy", "path": str(path), "bytes": len(CONTENT), "fetched": False}
    assert len(served.asked) == 1


def test_what_goes_wrong_is_a_sentence(served):
    served.status = 404
    done = program("models", "pull", "toy")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: 127.0.0.1 has no such file any more (404)")
    assert program("models", "pull", "tov").code == 2
    assert "no checkpoint to fetch" in program("models", "pull", "tiny").err


@pytest.mark.parametrize("word", ["--accept-licence", "--accept-license"])
def test_a_licence_is_accepted_by_an_option(run, served, word):
    publish("toy", url=served.url(), sha256=SHA256, accept=True, licence="CC-BY-NC-4.0", commercial=False)
    done = run("models", "pull", "toy")
    assert done.code == 1
    assert "type: samaritan models pull toy --accept-licence" in done.err
    assert run("models", "pull", "toy", word).code == 0


@pytest.mark.parametrize(
    ("words", "number", "code", "word"),
    [
        ((), signal.SIGINT, 130, "interrupted"),
        (("--force", "--accept-licence"), signal.SIGINT, 130, "interrupted"),
        ((), signal.SIGTERM, 143, "terminated"),
    ],
)
def test_a_pull_that_is_stopped_keeps_what_has_come_and_says_how_to_go_on(served, words, number, code, word):
    served.pause_after = len(CONTENT) // 2
    command = [sys.executable, "-c", WITH_CARDS, str(published.CARDS), "models", "pull", "toy", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    part = published.published("toy").path.with_name("toy.pth.part")
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    served.resume.set()
    assert (process.returncode, out) == (code, "")
    line = " ".join(("pull toy", *words))
    assert err == f"{word}: {part.stat().st_size:,} bytes are kept\nTo go on: samaritan models {line}\n"
    served.pause_after = None
    assert program("models", "pull", "toy", *words).code == 0
    assert served.asked[-1][1]["range"].startswith("bytes=")


# --- inspect ---


def test_inspect_says_exactly_what_a_file_is(run, toys):
    done = run("models", "inspect", save(4, toys / "mine.pth", epoch=3))
    assert done.code == 0
    for part in ("PyTorch (zip)", "9 with", "float32 (", "int64 (1)", "toy, family toy: exactly its tensors"):
        assert part in done.out
    assert "(no model with this SHA-256)" in done.out
    publish("toy", sha256=sha256_of(toys / "mine.pth"))
    told = json.loads(run("models", "inspect", toys / "mine.pth", "--json").out)
    assert (told["published"], told["tensors"], told["error"]) == (["toy"], 9, None)
    assert told["parameters"] == sum(tensor.numel() for tensor in Toy(4).state_dict().values())
    assert (told["nearest"]["variant"], told["nearest"]["exact"]) == ("toy", True)


def test_inspect_says_which_models_a_file_may_be(run, toys):
    publish("toy-medical", variant="toy", file="medical.pth")
    mine = save(4, toys / "mine.pth")
    assert "or             toy-medical (then: --model toy-medical --weights FILE)" in run("models", "inspect", mine).out
    assert json.loads(run("models", "inspect", mine, "--json").out)["others"] == ["toy-medical"]


def test_inspect_says_how_a_file_differs_from_what_it_is_most_like(run, toys):
    publish("toy-large", variant="toy-large", file="large.pth")
    state = {**Toy(6).state_dict(), **{f"adapter.{n}": torch.ones(2) for n in range(7)}}
    del state["last.bias"]
    torch.save(state, toys / "changed.pth")
    done = run("models", "inspect", toys / "changed.pth")
    assert done.code == 1
    assert done.err.startswith("error: changed.pth: ")
    assert "8 of 16 tensors are alike: it may have been changed" in done.err
    assert "toy-large, family toy: 8 of 16 tensors are alike" in done.out
    for part in ("missing        last.bias", "not known      adapter.0", "and 2 more"):
        assert part in done.out
    told = json.loads(run("models", "inspect", toys / "changed.pth", "--json").out)
    assert len(told["nearest"]["unexpected"]) == 7
    assert told["error"]["code"] == "checkpoint_mismatch"
    torch.save({"other": torch.ones(2)}, toys / "other.pth")
    done = run("models", "inspect", toys / "other.pth")
    assert (done.code, "none that is known here" in done.out) == (1, True)
    assert "of no family that is known here" in done.err


def test_inspect_prints_nothing_that_a_terminal_would_obey(run, toys):
    torch.save(
        {**Toy(4).state_dict(), "\x1b]0;\x07\rmodel   toy: exactly its tensors": torch.ones(2)}, toys / "odd.pth"
    )
    done = run("models", "inspect", toys / "odd.pth")
    assert r"not known      \x1b]0;\x07\rmodel   toy" in done.out
    assert not set("\x1b\x07\r") & set(done.out + done.err)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("it ran",)


def test_inspect_runs_nothing_and_says_that_a_file_is_unsafe(toys):
    torch.save({"model": {}, "extra": Payload()}, toys / "bad.pth")
    done = program("models", "inspect", "bad.pth")
    assert done.code == 1
    assert sha256_of(toys / "bad.pth") in done.out
    assert done.err.startswith("error: bad.pth asks to run posix.mkdir when it is read")
    told = program("models", "inspect", "bad.pth", "--json")
    assert (told.code, told.err) == (1, "")
    assert json.loads(told.out)["error"]["code"] == "unsafe_checkpoint"
    assert not (toys / "it ran").exists()


def test_inspect_shows_what_a_graph_takes_and_gives(run, toys):
    graph = next(tiny.FOLDER.rglob("*.onnx"))
    (toys / "graph.bin").write_bytes(graph.read_bytes())
    done = run("models", "inspect", toys / "graph.bin")
    assert done.code == 0
    assert "ONNX" in done.out
    told = json.loads(run("models", "inspect", toys / "graph.bin", "--json").out)
    assert told["inputs"]
    assert told["outputs"]
    (toys / "cut.onnx").write_bytes(graph.read_bytes()[:5000])
    done = run("models", "inspect", toys / "cut.onnx")
    assert done.code == 1
    assert "refuses cut.onnx" in done.err


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"PK\x03\x04", b"\x80\x02"])
def test_inspect_says_what_is_wrong_with_a_file(run, toys, content):
    (toys / "odd.pth").write_bytes(content)
    done = run("models", "inspect", "odd.pth")
    assert done.code == 1
    assert done.err.startswith("error: odd.pth is ")
    assert run("models", "inspect", "none.pth").code == 1


# --- segment ---


def test_segment_takes_a_checkpoint_for_a_model_and_in_place_of_ones_own(run, toys, photo):
    mine = save(4, toys / "mine.pth")
    for options in (("--model", "toy", "--weights", mine), ("--model", mine)):
        done = run("segment", photo[0], *options, "--box", "10,10:40,40", "-o", "mask.png", "--json")
        assert done.code == 0, done.err
        report = json.loads(done.out)
        assert (report["model"], report["model_sha256"]) == ("toy", sha256_of(mine))


def test_weights_without_a_model_and_of_another_are_told(run, toys, photo):
    publish("toy-large", variant="toy-large", file="large.pth")
    large = save(6, toys / "large.pth")
    done = run("segment", photo[0], "--weights", large, "--box", "10,10:40,40")
    assert done.code == 2
    assert f"To have it found out: --model {large}" in done.err
    done = run("segment", photo[0], "--model", "toy", "--weights", large, "--box", "10,10:40,40")
    assert done.code == 1
    assert f"It is a checkpoint of toy-large: use --model {large}" in done.err


def test_a_checkpoint_is_never_written_over(run, toys, photo):
    mine = save(4, toys / "mine.png")
    for options in (("--model", "toy", "--weights", mine), ("--model", mine)):
        assert run("segment", photo[0], *options, "--box", "10,10:40,40", "-o", mine).code == 2
    assert torch.load(mine, weights_only=True)
