import pytest
from tests.models.nninteractive.stand_in import StandIn

from samaritan.models.nninteractive import connect


@pytest.fixture
def server():
    with StandIn() as server:
        yield server


@pytest.fixture
def model(server, monkeypatch):
    monkeypatch.delenv("NN_INTERACTIVE_API_KEY", raising=False)
    with connect(server.url) as model:
        yield model
