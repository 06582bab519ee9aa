"""Phrases as the numbers that SAM 3's text encoder reads: CLIP's byte pair encoding (Radford et al. 2021).

Its table is no tensor. It lies beside the checkpoint, in the form of the ``tokenizers`` library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from samaritan.core.errors import PromptError, WeightsError

FILE = "tokenizer.json"
LONGEST = 32  # numbers that a phrase may become, those that begin and end it included


class Words:
    """The table of a text encoder's words.

    Parameters
    ----------
    tokenizer
        Of the ``tokenizers`` library; it marks where a phrase begins and ends.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # Phrases come one at a time: none has to be as long as another.
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer

    @classmethod
    def read(cls, folder: Path, *, most: int) -> Self:
        """Return the table beside a checkpoint, in its ``folder``; the text encoder knows ``most`` words.

        Raises
        ------
        WeightsError
            If it is not there, is damaged, or has more words than that.
        """
        path = folder / FILE
        fix = f"samaritan models pull sam3-concept fetches it; beside a checkpoint of your own, put a copy of {FILE}"
        if not path.is_file():
            raise WeightsError(got=f"no {FILE} beside the checkpoint", wanted=f"the table of words, {path}", fix=fix)
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no narrower class
            raise WeightsError(got=f"{path} is no table of words ({error})", wanted="CLIP's", fix=fix) from error
        if tokenizer.get_vocab_size() > most:
            raise WeightsError(
                got=f"{path} with {tokenizer.get_vocab_size()} words", wanted=f"CLIP's, at most {most}", fix=fix
            )
        return cls(tokenizer)

    def numbers(self, phrase: str) -> NDArray[np.int64]:
        """Return what a phrase is to the text encoder, (n,).

        Raises
        ------
        PromptError
            If it is longer than the text encoder reads.
        """
        found = self._tokenizer.encode(phrase).ids
        if len(found) > LONGEST:
            raise PromptError(
                got=f"a text of {len(found) - 2} words or parts of words",
                wanted=f"a short phrase of {LONGEST - 2} at most, such as 'cell nucleus'",
            )
        return np.array(found, np.int64)
