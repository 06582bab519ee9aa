"""What all tests of SAM-Med3D need."""

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Small networks are slower on several threads, and much slower where others are at work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
