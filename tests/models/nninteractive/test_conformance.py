"""The remote model does what every model must, whether or not its server takes boxes of three dimensions."""

import pytest
from tests.models.nninteractive.stand_in import StandIn

from samaritan.models.nninteractive import connect
from samaritan.testing.conformance import MODEL_CHECKS


@pytest.fixture(scope="module", params=[False, True], ids=["thin boxes", "any boxes"])
def model(request):
    with StandIn(kinds={"bbox3d": request.param}) as server, connect(server.url, api_key="") as model:
        yield model


@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_model(model, check):
    check(model)
