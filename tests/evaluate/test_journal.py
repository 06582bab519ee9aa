import json

import numpy as np
import pytest

from samaritan.autoprompt.simulate import Target
from samaritan.evaluate.journal import from_entry, to_entry
from samaritan.evaluate.protocols import PROTOCOLS, Answer


@pytest.mark.parametrize("name", [n for n in PROTOCOLS if PROTOCOLS.get(n).dims != 3])
def test_questions_come_back_from_json(name):
    i, j = np.mgrid[:40, :30]
    target = Target.of_picture(np.hypot(i - 18, j - 15) <= 9)
    asking = PROTOCOLS.get(name).run(target, np.random.default_rng(0))
    question = next(asking)
    for _ in range(3):
        entry = json.loads(json.dumps(to_entry(question)))
        back = from_entry(entry, target.geometry)
        assert to_entry(back) == entry
        assert (back.step, back.effort, back.refines, back.corruption) == (
            question.step,
            question.effort,
            question.refines,
            question.corruption,
        )
        try:
            question = asking.send(Answer(target.mask[None] & False, np.ones(1, np.float32)))
        except StopIteration:
            break
