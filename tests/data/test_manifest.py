from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import yaml

from samaritan.core.errors import DataSetError
from samaritan.data.case import Case, DataSet, Reference
from samaritan.data.layouts import open_data
from samaritan.data.manifest import read_manifest, with_splits, write_manifest

FULL = Case(
    "a",
    ("x_0.nii.gz", "x_1.nii.gz"),
    Reference("masks", ("m.png", "n.png"), {2: "spleen"}, values=(2, 2), part="7", instances=True, ignored=(3,)),
    channels=("T1", "T2"),
    series="1.2.3",
    patient="p",
    modality="MR",
    split="test",
    dataset="d",
    tags={"site": "Köln"},
)


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    return DataSet(root, "nnunet", (FULL, Case("b", ("y.png",))), "Name", ("odd",))


def test_what_is_written_is_read(data):
    path = write_manifest(data)
    assert path == data.root / "samaritan.yaml"
    back = read_manifest(path)
    assert replace(back, root=data.root) == data
    assert back.root.resolve() == data.root.resolve()


def test_it_is_what_a_folder_is_opened_by(data):
    write_manifest(data)
    assert open_data(data.root).cases == data.cases
    assert open_data(data.root / "samaritan.yaml").cases == data.cases


def test_in_another_folder_the_paths_still_lead_to_the_data(data, tmp_path):
    (tmp_path / "runs" / "one").mkdir(parents=True)
    back = read_manifest(write_manifest(data, tmp_path / "runs" / "one"))
    assert back.root.resolve() == data.root.resolve()


def test_facts_are_further_columns(data):
    write_manifest(data, facts={"b": {"shape": [1, 2, 3], "usable": True}})
    table = pq.read_table(data.root / "samaritan.parquet").to_pylist()
    assert table[1]["shape"] == [1, 2, 3]
    assert table[0]["shape"] is None
    assert read_manifest(data.root / "samaritan.yaml").cases == data.cases


def test_splits_are_set(data):
    assert [case.split for case in with_splits(data, {"b": "train"}).cases] == ["test", "train"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda root: (root / "samaritan.yaml").write_text("[unclosed"), "no YAML"),
        (lambda root: (root / "samaritan.yaml").write_text("just text"), "manifest of version 1"),
        (lambda root: (root / "samaritan.yaml").write_text(yaml.safe_dump({"samaritan_manifest": 9})), "manifest: 9"),
        (lambda root: (root / "samaritan.yaml").write_text("!!python/object/apply:os.getcwd []"), "no YAML"),
        (lambda root: (root / "samaritan.parquet").unlink(), "without its table"),
        (lambda root: (root / "samaritan.parquet").write_bytes(b"PAR1"), "no table of cases"),
    ],
)
def test_a_manifest_that_is_wrong(data, change, reason):
    write_manifest(data)
    change(data.root)
    with pytest.raises(DataSetError, match=reason) as raised:
        open_data(data.root)
    assert "samaritan inspect" in str(raised.value)
