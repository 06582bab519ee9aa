import json

import pytest

from samaritan.core.errors import CorruptFileError, DataSetError
from samaritan.evaluate.replay import Journal
from samaritan.evaluate.runner import run
from samaritan.evaluate.store import Store
from samaritan.evaluate.subjects import Choice
from samaritan.evaluate.tables import tables_of, write_tables
from samaritan.evaluate.unit import Settings
from samaritan.testing.fake_model import FakeModel


@pytest.fixture
def written(plan):
    """A run and its journal."""

    def make(**options):
        given = plan(**options)
        run(given)
        return given, Journal(write_tables(given, tables_of(given))["journal"])

    return make


def told(rows):
    return [{name: value for name, value in row.items() if name != "protocol"} for row in rows]


@pytest.mark.parametrize(
    ("protocols", "dims"), [(("box", "clicks", "m5", "everything", "corrupted-images"), 2), (("cvpr25",), 3)]
)
def test_the_same_model_answers_the_same(written, plan, tmp_path, protocols, dims):
    settings = Settings(choice=Choice(dims=dims))
    first, journal = written(protocols=protocols, settings=settings)
    assert journal.protocols == tuple(f"{name}@fake" for name in protocols)
    assert journal.of_volumes == (dims == 3)
    again = plan(protocols=(), journal=journal, settings=settings, store=Store(tmp_path / "again"))
    run(again)
    before, after = tables_of(first).rows, tables_of(again).rows
    assert told(after) == told(before)
    assert [row["protocol"] for row in after] == [f"{row['protocol']}@fake" for row in before]


def test_another_model_gets_the_clicks_that_followed_the_first_ones_answers(written, plan, tmp_path):
    _, journal = written(protocols=("clicks",))
    other = plan(protocols=("clicks",), loaders={"other": _Blind}, journal=journal, store=Store(tmp_path / "other"))
    run(other)
    wrote = [json.loads(line) for line in write_tables(other, tables_of(other))["journal"].read_text().splitlines()]
    by_name = {}
    for entry in wrote:
        by_name.setdefault(entry["protocol"], []).append(entry["prompts"])
    original = [json.loads(line)["prompts"] for line in journal.path.read_text().splitlines()]
    assert by_name["clicks@fake"] == original
    assert by_name["clicks"] != original


def test_cases_that_it_does_not_ask_about_are_skipped(written, plan, tmp_path):
    _, journal = written(protocols=("box",))
    lines = journal.path.read_text().splitlines(keepends=True)
    few = Journal(tmp_path / "few.jsonl")
    few.path.write_text("".join(line for line in lines if json.loads(line)["case"] != "p1_b"))
    again = plan(protocols=(), journal=few, store=Store(tmp_path / "again"))
    run(again)
    assert "asks nothing" in again.store.get("p1_b", "fake", "box@fake")["skipped"]
    assert again.store.get("p1_a", "fake", "box@fake")["objects"]


def test_questions_about_another_slice_are_an_error_of_the_case(written, plan, tmp_path):
    _, journal = written(protocols=("box",))
    moved = Journal(tmp_path / "moved.jsonl")
    entries = [json.loads(line) for line in journal.path.read_text().splitlines()]
    moved.path.write_text("".join(json.dumps(entry | {"index": entry["index"] + 1}) + "\n" for entry in entries))
    again = plan(protocols=(), journal=moved, store=Store(tmp_path / "again"))
    errors = dict(run(again).errors)
    assert set(errors) == {"p1_a", "p1_b", "p2_c"}
    assert "moved.jsonl asks about liver in ('k'," in errors["p1_a"]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", DataSetError, "without a question"),
        ("{}\n", CorruptFileError, "line 1: no model"),
        ("[1]\n", CorruptFileError, "line 1"),
        ("{\n", CorruptFileError, "line 1: no JSON"),
    ],
)
def test_what_is_no_journal(tmp_path, text, error, words):
    (tmp_path / "odd.jsonl").write_text(text)
    with pytest.raises(error, match=words):
        _ = Journal(tmp_path / "odd.jsonl").protocols


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("value", "x", 'value is "x", not a whole number'),
        ("instance", None, "instance is null"),
        ("case", 3, "case is 3, not a text"),
        ("axis", "z", "i, j or k"),
        ("axis", [], "i, j or k"),
        ("index", 1.5, "a slice's number"),
        ("effort", None, "effort is null, not a number"),
        ("effort", float("nan"), "not a number"),
        ("prompts", 5, "prompts is 5, not null, or lists of prompts"),
        ("prompts", [[3]], "lists of prompts"),
        ("refines", "yes", "true or false"),
        ("corruption", ["blur"], "a corruption"),
        ("corruption", ["fog", 3], "a corruption"),
    ],
)
def test_a_line_with_another_kind_of_value_is_told(written, tmp_path, name, value, words):
    _, journal = written(protocols=("box",))
    first, second, *_ = [json.loads(line) for line in journal.path.read_text().splitlines()]
    (tmp_path / "odd.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(second | {name: value})}\n")
    with pytest.raises(CorruptFileError, match=rf"odd\.jsonl, line 2: .*{words}"):
        _ = Journal(tmp_path / "odd.jsonl").protocols


@pytest.mark.parametrize(
    "prompts", [[[{"kind": "box"}]], [[{"kind": "point", "index": "abc"}]], [[{"kind": "point", "index": [900, 0, 0]}]]]
)
def test_a_prompt_that_is_none_is_an_error_of_its_case_with_its_line(written, plan, tmp_path, prompts):
    _, journal = written(protocols=("box",))
    entries = [json.loads(line) for line in journal.path.read_text().splitlines()]
    entries[1]["prompts"] = prompts
    odd = Journal(tmp_path / "odd.jsonl")
    odd.path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    again = plan(protocols=(), journal=odd, store=Store(tmp_path / "again"))
    errors = dict(run(again).errors)
    assert list(errors) == [entries[1]["case"]]
    assert "odd.jsonl, line 2: " in errors[entries[1]["case"]]


class _Blind(FakeModel):
    """Finds less than the other: its second click falls elsewhere."""

    def decode(self, embedding, prompts, previous=None):
        found = super().decode(embedding, prompts, None)
        found.logits[:, ::2] = -1
        return found
