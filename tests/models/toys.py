"""Two published models that are too small to be of use, for tests of what is done with files."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from samaritan.models import published
from samaritan.models.family import FAMILIES, Family
from samaritan.models.registry import MODELS
from samaritan.testing.fake_model import FakeModel

CARD = """
name = {name}
family = "toy"
title = "A toy"
licence = {licence}
commercial_use = {commercial}
native_shape = [64, 64]
dims = 2
prompts = ["point", "box"]
training_data = ["none"]
source = "tests"
scores = {{ dice = 0.5 }}

[checkpoint]
"""


class Toy(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.last = nn.Linear(width, 1)


class ToyModel(FakeModel):
    """Knows the module that it was made of."""

    def __init__(self, module, card, frame, device):
        super().__init__(replace(card, family="fake"))
        self.module = module


FAMILY = Family(
    title="Toys",
    variants={"toy": partial(Toy, 4), "toy-large": partial(Toy, 6)},
    rename=dict,
    model=ToyModel,
)


def publish(name="toy", *, licence="MIT", commercial=True, **checkpoint):
    """Write the card of a published toy; ``checkpoint`` are fields of its table."""
    fields = {"file": "toy.pth", "sha256": "", "bytes": 0, "url": "https://nowhere.invalid/toy.pth", "variant": "toy"}
    text = CARD.format(name=json.dumps(name), licence=json.dumps(licence), commercial=json.dumps(commercial))
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**fields, **checkpoint}.items()]
    (published.CARDS / f"{name}.toml").write_text(text + "\n".join(lines) + "\n")
    published.published.cache_clear()
    MODELS._loaded[name] = published.entry(name)
    MODELS._targets[name] = "nowhere:needed"


def use_toys(monkeypatch, folder: Path):
    """Know the toys alone, with cards and checkpoints below ``folder``."""
    others = {name: target for name, target in MODELS._targets.items() if "entries:" not in target}
    cards = folder / "cards"
    cards.mkdir()
    monkeypatch.setattr(published, "CARDS", cards)
    monkeypatch.setattr(FAMILIES, "_targets", {"toy": "tests.models.toys:FAMILY"})
    monkeypatch.setattr(MODELS, "_targets", others)
    monkeypatch.setattr(MODELS, "_loaded", dict(MODELS._loaded))
    monkeypatch.setenv("SAMARITAN_MODELS", str(folder / "models"))
    published.published.cache_clear()
