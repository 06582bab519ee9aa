"""What clicks would give if the object's place were known, so that the right window were looked at."""

from __future__ import annotations

from samaritan.core.model import Embedding, Prediction
from samaritan.core.prompts import Prompts
from samaritan.models.prompt_areas import extent
from samaritan.models.tiny import FOLDER
from samaritan.models.tiny.adapter import TinyEmbedding, TinyModel
from training.clicks import corrected
from training.measures import dice
from training.tiny.limits.shared import Array, Subject, markdown, mean_of

CLICKS = 5


class Placed(TinyModel):
    """The model, looking where it is told that the object lies, whatever it is asked."""

    place: Array  # ((i0, j0), (i1, j1)), half-open

    def decode(self, embedding: Embedding, prompts: Prompts, previous: Prediction | None = None) -> Prediction:
        """Return one mask for the prompts."""
        assert isinstance(embedding, TinyEmbedding)
        return self._look_again(embedding, prompts, previous, self.place)


def windows(subject: Subject) -> dict[str, dict[str, float]]:
    """Return the Dice of clicks in the window that is guessed and in the one around the reference."""
    placed = Placed(FOLDER, network=subject.network)
    rows: dict[str, dict[str, float]] = {}
    for group, part in subject.groups.items():
        for name, model in {"guessed": subject.model, "around the reference": placed}.items():
            scores = []
            for item in part:
                place = extent(item.box)
                assert place is not None  # a box says where it lies
                placed.place = place
                nothing = Prompts(item.target.geometry)
                answered = corrected(model, item.embedding, item.target.mask, nothing, clicks=CLICKS)
                scores.append([dice(item.target.mask, answer.mask) for answer in answered])
            by_clicks = enumerate(zip(*scores, strict=True), 1)
            rows[f"{group}: {name}"] = {str(clicks): mean_of(values, part) for clicks, values in by_clicks}
    return rows


def table(subject: Subject) -> str:
    """Return the table."""
    return markdown("Dice after clicks, by the window", windows(subject))
