"""From prompts to what SAM 3's detector is asked: a phrase, and boxes around examples.

* a text: the phrase that names the concept; without one it is "visual", which stands for what the examples show;
* a box: an example of the concept;
* a lasso: the box around it, an example if it is positive, and what is not to be taken for the concept if negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from samaritan.core.errors import PromptError
from samaritan.core.prompts import Lasso, Prompts, Text
from samaritan.models.letterbox import Letterbox
from samaritan.models.prompt_areas import bounds, inside, require_start
from samaritan.models.sam3.words import Words

_EXAMPLES = "visual"


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """What is asked of the detector.

    Parameters
    ----------
    numbers
        (n,) int64, of the phrase.
    boxes
        (b, 4) float32: centre x and y, width and height, in [0, 1] of the frame.
    signs
        (b,) int64: 1 for an example, 0 for what is none.
    """

    numbers: NDArray[np.int64]
    boxes: NDArray[np.float32]
    signs: NDArray[np.int64]

    @classmethod
    def of(cls, prompts: Prompts, words: Words, letterbox: Letterbox) -> Self:
        """Return the question that prompts are. Boxes reach from edge to edge of their first and last pixels.

        Raises
        ------
        PromptError
            If there is more than one text, one that is too long, or nothing but negative lassos.
        """
        require_start(prompts, None)
        phrases = [text.text for text in prompts.of(Text)]
        if len(phrases) > 1:
            raise PromptError(
                got=f"{len(phrases)} texts", wanted="one phrase for each object", fix="Ask for each concept by itself"
            )
        spans = [np.array([box.start[:2], box.stop[:2]]) for box in prompts.boxes]
        signs = [1] * len(spans)
        for lasso in prompts.of(Lasso):
            span = bounds(inside(lasso, prompts.geometry.shape[:2]))
            if span is not None:
                spans.append(span)
                signs.append(int(lasso.positive))
        edges = np.array(spans, np.float64).reshape(-1, 2, 2)
        # Indices are those of centres.
        first, last = (letterbox.to_frame(edges - 0.5) / letterbox.frame).transpose(1, 0, 2)
        return cls(
            words.numbers(phrases[0] if phrases else _EXAMPLES),
            np.concatenate([(first + last) / 2, last - first], axis=1).astype(np.float32),
            np.array(signs, np.int64),
        )
