import pytest

from samaritan.core.errors import DataSetError
from samaritan.evaluate.store import Store


def test_a_folder_goes_on_with_its_own_run_only(tmp_path):
    store = Store(tmp_path / "run")
    store.begin({"fixed": {"seed": 0}, "models": ["a"]})
    store.begin({"fixed": {"seed": 0}, "models": ["a", "b"]})
    assert store.asked()["models"] == ["a", "b"]
    with pytest.raises(DataSetError, match="seed 0, and now 1"):
        store.begin({"fixed": {"seed": 1}})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(DataSetError, match="other things"):
        Store(tmp_path / "other").begin({"fixed": {}})
    with pytest.raises(DataSetError, match="evaluation"):
        Store(tmp_path / "other").asked()


def test_units_are_kept_under_any_names(tmp_path):
    store = Store(tmp_path)
    names = ["a/b", "a_b", "../up", ".hidden", "x" * 300, "Köln 1", ""]
    for number, case in enumerate(names):
        store.put({"case": case, "number": number}, case, "models/mine.pth", "box")
    for number, case in enumerate(names):
        assert store.get(case, "models/mine.pth", "box")["number"] == number
    assert [unit["number"] for unit in store.units([*names, "none"], "models/mine.pth", "box")] == list(range(7))
    assert store.get("a/b", "other", "box") is None
    assert all(path.is_relative_to(tmp_path / "units") for path in tmp_path.rglob("*.json"))
    assert not (tmp_path.parent / "up.json").exists()
