"""What every method has to do, on any network: a suite that third parties may run over theirs.

::

    for check in CHECKS:
        check(Case(lambda: MyMethod(), my_network, my_anatomy, my_input))
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samaritan.adapt.learnt import learnt_names, learnt_of, put
from samaritan.adapt.methods import Method
from samaritan.core.errors import TrainingError
from samaritan.models.anatomy import Anatomy

_SAME = 1e-5  # of outputs that are computed in another order
_STEPS = 4


@dataclass(frozen=True, eq=False)
class Case:
    """A method and a network to try it on.

    Parameters
    ----------
    method
        What is tried.
    make
        Makes the network, with the same weights whenever it is called.
    anatomy
        Of the network.
    answer
        What the network answers to a fixed question, so that all that learns has a part in it.
    """

    method: Method
    make: Callable[[], nn.Module]
    anatomy: Anatomy
    answer: Callable[[nn.Module], Tensor]

    def prepared(self) -> nn.Module:
        """Return a network that is ready to learn."""
        module = self.make().eval()
        groups = self.method.prepare(module, self.anatomy)
        given = {id(parameter) for group in groups for parameter in group.parameters}
        _require(given == {id(p) for p in module.parameters() if p.requires_grad}, "groups are what learns")
        return module

    def taught(self) -> nn.Module:
        """Return a network that has learnt a little: to answer more."""
        module = self.prepared()
        optimiser = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            loss = -self.answer(module).mean()
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no type
            optimiser.step()
        return module.eval()


def check_begins_as_base(case: Case) -> None:
    """Check that a prepared network answers as the base does."""
    with torch.no_grad():
        _require_near(case.answer(case.prepared()), case.answer(case.make().eval()), "right after prepare")


def check_learns(case: Case) -> None:
    """Check that something learns, that it changes the answer, and that little is learnt unless all is."""
    module = case.taught()
    with torch.no_grad():
        before, after = case.answer(case.make().eval()), case.answer(module)
    _require(bool((after - before).abs().max() > 0), "learning changes the answer")
    _require(bool(after.mean() > before.mean()), "learning has the answer grow, as it was asked to")


def check_leaves_the_rest(case: Case) -> None:
    """Check that what does not learn is the same to the bit, after learning in the mode that training has."""
    module = case.prepared()
    names = set(learnt_names(module))
    before = {name: value.clone() for name, value in module.state_dict().items() if name not in names}
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    case.answer(module).mean().backward()  # type: ignore[no-untyped-call]  # as above
    optimiser.step()
    shared = {value.data_ptr() for name, value in module.state_dict().items() if name in names}
    after = module.state_dict()
    changed = [n for n, v in before.items() if after[n].data_ptr() not in shared and not torch.equal(v, after[n])]
    _require(not changed, f"frozen weights stay, but {changed[:3]} did not")


def check_is_saved_and_loaded(case: Case) -> None:
    """Check that what was learnt, put into another copy of the base, gives the same answers."""
    module = case.taught()
    other = case.prepared()
    put(learnt_of(module), other)
    with torch.no_grad():
        _require_near(case.answer(other), case.answer(module), "loaded")


def check_merges(case: Case) -> None:
    """Check that a merged network has the base's weights by name, and answers as before; or says that it cannot."""
    module = case.taught()
    with torch.no_grad():
        wanted = case.answer(module)
        try:
            case.method.merge(module, case.anatomy)
        except TrainingError:
            return
        _require_near(case.answer(module), wanted, "merged")
    shapes = {name: value.shape for name, value in module.state_dict().items()}
    _require(
        shapes == {n: v.shape for n, v in case.make().state_dict().items()}, "merged weights are the base's, by name"
    )


def check_is_copied(case: Case) -> None:
    """Check that a copy answers as the original, and is apart from it."""
    module = case.taught()
    other = copy.deepcopy(module)
    with torch.no_grad():
        wanted = case.answer(module).clone()
        _require_near(case.answer(other), wanted, "copied")
        for parameter in other.parameters():
            parameter.mul_(2.0)
        _require_near(case.answer(module), wanted, "after its copy changed")


CHECKS = (
    check_begins_as_base, check_learns, check_leaves_the_rest, check_is_saved_and_loaded, check_merges, check_is_copied,
)  # fmt: skip


def _require(right: bool, what: str) -> None:  # noqa: FBT001 - one that is read as a sentence
    if not right:
        raise AssertionError(what)


def _require_near(found: Tensor, wanted: Tensor, when: str) -> None:
    apart = float((found - wanted).abs().max())
    _require(apart <= _SAME * max(1.0, float(wanted.abs().max())), f"answers {when} differ by {apart:.2e}")
