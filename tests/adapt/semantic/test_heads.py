import pytest
import torch

from samaritan.adapt.base import base_of
from samaritan.adapt.kind import prepared
from samaritan.adapt.learnt import learnt_of, put
from samaritan.adapt.methods import settings_of
from samaritan.adapt.semantic.heads import HEADS
from samaritan.adapt.semantic.kind import Semantic
from samaritan.adapt.semantic.task import Batch, SemanticTask
from samaritan.core.errors import TrainingError, UnknownNameError

CLASSES = {2: "core", 5: "rim"}


def network(head, method="lora", **settings):
    return prepared(Semantic(classes=CLASSES, head=head, side=64), base_of("tiny"), settings_of(method, settings))


def batch(side=64):
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(0, 255, (2, 3, side, side), generator=generator, dtype=torch.uint8)
    classes = torch.zeros(2, side, side, dtype=torch.uint8)
    classes[0, 10:30, 10:30], classes[1, 20:40, 5:50] = 1, 2
    return Batch(pictures, classes, torch.ones(2, side, side, dtype=torch.bool))


@pytest.mark.parametrize("head", list(HEADS))
def test_every_head_learns_and_is_put_into_another_copy(head):
    module, groups = network(head)
    task = SemanticTask(lambda: None, images=2, side=64, seed=0)
    parameters = [p for group in groups for p in group.parameters]
    assert {id(p) for p in module.head.parameters()} <= {id(p) for p in parameters}
    assert len({id(p) for p in parameters}) == len(parameters)
    optimiser = torch.optim.Adam(parameters, lr=2e-3)
    first = last = 0.0
    for step in range(6):
        total = sum(task.losses(module.eval(), batch()).values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        first, last = (float(total.detach()) if step == 0 else first), float(total.detach())
    assert last < first
    other, _ = network(head)
    put(learnt_of(module), other)
    with torch.no_grad():
        given = batch().pictures.float()
        one, again = module.eval()(given), other.eval()(given)
    assert one.shape[1] == 3
    assert one.shape[2] * 4 >= 64
    assert torch.allclose(one, again, atol=1e-4)


@pytest.mark.parametrize("method", ["bitfit", "decoder", "houlsby"])
def test_the_head_learns_whatever_the_method_and_frozen_weights_stay_out(method):
    module, groups = network("cnn", method)
    learnt = learnt_of(module)
    assert any(name.startswith("head.pyramid") and name.endswith("weight") for name in learnt)
    # The base's decoder has no part in it.
    assert not any(name.startswith("base.decoder") for name in learnt) or method == "bitfit"
    assert sum(p.numel() for group in groups for p in group.parameters) < 1_000_000


def test_what_is_no_recipe():
    with pytest.raises(TrainingError, match="0 classes"):
        Semantic()
    with pytest.raises(TrainingError, match="2 slices"):
        Semantic(classes=CLASSES, slices=2)
    with pytest.raises(UnknownNameError, match="Did you mean 'cnn'"):
        network("cn")
