"""An evaluation on a cluster of this machine finds what processes find, and says what is wrong as they do."""

import sys
from dataclasses import replace
from functools import partial

import pytest

from samaritan.core.errors import DataSetError, MissingExtraError, SessionError, WeightsError
from samaritan.core.image import Image
from samaritan.data import open_data
from samaritan.evaluate.runner import fixed, run
from samaritan.evaluate.store import Store
from samaritan.evaluate.tables import tables_of, write_tables
from samaritan.evaluate.unit import Plan, Settings
from samaritan.io import write
from samaritan.models import load_model
from samaritan.scale.cluster import Cluster, require_ray
from samaritan.scale.evaluation import _where_shared, run_on_ray
from samaritan.scale.mapping import _resources, mapped_on_ray
from samaritan.testing.phantoms import picture

pytest.importorskip("ray")
HERE = {"address": "local", "cpus": 2}
# Ray's own: sockets that its processes leave open at exit, and calls that it deprecates itself.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def plan(tmp_path):
    root = tmp_path / "data"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(4):
        phantom = picture(40 + number, 50)
        assert isinstance(phantom.image, Image)
        write(phantom.image, root / f"images/c{number}.png")
        write(phantom.truth, root / f"masks/c{number}.png")
    return Plan(
        data=open_data(root),
        loaders={"ellipse": partial(load_model, "ellipse")},
        protocols=("box",),
        settings=Settings(),
        store=Store(tmp_path / "run"),
    )


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_finds_what_processes_find(plan, tmp_path):
    here, there = plan, replace(plan, store=Store(tmp_path / "there"))
    told = []
    for given, how in ((here, run), (there, partial(run_on_ray, **HERE, progress=lambda *a: told.append(a)))):
        given.store.begin({"fixed": fixed(given)})
        ran = how(given)
        assert (ran.done, ran.kept, ran.errors) == (4, 0, ())
    assert [count for _, count, _ in told] == [1, 2, 3, 4]
    one, other = write_tables(here, tables_of(here)), write_tables(there, tables_of(there))
    for name in ("results", "csv", "objects", "journal", "gaps"):
        assert one[name].read_bytes() == other[name].read_bytes()
    assert run_on_ray(there, **HERE).kept == 4


@pytest.mark.ray
@pytest.mark.slow
def test_errors_come_back_as_what_they_are(plan):
    with pytest.raises(DataSetError, match="all nodes of the cluster share"):  # the run was not begun
        run_on_ray(plan, **HERE)
    plan.store.begin({"fixed": fixed(plan)})
    broken = replace(plan, loaders={"broken": _broken})
    with pytest.raises(WeightsError, match="no weights"):
        run_on_ray(broken, **HERE)


def _broken():
    raise WeightsError(got="no weights", wanted="some")


@pytest.mark.ray
def test_an_address_where_nobody_answers():
    with pytest.raises(SessionError, match="ray start --head"):
        list(mapped_on_ray(str, [1], address="not an address"))


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"samaritan\[ray\]"):
        require_ray()


def test_nothing_to_do_needs_no_cluster():
    assert list(mapped_on_ray(str, [], address="nowhere")) == []


def test_a_folder_that_a_node_does_not_see_is_an_error(tmp_path):
    with pytest.raises(DataSetError, match="on node"):
        _where_shared(Store(tmp_path), str, ("model", None))


@pytest.mark.parametrize(
    ("there", "gpu", "wanted"),
    [
        (Cluster(8, 0), True, {"concurrency": 7, "num_cpus": 1}),
        (Cluster(1, 0), False, {"concurrency": 1, "num_cpus": 0.5}),
        (Cluster(64, 2), True, {"concurrency": 2, "num_cpus": 0.5, "num_gpus": 1}),
        (Cluster(64, 2), False, {"concurrency": 10, "num_cpus": 1}),
    ],
)
def test_a_processor_is_left_to_who_hands_out_the_work(there, gpu, wanted):
    assert _resources(there, 10, gpu=gpu) == wanted
