"""What every ``Model`` must do, as checks that anyone can run over theirs.

Each check takes a model and raises ``AssertionError`` with the reason if it fails; none needs pytest. In a test::

    @pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(my_model)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import GeometryMismatchError, ImageError, PromptError, SamaritanError, UnsupportedPromptError
from samaritan.core.geometry import Geometry
from samaritan.core.image import RGB, Image
from samaritan.core.model import BatchModel, Embedding, Model, Prediction, StepwiseModel, decode_all, embed_all
from samaritan.core.prompts import KINDS, Box, Lasso, MaskPrompt, Point, Prompt, Prompts, Scribble, Text
from samaritan.testing.phantoms import box_of

Bools = NDArray[np.bool_]
Check = Callable[[Model], None]

_SIZES = ((64, 64), (97, 61), (1, 1), (2, 3), (1, 50), (300, 7), (700, 520))
_DEPTH = 6  # of the test volumes for a model with dims == 3
_SAME_LOGITS = 1e-3
_FINDS_DICE = 0.8
_SHIFT_DICE = 0.85


# -- test images ------------------------------------------------------------------------------------------------


def _blob(shape: tuple[int, int, int], *, shift: int = 0) -> Bools:
    """Return an upright ellipse (i, j, k) right of the middle: no flip or swap of axes maps it onto itself."""
    width, height, depth = shape
    i, j = np.arange(width)[:, None], np.arange(height)[None, :]
    x, y = (i - 0.6 * width - shift) / max(0.12 * width, 0.6), (j - 0.4 * height) / max(0.3 * height, 0.6)
    plane = x**2 + y**2 <= 1
    plane[width // 2, height // 2] |= not plane.any()
    return np.repeat(plane[:, :, None], depth, axis=2)


def _image(model: Model, mask: Bools) -> Image:
    """Return an image in which ``mask`` is bright on dark ground, as the card wants its channels and range."""
    low, high = model.card.intensity_range
    values = np.where(mask, low + 0.8 * (high - low), low + 0.2 * (high - low)).astype(np.float32)
    channels = RGB if model.card.channels == len(RGB) else ("intensity",)
    width, height, depth = mask.shape
    geometry = Geometry.picture(width, height) if depth == 1 else Geometry.from_spacing((width, height, depth))
    return Image(np.broadcast_to(values, (len(channels), *mask.shape)), geometry, channels=channels)


def _shape(model: Model, width: int, height: int) -> tuple[int, int, int]:
    return width, height, 1 if model.card.dims == 2 else _DEPTH


def _subject(model: Model, width: int = 97, height: int = 61, *, shift: int = 0) -> tuple[Image, Bools]:
    mask = _blob(_shape(model, width, height), shift=shift)
    return _image(model, mask), mask


def _prompt(kind: str, mask: Bools) -> Prompt:
    """Return a prompt of ``kind`` for the object ``mask``."""
    voxels = np.argwhere(mask)
    box = box_of(mask)
    (i0, j0, k), (i1, j1, _) = box.start, box.stop
    corners = np.array([(i0, j0, k), (i1 - 1, j0, k), (i1 - 1, j1 - 1, k), (i0, j1 - 1, k)], np.float64)
    makers: dict[str, Callable[[], Prompt]] = {
        "point": lambda: Point(tuple(voxels[len(voxels) // 2].tolist())),
        "box": lambda: box,
        "scribble": lambda: Scribble(voxels[:: max(1, len(voxels) // 20)]),
        "lasso": lambda: Lasso(corners),
        "mask": lambda: MaskPrompt(mask),
        "text": lambda: Text("ellipse"),
    }
    return makers[kind]()


def _prompts(model: Model, image: Image, mask: Bools) -> Prompts:
    """Return the least ambiguous prompt that the model takes."""
    kind = next(k for k in ("box", "mask", "scribble", "lasso", "point", "text") if k in model.card.prompts)
    return Prompts(image.geometry, (_prompt(kind, mask),))


def _decoded(model: Model, image: Image, mask: Bools) -> tuple[Embedding, Prompts, Prediction]:
    embedding, prompts = model.embed(image), _prompts(model, image, mask)
    return embedding, prompts, model.decode(embedding, prompts)


# -- what is required -------------------------------------------------------------------------------------------


def _require(condition: object, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)


def _require_refused(error: type[SamaritanError], call: Callable[[], object], what: str) -> None:
    try:
        call()
    except error:
        return
    except SamaritanError as other:
        reason = f"{what} must raise {error.__name__}, not {type(other).__name__}: {other}"
        raise AssertionError(reason) from other
    reason = f"{what} must raise {error.__name__}, but was taken"
    raise AssertionError(reason)


def _require_prediction(prediction: Prediction, image: Image, what: str) -> None:
    logits, scores = prediction.logits, prediction.scores
    _require(prediction.geometry.matches(image.geometry), f"{what}: the prediction must be on the image's grid")
    _require(logits.shape[1:] == image.shape, f"{what}: logits of {logits.shape[1:]} on an image of {image.shape}")
    _require(logits.dtype == np.float32, f"{what}: logits are {logits.dtype}, not float32")
    _require(np.isfinite(logits).all(), f"{what}: some logits are not finite")
    if np.isnan(scores).all():  # it does not predict them
        return
    _require(((scores >= 0) & (scores <= 1)).all(), f"{what}: scores {scores.tolist()} are not in [0, 1]")
    _require((np.diff(scores) <= 0).all(), f"{what}: scores {scores.tolist()} are not best first")


def _require_same(first: Prediction, second: Prediction, what: str) -> None:
    _require(first.logits.shape == second.logits.shape, f"{what}: another number of masks")
    apart = float(np.abs(first.logits - second.logits).max())
    _require(apart <= _SAME_LOGITS, f"{what}: logits differ by {apart:.3g}")
    same = np.allclose(first.scores, second.scores, rtol=0, atol=_SAME_LOGITS, equal_nan=True)
    _require(same, f"{what}: scores {first.scores.tolist()} become {second.scores.tolist()}")


def _dice(first: Bools, second: Bools) -> float:
    return 2 * int((first & second).sum()) / max(1, int(first.sum()) + int(second.sum()))


# -- the checks -------------------------------------------------------------------------------------------------


def check_card_is_complete(model: Model) -> None:
    """Check that the card says what the model is, what it takes, and what it was made from."""
    card = model.card
    for name in ("name", "family", "title", "licence", "source", "training_data", "prompts"):
        _require(getattr(card, name), f"the card has no {name}")
    hexadecimal = len(card.sha256) == 64 and set(card.sha256) <= set("0123456789abcdef")
    _require(hexadecimal, f"the card's sha256 is '{card.sha256}', not 64 hexadecimal digits")
    native = card.native_shape
    _require(
        len(native) == card.dims and min(native) > 0, f"native shape {native} of a model of {card.dims} dimensions"
    )
    _require(card.intensity_range[0] < card.intensity_range[1], f"intensity range {card.intensity_range} is empty")


def check_is_a_model(model: Model) -> None:
    """Check that the model has the methods of the protocol, and its embedding knows its grid and size."""
    _require(isinstance(model, Model), f"{type(model).__name__} lacks a method of core.model.Model")
    image, _ = _subject(model)
    embedding = model.embed(image)
    _require(isinstance(embedding, Embedding), f"{type(embedding).__name__} lacks geometry or nbytes")
    _require(embedding.geometry.matches(image.geometry), "the embedding must know the image's grid")
    _require(embedding.nbytes > 0, "the embedding must know the memory that it holds")


def check_any_size(model: Model) -> None:
    """Check that images of any size and aspect give logits on their own grid, with scores in [0, 1], best first."""
    for width, height in _SIZES:
        image, mask = _subject(model, width, height)
        _, _, prediction = _decoded(model, image, mask)
        _require_prediction(prediction, image, f"a {width} x {height} image")


def check_constant_image(model: Model) -> None:
    """Check that an image without contrast gives finite logits and no warning."""
    image, mask = _subject(model)
    flat = Image(np.full(image.array.shape, model.card.intensity_range[0], np.float32), image.geometry, image.channels)
    _require_prediction(model.decode(model.embed(flat), _prompts(model, flat, mask)), flat, "a constant image")


def check_prompt_kinds(model: Model) -> None:
    """Check that every kind of prompt on the card is taken; every other, and no prompt at all, is refused."""
    image, mask = _subject(model)
    embedding = model.embed(image)
    for kind in KINDS:
        prompts = Prompts(image.geometry, (_prompt(kind, mask),))
        if kind in model.card.prompts:
            _require_prediction(model.decode(embedding, prompts), image, f"a {kind}")
        else:
            _require_refused(UnsupportedPromptError, partial(model.decode, embedding, prompts), f"a {kind}")
    _require_refused(UnsupportedPromptError, lambda: model.decode(embedding, Prompts(image.geometry)), "no prompt")


def check_prompts_at_the_border(model: Model) -> None:
    """Check that clicks on the corners and a box of the whole image are taken."""
    image, _ = _subject(model)
    embedding = model.embed(image)
    last = tuple(n - 1.0 for n in image.shape)
    for kind, item in (
        ("point", Point((0, 0, 0))),
        ("point", Point((last[0], last[1], last[2]))),
        ("point", Point((last[0] + 0.49, -0.5, 0))),
        ("box", Box((0, 0, 0), image.shape)),
    ):
        if kind in model.card.prompts:
            prediction = model.decode(embedding, Prompts(image.geometry, (item,)))
            _require_prediction(prediction, image, f"{item}")


def check_negative_prompts_alone(model: Model) -> None:
    """Check that negative clicks are refused alone, and taken with a previous prediction to correct."""
    if "point" not in model.card.prompts:
        return
    image, mask = _subject(model)
    embedding, _, previous = _decoded(model, image, mask)
    negative = Prompts(image.geometry, (Point((1, 1, 0), positive=False),))
    _require_refused(PromptError, lambda: model.decode(embedding, negative), "a negative point alone")
    _require_prediction(model.decode(embedding, negative, previous), image, "a negative point on a previous prediction")


def check_refinement(model: Model) -> None:
    """Check that a previous prediction is taken, alone in its mask or with others."""
    image, mask = _subject(model)
    embedding, prompts, previous = _decoded(model, image, mask)
    _require_prediction(model.decode(embedding, prompts, previous), image, "a previous prediction")


def check_other_grids_are_refused(model: Model) -> None:
    """Check that prompts and previous predictions of another grid are refused."""
    image, mask = _subject(model)
    embedding, prompts, previous = _decoded(model, image, mask)
    other, other_mask = _subject(model, 61, 97)
    _, foreign, prediction = _decoded(model, other, other_mask)
    _require_refused(GeometryMismatchError, lambda: model.decode(embedding, foreign), "prompts on another grid")
    _require_refused(
        GeometryMismatchError,
        lambda: model.decode(embedding, prompts, prediction),
        "a previous prediction on another grid",
    )
    moved = Geometry(image.shape, image.geometry.affine + np.eye(4, k=3) * 5, image.geometry.unit)
    elsewhere = Prediction(previous.logits, previous.scores, moved)
    _require_refused(
        GeometryMismatchError, lambda: model.decode(embedding, prompts, elsewhere), "a grid of the same shape elsewhere"
    )


def check_other_images_are_refused(model: Model) -> None:
    """Check that a model of planes refuses a volume, and any model other channels than its card says."""
    image, mask = _subject(model)
    extra = Image(np.concatenate([image.array, image.array[:1]]), image.geometry, (*image.channels, "more"))
    _require_refused(ImageError, lambda: model.embed(extra), f"an image of {len(extra.channels)} channels")
    if model.card.dims == 2:
        volume = _image(model, np.repeat(mask, 3, axis=2))
        _require_refused(ImageError, lambda: model.embed(volume), "a volume")


def check_determinism(model: Model) -> None:
    """Check that the same image and prompts give the same masks, whatever was done in between."""
    image, mask = _subject(model)
    _, _, first = _decoded(model, image, mask)
    _decoded(model, *_subject(model, 50, 80))
    _, _, second = _decoded(model, image, mask)
    _require_same(first, second, "the same call again")


def check_memory_layout(model: Model) -> None:
    """Check that the same values in another type or memory order give the same masks."""
    image, mask = _subject(model)
    _, prompts, wanted = _decoded(model, image, mask)
    for array in (np.asfortranarray(image.array), np.ascontiguousarray(image.array), image.array.astype(np.float64)):
        again = model.decode(model.embed(Image(array, image.geometry, image.channels)), prompts)
        _require_same(wanted, again, f"{array.dtype} in another memory order")


def check_pack(model: Model) -> None:
    """Check that an embedding that was packed into plain arrays and unpacked gives the same masks."""
    image, mask = _subject(model)
    embedding, prompts, wanted = _decoded(model, image, mask)
    arrays = dict(model.pack(embedding))
    _require(arrays, "pack must return arrays")
    for name, array in arrays.items():
        _require(array.dtype.kind in "uif", f"packed array '{name}' is {array.dtype}: it could not be kept safely")
    unpacked = model.unpack({name: array.copy() for name, array in arrays.items()}, image.geometry)
    _require_same(wanted, model.decode(unpacked, prompts), "an unpacked embedding")


def check_inputs_stay_as_they_are(model: Model) -> None:
    """Check that neither image, nor embedding, nor previous prediction is written to."""
    image, mask = _subject(model)
    own = Image(np.array(image.array), image.geometry, image.channels)
    embedding, prompts, previous = _decoded(model, own, mask)
    packed = {name: array.copy() for name, array in model.pack(embedding).items()}
    logits = previous.logits.copy()
    model.decode(embedding, prompts, previous)
    _require(np.array_equal(own.array, image.array), "embed changed the image")
    _require(np.array_equal(previous.logits, logits), "decode changed the previous prediction")
    after = model.pack(embedding)
    _require(all(np.array_equal(after[n], a) for n, a in packed.items()), "decode changed the embedding")


def check_threads(model: Model) -> None:
    """Check that several threads may decode on one embedding at once."""
    image, mask = _subject(model)
    embedding = model.embed(image)
    width = image.shape[0]
    asked = [_prompts(model, image, np.roll(mask, shift, axis=0)) for shift in range(0, width // 4, 4)]
    wanted = [model.decode(embedding, prompts) for prompts in asked]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompts: model.decode(embedding, prompts), asked))
    for first, second in zip(wanted, found, strict=True):
        _require_same(first, second, "decoding in threads")


def check_steps(model: Model) -> None:
    """Check that a model that tells of its steps says what it says without, and lets itself be broken off."""
    if not isinstance(model, StepwiseModel):
        return
    image, mask = _subject(model)
    embedding, prompts, wanted = _decoded(model, image, mask)
    told: list[tuple[int, int]] = []
    found = model.decode_stepwise(embedding, prompts, step=lambda done, total: told.append((done, total)))
    _require_same(wanted, found, "decoding step by step")
    done = [step for step, _ in told]
    _require(bool(told) and done == sorted(set(done)), f"steps {done}")
    _require(all(0 < step <= total for step, total in told), f"steps {told} of what there are at most")

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    broken = False
    try:
        model.decode_stepwise(embedding, prompts, step=stop)
    except KeyboardInterrupt:
        broken = True
    _require(broken, "a step that raises must break the decoding off")
    _require_same(wanted, model.decode(embedding, prompts), "decoding after it was broken off")


def check_batches(model: Model) -> None:
    """Check that a model that does several at once gives what it gives one by one, and refuses what it refuses then."""
    wanted = ("most_images", "embed_batch", "decode_batch")
    missing = [name for name in wanted if not hasattr(model, name)]
    _require(len(missing) in (0, len(wanted)), f"a model that does several at once lacks {', '.join(missing)}")
    if isinstance(model, BatchModel):
        _require(model.most_images() >= 1, f"{model.most_images()} images are encoded at once")
        _check_embed_batch(model)
        _check_decode_batch(model)


def _check_embed_batch(model: Model) -> None:
    subjects = [_subject(model), _subject(model, 50, 80), _subject(model, shift=20)]
    embeddings = embed_all(model, [image for image, _ in subjects])
    _require(len(embeddings) == len(subjects), f"{len(subjects)} images gave {len(embeddings)} embeddings")
    for (image, mask), embedding in zip(subjects, embeddings, strict=True):
        _, prompts, wanted = _decoded(model, image, mask)
        _require_same(wanted, model.decode(embedding, prompts), "an image embedded among others")
    _require(not embed_all(model, []), "no image gave an embedding")


def _check_decode_batch(model: Model) -> None:
    image, mask = _subject(model)
    embedding, plain, _ = _decoded(model, image, mask)
    items = [_prompt(kind, mask) for kind in KINDS if kind in model.card.prompts]
    beside = _prompts(model, image, np.roll(mask, image.shape[0] // 8, axis=0))
    asked = [beside, *(Prompts(image.geometry, (item,)) for item in items), plain, plain]
    before = [*[None] * (len(asked) - 2), model.decode(embedding, beside), None]
    found = decode_all(model, embedding, asked, before)
    _require(len(found) == len(asked), f"{len(asked)} objects gave {len(found)} predictions")
    for prompts, start, prediction in zip(asked, before, found, strict=True):
        what = f"an object asked for by {', '.join(prompts.kinds)} among others"
        _require_same(model.decode(embedding, prompts, start), prediction, what)
    _require(not decode_all(model, embedding, []), "no object gave a prediction")
    wrong = [plain, Prompts(image.geometry)]
    _require_refused(UnsupportedPromptError, lambda: decode_all(model, embedding, wrong), "no prompt among others")


def check_finds_a_plain_object(model: Model) -> None:
    """Check that a bright ellipse on dark ground is found where it is: axes are not swapped, mirrored or shifted."""
    for width, height in ((97, 61), (300, 420)):
        image, mask = _subject(model, width, height)
        _, _, prediction = _decoded(model, image, mask)
        found = _dice(prediction.mask, mask)
        _require(found >= _FINDS_DICE, f"an ellipse in a {width} x {height} image is found with Dice {found:.2f} only")


def check_translation(model: Model) -> None:
    """Check that an object that moves takes its mask along."""
    shift = 16
    image, mask = _subject(model, 160, 120)
    moved, moved_mask = _subject(model, 160, 120, shift=shift)
    _, _, first = _decoded(model, image, mask)
    _, _, second = _decoded(model, moved, moved_mask)
    agreed = _dice(np.roll(first.mask, shift, axis=0), second.mask)
    _require(agreed >= _SHIFT_DICE, f"after a shift by {shift} voxels the mask agrees with Dice {agreed:.2f} only")


# What any network does, whatever its weights.
UNTRAINED_MODEL_CHECKS: tuple[Check, ...] = (
    check_card_is_complete,
    check_is_a_model,
    check_any_size,
    check_constant_image,
    check_prompt_kinds,
    check_prompts_at_the_border,
    check_negative_prompts_alone,
    check_refinement,
    check_other_grids_are_refused,
    check_other_images_are_refused,
    check_determinism,
    check_memory_layout,
    check_pack,
    check_inputs_stay_as_they_are,
    check_threads,
    check_batches,
    check_steps,
)
MODEL_CHECKS: tuple[Check, ...] = (*UNTRAINED_MODEL_CHECKS, check_finds_a_plain_object, check_translation)
