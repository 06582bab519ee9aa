"""The table that is bounded in bytes."""

from samaritan.infer.lru import ByteLRU


def test_the_least_recently_used_goes_first():
    table = ByteLRU(10)
    table.put("a", 1, nbytes=4)
    table.put("b", 2, nbytes=4)
    assert table.get("a") == 1
    table.put("c", 3, nbytes=4)
    assert (table.get("a"), table.get("b"), table.get("c")) == (1, None, 3)
    assert table.nbytes == 8


def test_replacing_counts_once_and_the_newest_stays_however_large():
    table = ByteLRU(10)
    table.put("a", 1, nbytes=4)
    table.put("a", 2, nbytes=6)
    assert table.nbytes == 6
    table.put("b", 3, nbytes=99)
    assert (table.get("a"), table.get("b"), len(table), table.nbytes) == (None, 3, 1, 99)


def test_lowering_the_bound_forgets():
    table = ByteLRU(10)
    for name in "abc":
        table.put(name, name, nbytes=3)
    table.max_bytes = 4
    assert (len(table), table.get("c")) == (1, "c")


def test_to_ask_whether_it_is_there_is_not_to_use_it():
    table = ByteLRU(8)
    table.put("a", 1, nbytes=4)
    table.put("b", 2, nbytes=4)
    assert "a" in table
    table.put("c", 3, nbytes=4)
    assert "a" not in table
