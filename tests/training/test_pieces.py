"""Objects that nobody labelled."""

from dataclasses import replace

import numpy as np
from tests.training.helpers import two_discs
from training.measures import dice
from training.tiny import pieces
from training.tiny.pieces import pieces_of


def test_pieces_are_what_stands_out_of_a_picture():
    view, image = two_discs()
    found = pieces_of(view, np.random.default_rng(3))  # a coarse parting
    assert found.structures == (1,) * len(found.objects)
    discs = [mask for mask in (found.parts == members[0] for members in found.objects) if dice(image > 100, mask) > 0.6]
    assert len(discs) == 2
    assert dice(image > 100, discs[0] | discs[1]) > 0.95


def test_a_picture_of_nothing_has_no_pieces():
    view, _ = two_discs()
    blank = replace(view, image=np.full((120, 160), 90, np.uint8))
    assert pieces_of(blank, np.random.default_rng(0)) is None


def test_pieces_are_made_once(tmp_path, monkeypatch):
    view, _ = two_discs()
    monkeypatch.setattr(pieces, "VIEWS_A_FAMILY", 2)
    made = pieces.load_pieces([view], tmp_path)
    assert len(made) == 2
    monkeypatch.setattr(pieces, "pieces_of", None)
    again = pieces.load_pieces([view], tmp_path)
    assert [found.objects for found in again] == [found.objects for found in made]
