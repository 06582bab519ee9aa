"""SAM 3's detector gives what transformers gives for words and examples, for the same weights."""

import functools
import itertools
import math
import types

import numpy as np
import pytest
import torch
from tests.models.sam3.reference import SIDE, STOP, their_detector
from torch.nn import functional
from transformers import PreTrainedTokenizerFast
from transformers.models.sam3 import modeling_sam3

from samaritan.core.errors import PromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.prompts import Box, Lasso, Point, Prompts, Text
from samaritan.models.planar import FrameSpec
from samaritan.models.published import load_published
from samaritan.models.sam3 import concept
from samaritan.models.sam3.concept import LEAST_SCORE
from samaritan.models.sam3.exemplars import pooled
from samaritan.models.sam3.question import Question
from samaritan.models.sam3.words import LONGEST
from samaritan.testing.conformance import UNTRAINED_MODEL_CHECKS

CLOSE = 1e-4
FRAME = FrameSpec(SIDE, fit="stretch", values="signed")
WIDTH, HEIGHT = 90, 70
BOX, OTHER = Box((20, 10, 0), (50, 40, 1)), Box((60, 30, 0), (61, 32, 1))
AGAINST = Lasso(np.array([(5.0, 50.0, 0.0), (30.0, 50.0, 0.0), (30.0, 65.0, 0.0)]), positive=False)
QUESTIONS = {
    "text": (Text("Visual evil"),),
    "example": (BOX,),
    "examples": (BOX, OTHER),
    "text and examples": (Text("evil"), BOX, AGAINST),
    "text and what is not meant": (Text("evil"), AGAINST),
}


@pytest.fixture
def model(narrow):
    return loaded()


@functools.cache
def loaded():
    return load_published("sam3-concept", device="cpu")


@pytest.fixture
def image():
    array = np.random.default_rng(0).integers(0, 256, (3, WIDTH, HEIGHT, 1)).astype(np.float32)
    return Image(array, Geometry.picture(WIDTH, HEIGHT), channels=RGB)


def roi_align(cells, boxes, size):
    """Do what torchvision's function of this name does by default, one point at a time."""
    cells = cells[0].double().numpy()
    _, rows, columns = cells.shape
    out = np.zeros((len(boxes[0]), len(cells), size, size))
    for number, (x0, y0, x1, y1) in enumerate(boxes[0].double().tolist()):
        width, height = max(x1 - x0, 1.0), max(y1 - y0, 1.0)
        across, down = math.ceil(width / size), math.ceil(height / size)
        for row, column, below, beside in itertools.product(range(size), range(size), range(down), range(across)):
            y = y0 + (row + (below + 0.5) / down) * height / size
            x = x0 + (column + (beside + 0.5) / across) * width / size
            if y > rows or x > columns:
                continue
            top, left = min(int(y), rows - 1), min(int(x), columns - 1)
            low, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
            v, u = min(y, rows - 1) - top, min(x, columns - 1) - left
            upper = (1 - u) * cells[:, top, left] + u * cells[:, top, right]
            lower = (1 - u) * cells[:, low, left] + u * cells[:, low, right]
            out[number, :, row, column] += ((1 - v) * upper + v * lower) / (across * down)
    return torch.from_numpy(out).float()


@pytest.fixture
def torchvision(monkeypatch):
    """What transformers asks torchvision for."""
    stand_in = types.SimpleNamespace(ops=types.SimpleNamespace(roi_align=roi_align))
    monkeypatch.setattr(modeling_sam3, "torchvision", stand_in, raising=False)


def asked(folder, items):
    """Return what transformers' processor makes of prompts, which wants torchvision: padded words, boxes in [0, 1]."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token=STOP)
    phrase = next((item.text for item in items if isinstance(item, Text)), "visual")
    words = tokenizer(phrase, return_tensors="pt", padding="max_length", max_length=LONGEST)
    boxes = []
    for item in items:
        if isinstance(item, Box):
            boxes.append((*item.start[:2], *item.stop[:2], 1))
        elif isinstance(item, Lasso):  # the pixels that it holds
            boxes.append((5, 50, 31, 66, 0))
    if not boxes:
        return {"input_ids": words.input_ids, "attention_mask": words.attention_mask}
    x0, y0, x1, y1, signs = torch.tensor(boxes).T
    x0, x1, y0, y1 = x0 / WIDTH, x1 / WIDTH, y0 / HEIGHT, y1 / HEIGHT
    return {
        "input_ids": words.input_ids,
        "attention_mask": words.attention_mask,
        "input_boxes": torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], dim=1)[None],
        "input_boxes_labels": signs[None].long(),
    }


def theirs(folder, image, items):
    with torch.no_grad():
        return their_detector(folder)(pixel_values=torch.from_numpy(FRAME.picture(image)), **asked(folder, items))


def test_embeddings_are_the_same(folder, model, image):
    prepared = FRAME.picture(image)
    with torch.no_grad():
        wanted = their_detector(folder).get_vision_features(torch.from_numpy(prepared)).fpn_hidden_states
    ours = model.network.encode(prepared)
    for name, maps in zip(("fine", "middle", "coarse"), wanted[:3], strict=True):
        assert maps.std() > 0.01
        assert (maps - ours[name]).abs().max() <= CLOSE


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", QUESTIONS)
def test_candidates_are_the_same(folder, model, image, name):
    wanted = theirs(folder, image, QUESTIONS[name])
    question = Question.of(Prompts(image.geometry, QUESTIONS[name]), model.words, FRAME.letterbox((WIDTH, HEIGHT)))
    logits, scores = model.network.detect(model.network.encode(FRAME.picture(image)), question)
    assert wanted.pred_masks.std() > 0.1
    np.testing.assert_allclose(logits, wanted.pred_masks[0], atol=CLOSE)
    confidence = wanted.pred_logits.sigmoid() * wanted.presence_logits.sigmoid()
    assert confidence.std() > 0.01
    np.testing.assert_allclose(scores, confidence[0], atol=CLOSE)


def test_each_prompt_changes_the_answer(model, image):
    encoded, letterbox = model.network.encode(FRAME.picture(image)), FRAME.letterbox((WIDTH, HEIGHT))
    found = [
        model.network.detect(encoded, Question.of(Prompts(image.geometry, items), model.words, letterbox))[1]
        for items in (*QUESTIONS.values(), (Text("evil"),), (Text("evil"), BOX))
    ]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.combinations(found, 2))


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", ["text", "text and examples"])
def test_instances_are_those_of_transformers_post_processing(folder, model, image, monkeypatch, name):
    wanted = theirs(folder, image, QUESTIONS[name])
    scores = (wanted.pred_logits.sigmoid() * wanted.presence_logits.sigmoid())[0]
    threshold = (scores.sort().values[4:6].sum() / 2).item()  # between two: both sides are to compare
    monkeypatch.setattr(concept, "LEAST_SCORE", threshold)
    kept = scores > threshold
    masks = functional.interpolate(wanted.pred_masks.sigmoid()[:, kept], (HEIGHT, WIDTH), mode="bilinear")[0] > 0.5
    masks = masks[scores[kept].argsort(descending=True)].numpy().transpose(0, 2, 1)
    found = model.decode(model.embed(image), Prompts(image.geometry, QUESTIONS[name]))
    assert len(found.scores) == 1 + kept.sum() == 8
    np.testing.assert_allclose(found.scores[1:], scores[kept].sort(descending=True).values, atol=CLOSE)
    # It resizes probabilities, we logits, as for other models: edges may differ by a pixel.
    assert ((found.logits[1:, ..., 0] > 0) == masks).mean() > 0.98
    assert np.array_equal(found.mask, (found.logits[1:] > 0).any(axis=0))
    assert found.score == found.scores[1]


def detecting(monkeypatch, model, scores):
    """Let the network find candidates with these scores, one row of its masks each."""
    logits = np.full((len(scores), 32, 32), -5.0, np.float32)
    for number in range(len(scores)):
        logits[number, number % 32] = 5.0
    monkeypatch.setattr(model.network, "detect", lambda *_: (logits, np.array(scores, np.float32)))


def test_nothing_found_is_an_empty_mask(model, image, monkeypatch):
    detecting(monkeypatch, model, [LEAST_SCORE, 0.1])
    found = model.decode(model.embed(image), Prompts(image.geometry, (Text("evil"),)))
    assert found.logits.shape == (1, *image.shape)
    assert not found.mask.any()
    assert found.scores.tolist() == [0.0]


def test_one_instance_is_given_once(model, image, monkeypatch):
    detecting(monkeypatch, model, [0.2, 0.9])
    found = model.decode(model.embed(image), Prompts(image.geometry, (Text("evil"),)))
    assert found.scores.tolist() == [np.float32(0.9)]
    assert found.mask.any()


def test_many_instances_are_all_in_the_first_mask(model, image, monkeypatch):
    monkeypatch.setattr(concept, "MOST_LISTED", 2)
    detecting(monkeypatch, model, [0.7, 0.8, 0.9])
    found = model.decode(model.embed(image), Prompts(image.geometry, (Text("evil"),)))
    np.testing.assert_allclose(found.scores, [0.9, 0.9, 0.8])
    listed = (found.logits[1:] > 0).any(axis=0)
    assert (found.mask & ~listed).any()
    assert not (listed & ~found.mask).any()


def test_earlier_predictions_change_nothing(model, image):
    embedding, prompts = model.embed(image), Prompts(image.geometry, (BOX,))
    first = model.decode(embedding, prompts)
    again = model.decode(embedding, prompts, first)
    assert np.array_equal(first.logits, again.logits)


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ((Text("evil"), Text("visual")), "2 texts.*one phrase"),
        ((Text("evil " * LONGEST),), "short phrase"),
        ((AGAINST,), "negative prompts only"),
        ((Point((3, 3, 0)),), "a point prompt for model 'sam3-concept'"),
    ],
)
def test_what_is_no_concept_is_refused(model, image, items, problem):
    embedding = model.embed(image)
    previous = model.decode(embedding, Prompts(image.geometry, (BOX,)))
    for before in (None, previous):
        with pytest.raises(PromptError, match=problem):
            model.decode(embedding, Prompts(image.geometry, items), before)


def test_what_lies_in_a_box_is_that_of_the_definition():
    cells = torch.randn((1, 3, 9, 12), generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0.0, 12.0, 9.0], [1.3, 2.7, 10.1, 3.2], [4.0, 4.0, 4.0, 4.0], [11.8, 8.9, 12.0, 9.0]])
    for bins in (1, 3, 7):
        torch.testing.assert_close(pooled(cells, boxes, bins), roi_align(cells, [boxes], bins), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("check", UNTRAINED_MODEL_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance(model, check):
    check(model)
