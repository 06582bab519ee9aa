"""The undoable state of one user's work on one image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import SessionError
from samaritan.core.geometry import Axis
from samaritan.core.image import Image, LabelMap, Window
from samaritan.core.model import Model, Prediction
from samaritan.core.prompts import Prompt, Prompts, Text
from samaritan.infer.cache import EmbeddingCache
from samaritan.infer.channels import Channels, rule_of
from samaritan.infer.embedder import Embedder
from samaritan.infer.lru import ByteLRU
from samaritan.infer.planes import choose_axis
from samaritan.infer.segment import SegmentedObject, segment_object
from samaritan.infer.timing import Progress
from samaritan.infer.translate import translate
from samaritan.session import document
from samaritan.session.history import Action, History

Bools = NDArray[np.bool_]

_MEMO_BYTES = 256 * 1024**2


class Session:
    """One user's prompts on one image, with undo and redo; masks are made when asked for, and remembered.

    On an image of one plane every prompt refines the prediction of the prompts before it, as the user saw it; on a
    volume all prompts of an object count at once. Either way a mask follows from the prompts alone, in their order:
    a session replayed from JSON gives the same masks, bit for bit, on the same machine.

    Parameters
    ----------
    model, image
        Who segments, and what.
    window
        Name, ``"file"``, or centre and width; None chooses by modality, see ``samaritan.infer.intensity``.
    channels
        Which channels the model sees, such as ``"average"`` or ``"each:t1,flair"``; None is the first, or colour: see
        ``samaritan.infer.channels``.
    axis
        Across which to slice a volume; None chooses by prompts and spacing.
    cache
        Where to keep embeddings on disk; None keeps them in memory only.
    progress
        Called while a volume is segmented, with the object's name, slices done, and slices there are at most.

    Raises
    ------
    ImageError, UnknownNameError
        If the image has no contrast, or there is no such window or channel.
    """

    def __init__(
        self,
        model: Model,
        image: Image,
        *,
        window: Window | str | None = None,
        channels: Channels | str | None = None,
        axis: Axis | None = None,
        cache: EmbeddingCache | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.model, self.image, self.window, self.axis, self.progress = model, image, window, axis, progress
        self.history = History()
        self.channels = rule_of(channels)
        self._embedder = Embedder(model, image, window=window, channels=self.channels, cache=cache)
        self._predictions: ByteLRU[tuple[Prompt, ...], Prediction] = ByteLRU(_MEMO_BYTES)
        self._results: ByteLRU[tuple[Prompt, ...], SegmentedObject] = ByteLRU(_MEMO_BYTES)

    # -- what the user does -------------------------------------------------------------------------------------

    def add(self, prompt: Prompt, *, object: str = "object") -> None:  # noqa: A002 - what users call it
        """Add a prompt for the object of that name, in voxel indices of the image.

        Raises
        ------
        PromptError
            If it lies outside the image, contradicts an earlier one, or the model does not take its kind; the session
            then stays as it was.
        """
        prompts = Prompts(self.image.geometry, (*self.history.prompts.get(object, ()), prompt))
        choose_axis(prompts, self.axis)
        if self.image.is_2d:
            self.model.card.require_prompts(translate(prompts, self.model.card))
        elif isinstance(prompt, Text):  # all other kinds can be said in others, slice by slice
            self.model.card.require_prompts(Prompts(self.image.geometry, (prompt,)))
        self.history = self.history.do(Action(object, prompt))

    def undo(self) -> None:
        """Take back the last prompt, or the last ``reset``; ``SessionError`` if there is nothing to undo."""
        self.history = self.history.undo()

    def redo(self) -> None:
        """Do again what was taken back last; ``SessionError`` if there is nothing to redo."""
        self.history = self.history.redo()

    def reset(self) -> None:
        """Clear all objects; this too can be undone."""
        self.history = self.history.do(Action())

    # -- what the user gets -------------------------------------------------------------------------------------

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the objects that have prompts, in order of their first."""
        return tuple(self.history.prompts)

    def mask(self, *, object: str = "object") -> Bools:  # noqa: A002 - as in add
        """Return the mask (i, j, k) of an object; empty as long as all its prompts are negative.

        Raises
        ------
        SessionError
            If there is no object of that name.
        """
        return self._result(object).mask

    def score(self, *, object: str = "object") -> float:  # noqa: A002 - as in add
        """Return the predicted IoU, in [0, 1], of an object's mask; 0 for an empty one, nan if it is not predicted."""
        return self._result(object).score

    @property
    def labels(self) -> LabelMap:
        """All objects as one label map, numbered from 1 in order; where they overlap, the first has the voxel."""
        return LabelMap.from_masks({name: self.mask(object=name) for name in self.objects}, self.image.geometry)

    def _result(self, name: str) -> SegmentedObject:
        standing = self.history.prompts
        if name not in standing:
            raise SessionError(
                got=f"no object '{name}'",
                wanted=f"one of: {', '.join(standing) or '(none yet)'}",
                fix="Add a prompt for it first",
            )
        items = standing[name]
        result = self._results.get(items)
        if result is None:
            result = self._segment(name, items)
            result.mask.flags.writeable = False
            self._results.put(items, result, nbytes=result.mask.nbytes)
        return result

    def _segment(self, name: str, items: tuple[Prompt, ...]) -> SegmentedObject:
        if not any(getattr(item, "positive", True) for item in items):
            return SegmentedObject(name, np.zeros(self.image.shape, np.bool_), 0.0)
        if self.image.is_2d and self.model.card.dims == 2:
            prediction = self._refined(items)
            return SegmentedObject(name, prediction.mask, prediction.score)
        prompts = Prompts(self.image.geometry, items)
        axis = choose_axis(prompts, self.axis)
        return segment_object(self._embedder, prompts, name=name, axis=axis, progress=self.progress)

    def _refined(self, items: tuple[Prompt, ...]) -> Prediction:
        """Return the prediction after ``items``, each step decoded from the one before, which is remembered."""
        # Until something says where the object is, there is nothing to refine.
        first = next(n for n, item in enumerate(items, start=1) if getattr(item, "positive", True))
        prediction = self._step(items[:first], None)
        for n in range(first + 1, len(items) + 1):
            prediction = self._step(items[:n], prediction)
        return prediction

    def _step(self, items: tuple[Prompt, ...], previous: Prediction | None) -> Prediction:
        known = self._predictions.get(items)
        if known is not None:
            return known
        prompts = translate(Prompts(self.image.geometry, items), self.model.card)
        self.model.card.require_prompts(prompts)
        prediction = self._embedder.model.decode(self._embedder.embedding(("k", 0)), prompts, previous)
        self._predictions.put(items, prediction, nbytes=prediction.logits.nbytes)
        return prediction

    # -- to and from JSON ---------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return all that was done as JSON: history, options, and fingerprints of the image and the model.

        The image itself is not in it, nor where it was read from.
        """
        options = document.Options(self.window, self.axis, self.channels)
        return document.write(self.history, self.image, self.model.card, options)

    @classmethod
    def from_json(
        cls,
        text: str,
        model: Model,
        image: Image,
        *,
        cache: EmbeddingCache | None = None,
        progress: Progress | None = None,
    ) -> Session:
        """Return the session that ``to_json`` wrote, on the same image and model.

        Raises
        ------
        SessionError
            If the text is no session, or was written with another image or other weights.
        GeometryMismatchError
            If the image lies on another grid.
        """
        saved = document.read(text, image, model.card)
        chosen = saved.options
        session = cls(
            model,
            image,
            window=chosen.window,
            channels=chosen.channels,
            axis=chosen.axis,
            cache=cache,
            progress=progress,
        )
        session.history = saved.history
        return session
