import os
from itertools import count, islice

import pytest

from samaritan.core.parallel import allowed_threads, mapped


def square(number):
    return number * number


def process(_):
    return os.getpid()


def fail_at_three(number):
    if number == 3:
        raise ValueError(number)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_and_no_sooner_than_asked(workers):
    assert list(islice(mapped(square, count(), workers=workers), 20)) == [n * n for n in range(20)]


def test_one_worker_is_this_process_and_more_are_others():
    assert set(mapped(process, range(3))) == {os.getpid()}
    assert os.getpid() not in set(mapped(process, range(3), workers=2))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_where_its_result_would_have(workers):
    results = mapped(fail_at_three, range(6), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)


def threads(_):
    return allowed_threads()


def test_processes_share_the_processors_unless_told(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert allowed_threads() == 0
    assert set(mapped(threads, range(3), workers=2)) == {max(1, os.cpu_count() // 2)}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert set(mapped(threads, range(3), workers=2)) == {3}
    for odd in ("", "many", "-1"):
        monkeypatch.setenv("OMP_NUM_THREADS", odd)
        assert allowed_threads() == 0
