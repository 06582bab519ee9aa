"""Registries: entries are found by name and imported when first asked for."""

import sys

import pytest

from samaritan.core.errors import UnknownNameError
from samaritan.core.registry import Registry


def test_entries_are_imported_on_demand(tmp_path, monkeypatch):
    (tmp_path / "lazy_entry.py").write_text("thing = object()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry: Registry[object] = Registry("thing", "samaritan.nothing")
    registry.register("one", "lazy_entry:thing")
    assert "one" in registry
    assert list(registry) == ["one"]
    assert "lazy_entry" not in sys.modules
    assert registry.get("one") is registry.get("one") is sys.modules["lazy_entry"].thing


def test_unknown_and_repeated_names():
    registry: Registry[object] = Registry("thing", "samaritan.nothing")
    registry.register("one", "math:pi")
    with pytest.raises(UnknownNameError, match="unknown thing 'two'"):
        registry.get("two")
    many: Registry[object] = Registry("thing", "samaritan.nothing", listed_by="things --list")
    for n in range(9):
        many.register(str(n), "math:pi")
    with pytest.raises(UnknownNameError, match=r"unknown thing 'two'\. Wanted one of 9; `things --list` lists all"):
        many.get("two")
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("one", "math:e")
