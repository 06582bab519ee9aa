"""What limits the model: each experiment measures what it says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.training.helpers import nested_view

pytest.importorskip("sklearn", reason="the forest needs scikit-learn, which comes with nilearn")

from training.tiny.limits import __main__ as program
from training.tiny.limits import ceiling, kinds, meanings, right_mask, same_box
from training.tiny.limits.experiments import EXPERIMENTS, tables
from training.tiny.limits.fitted import by_other_families, line, stability
from training.tiny.limits.ranking import OneMask
from training.tiny.limits.second_look import LOOKS
from training.tiny.limits.shared import Subject, markdown
from training.tiny.quick_check import TorchGraph, letterbox, padded

from samaritan.autoprompt.simulate import KINDS, Target
from samaritan.core.geometry import Geometry
from samaritan.core.model import Prediction
from samaritan.core.prompts import Box
from samaritan.models.tiny.network import MASKS, TinyNetwork
from samaritan.models.tiny.prompt_maps import BOX, ELLIPSE, HAS_PREVIOUS, PREVIOUS


def test_the_tables_of_what_limits_it_are_made_of_held_out_and_training_families(views):
    torch.manual_seed(0)
    asked = [
        replace(view, family=family, objects=tuple(members for members in view.objects if len(members) == 1)[-1:])
        for family, view in zip(("carotid", "a", "b"), views, strict=True)
    ]
    held, trained = (sum(len(letterbox(view)[1]) for view in part) for part in (asked[:1], asked[1:]))
    subject = Subject(TorchGraph(TinyNetwork()), asked)
    head, ranked, foreseen, looked, placed = tables(subject, ["ranking", "predicted IoU", "second look", "windows"])
    assert head.startswith(f"{held} objects of held-out families, {trained} of training families")
    shown = [float(row.split("|")[2]) for row in ranked.splitlines()[2:]]
    assert len(shown) == 6
    assert shown[0] <= shown[4] <= shown[5]  # what is taken, the best of three, the best of all
    assert all(0 <= value <= shown[5] for value in shown)
    assert foreseen.splitlines()[0].endswith("| held-out families | training families |")
    assert [row.split(" | ")[0] for row in looked.splitlines()[2:]] == [
        "| held-out families: box", "| held-out families: click", "| training families: box",
        "| training families: click",
    ]  # fmt: skip
    assert all(look in looked.splitlines()[0] for look in LOOKS)
    assert placed.splitlines()[0] == "| Dice after clicks, by the window | 1 | 2 | 3 | 4 | 5 |"
    by_window = {row.split(" | ")[0]: row for row in placed.splitlines()[2:]}
    assert len(by_window) == 4
    for group in ("held-out", "training"):  # an untrained network draws other masks where it looks elsewhere
        guessed, around = (by_window[f"| {group} families: {name}"] for name in ("guessed", "around the reference"))
        assert guessed.split(" | ")[1:] != around.split(" | ")[1:]


def test_what_is_expected_of_a_family_is_fitted_on_others():
    features = np.array([[0.0], [1.0], [2.0], [0.0], [1.0], [2.0]])
    truth = np.array([0.0, 1.0, 2.0, 5.0, 4.0, 3.0])  # a rising line in one family, a falling one in the other
    expected = by_other_families(line, features, truth, ["up"] * 3 + ["down"] * 3)
    np.testing.assert_allclose(expected, [5.0, 4.0, 3.0, 0.0, 1.0, 2.0], atol=1e-9)


def test_one_mask_stands_for_all_of_a_window():
    class Numbers:
        def run(self, _inputs):
            return {"logits": np.arange(6.0).reshape(2, 3, 1, 1), "iou": np.arange(6.0).reshape(2, 3)}

    answer = OneMask(Numbers(), 1).run({})
    assert answer["iou"].tolist() == [[1, 1, 1], [4, 4, 4]]
    assert answer["logits"].shape == (2, 3, 1, 1)
    assert answer["logits"][1].ravel().tolist() == [4, 4, 4]


def test_stability_is_an_overlap_and_tables_have_rows():
    assert stability(np.array([3.0, 1.0, -1.0, -3.0])) == pytest.approx(1 / 3)
    assert stability(np.full(4, -9.0)) == 0.0
    assert markdown("x", {"row": {"a": 0.5, "b": 1.0}}).splitlines()[2] == "| row | 0.500 | 1.000 |"


# --- what the resolution allows


def stripes(width):
    """A comb: a spine along the side, and teeth of so many pixels, as far apart."""
    mask = np.zeros((200, 200), bool)
    mask[20:180, 20:40] = True
    for row in range(20, 180, 2 * width):
        mask[row : row + width, 40:180] = True
    return Target.of_picture(mask)


def test_a_window_holds_what_is_coarser_than_its_pixels():
    coarse, fine = stripes(20), stripes(2)
    assert ceiling.dice(coarse.mask, ceiling.through(coarse, side=192)) > 0.99
    by_side = [ceiling.dice(fine.mask, ceiling.through(fine, side=side)) for side in (128, 192, 544)]
    assert by_side[0] < by_side[1] < by_side[2]  # a window of 272 px, seen at twice its size in the end
    assert by_side[1] < 0.9
    assert by_side[2] > 0.99


def test_the_ceiling_asks_no_network_and_names_families():
    subject = Subject(None, [nested_view("carotid"), nested_view("a")])
    found = ceiling.table(subject)
    rows = [[float(cell) for cell in row.split("|")[2:5]] for row in found.splitlines()[2:4]]
    assert rows[0] == rows[1]  # the same pictures
    assert all(0.97 < value <= 1 for value in rows[0])
    assert "The least at 192 px, held-out families: carotid 0.99" in found
    assert "The least at 192 px, training families: a 0.99" in found


# --- whether a mask that is right is heeded


class Drawing:
    """A network that draws the box or, if it `heeds` one, the earlier mask."""

    def __init__(self, *, heeds):
        self.heeds = heeds

    def run(self, inputs):
        maps = inputs["prompt_maps"]
        before = maps[:, HAS_PREVIOUS : HAS_PREVIOUS + 1] > 0
        shown = np.where(before & self.heeds, maps[:, PREVIOUS : PREVIOUS + 1], 2 * maps[:, BOX : BOX + 1] - 1)
        logits = 8 * np.repeat(shown.repeat(2, axis=2).repeat(2, axis=3), MASKS, axis=1)
        return {"logits": logits.astype(np.float32), "iou": np.full((len(maps), MASKS), 0.5, np.float32)}


@pytest.mark.parametrize("heeds", [True, False])
def test_a_right_mask_helps_a_network_that_heeds_it(heeds):
    found = right_mask.table(Subject(Drawing(heeds=heeds), [nested_view("a"), nested_view("carotid")]))
    held, trained = ([float(cell) for cell in row.split("|")[2:4]] for row in found.splitlines()[2:4])
    assert held == trained
    assert held[0] < 0.85  # discs in their boxes, and a ring
    assert held[1] > 0.97 if heeds else held[1] == held[0]
    assert f"The least with the reference, training families: a {held[1]:.3f}." in found


# --- what a click may mean


def test_clicks_are_in_what_is_the_smallest_of_several():
    view = nested_view()
    core, around = meanings.ambiguous_clicks(view.parts, ((2,), (1,), (1, 2), (3,)))
    assert core.point.voxel == (60, 60, 0)
    assert [int(mask.sum()) for mask in core.masks] == [int((view.parts == 2).sum()), int((view.parts % 3 > 0).sum())]
    assert int(around.masks[0].sum()) == int((view.parts == 1).sum())
    assert around.masks[0][around.point.voxel]
    larger = int((view.parts == 1).sum())
    (alone,) = meanings.ambiguous_clicks(view.parts, view.objects, least=larger)
    assert np.array_equal(alone.masks[0], around.masks[0])
    assert not list(meanings.ambiguous_clicks(view.parts, ((1,), (2,), (3,))))


class Told:
    """A model that gives masks of these objects of a view, whatever it is asked."""

    def __init__(self, view, *answers):
        parts = padded(view).parts.T[..., None]
        self._logits = np.stack([np.where(np.isin(parts, members), 9.0, -9.0) for members in answers])

    def embed(self, _image):
        return SimpleNamespace(geometry=Geometry.picture(*self._logits.shape[1:3]))

    def decode(self, embedding, _prompts):
        scores = np.linspace(0.9, 0.1, len(self._logits)).astype(np.float32)
        return Prediction(self._logits.astype(np.float32), scores, embedding.geometry)


def test_a_meaning_is_found_by_the_first_mask_or_by_another():
    view = replace(nested_view(), objects=((2,), (1, 2), (3,)), structures=(1, 2, 3))  # one click, in the core
    rows = []
    for answers in (((2,), (1, 2)), ((1, 2), (3,)), ((3,), (3,))):
        tally = meanings.defaultdict(meanings.Tally)
        meanings.asked(Told(view, *answers), view, tally, np.random.default_rng(0))
        assert list(tally) == [2]
        assert tally[2].families == ["nested"]
        rows.append(meanings.rows_of(tally[2]))
    columns = ("first mask is it", "a mask is it")
    both, whole, neither = (
        {name: tuple(row[column] for column in columns) for name, row in each.items()} for each in rows
    )
    assert both == {"the smallest": (1, 1), "the largest": (0, 1), "any of them": (1, 1), "all of them": (0, 1)}
    assert whole == {"the smallest": (0, 0), "the largest": (1, 1), "any of them": (1, 1), "all of them": (0, 0)}
    assert set(neither.values()) == {(0, 0)}
    nearest = rows[1]["the smallest"]["Dice of the nearest mask"]
    assert nearest == pytest.approx(2 * 20**2 / (20**2 + 40**2), abs=0.01)
    assert rows[1]["all of them"]["Dice of the nearest mask"] == nearest
    assert rows[0]["all of them"]["Dice of the nearest mask"] == 1


def test_what_lies_between_has_a_row_of_its_own():
    tally = meanings.Tally([np.array([0.9, 0.1, 0.2])], [np.array([0.9, 0.8, 0.2])], ["a"])
    rows = meanings.rows_of(tally)
    assert list(rows) == ["the smallest", "the next, 2 of 3", "the largest", "any of them", "all of them"]
    assert rows["the next, 2 of 3"] == {"first mask is it": 0, "a mask is it": 1, "Dice of the nearest mask": 0.8}


def test_the_table_of_meanings_is_seeded_and_tells_scenes_apart(monkeypatch):
    monkeypatch.setattr(meanings, "SCENES", 3)
    subject = Subject(Drawing(heeds=False), [nested_view("carotid"), replace(nested_view("a"), image=None)])
    found = meanings.table(subject)
    assert found == meanings.table(subject)
    assert "| held-out families, 2 clicks with 2 meanings: the smallest | " in found
    assert "| synthetic scenes, " in found
    assert "training families" not in found  # that view has no picture
    monkeypatch.setattr(meanings, "SCENES", 0)
    assert meanings.table(Subject(None, [])) == "No click has several meanings here."


# --- the command


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command on two small views; return what it prints."""
    (tmp_path / "cases.jsonl").touch()
    monkeypatch.setattr(program, "load_views", lambda *_: [nested_view("carotid"), nested_view("a")])

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["limits", "--data", str(tmp_path), "--cache", "none.npz", *arguments])
        program.main()
        return capsys.readouterr().out

    return run


def test_a_wall_and_what_it_encloses_are_rivals_by_their_box():
    rows, columns = np.mgrid[0:160, 0:160]
    away = np.hypot(rows - 60, columns - 60)
    parts = np.zeros((160, 160), np.uint16)
    parts[away <= 40] = 1  # the wall
    parts[away <= 37] = 2  # its cavity
    parts[np.hypot(rows - 130, columns - 130) <= 20] = 3  # has the place to itself
    view = replace(nested_view(), parts=parts, objects=((1,), (2,), (3,)), structures=(1, 2, 3))

    class Cavity(TinyNetwork):
        """Answers every box with its inscribed ellipse."""

        def forward(self, image, maps):
            masks = super().forward(image, maps)
            inside = torch.nn.functional.interpolate(maps[:, ELLIPSE : ELLIPSE + 1], scale_factor=2.0)
            return masks._replace(logits=(20 * inside).expand(-1, 3, -1, -1))

    (row,) = same_box.table(Subject(TorchGraph(Cavity()), [view])).splitlines()[2:]
    objects, share, alone, with_one, nearer, all_, all_nearer = (float(cell) for cell in row.split("|")[2:9])
    assert objects == 3
    assert share == pytest.approx(2 / 3, abs=0.001)  # wall and cavity, each the other's
    assert alone > 0.9
    assert with_one < 0.75  # the disc of the box is the cavity, not the wall
    assert nearer > 0.9
    assert all_nearer - all_ == pytest.approx(2 / 3 * (nearer - with_one), abs=0.002)


def test_boxes_overlap_by_what_they_share():
    assert same_box.overlap(Box((0, 0, 0), (4, 4, 1)), Box((2, 0, 0), (6, 4, 1))) == pytest.approx(8 / 24)
    assert same_box.overlap(Box((0, 0, 0), (4, 4, 1)), Box((4, 0, 0), (6, 4, 1))) == 0


def test_every_kind_of_prompt_is_asked():
    torch.manual_seed(0)
    lines = kinds.table(Subject(TorchGraph(TinyNetwork()), [nested_view("carotid")])).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(KINDS)
    assert all(0 <= float(line.split("|")[2]) <= 1 for line in lines[2:])


def test_experiments_are_asked_for_by_name(run):
    out = run("--only", "right mask", "--only", "ceiling")
    head, *rest = out.strip().split("\n\n")
    assert head == "3 objects of held-out families, 3 of training families; all are means over families."
    assert [part for part in rest if part.startswith("|")] == [rest[0], rest[2]]
    assert rest[0].startswith("| Dice of a tight box | ")
    assert rest[2].startswith("| Dice of the reference, ")


def test_without_a_name_all_are_made(run, monkeypatch):
    for name in EXPERIMENTS:
        monkeypatch.setitem(EXPERIMENTS, name, lambda _subject, name=name: f"table of {name}")
    assert [part.removeprefix("table of ") for part in run().strip().split("\n\n")[1:]] == list(EXPERIMENTS)


def test_an_unknown_experiment_is_refused(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--only", "celing")
    assert "invalid choice: 'celing'" in capsys.readouterr().err


def test_other_windows_and_strokes_around_are_asked_about(views):
    torch.manual_seed(0)
    subject = Subject(TorchGraph(TinyNetwork()), [replace(nested_view(), family="a")])
    searched, drawn = list(tables(subject, ["searches", "strokes"]))[1:]
    assert len(searched.splitlines()) == 2 + 3
    assert searched.splitlines()[0].endswith("| 1 | 2 | 3 | 5 |")
    strokes, *both = (float(cell) for cell in drawn.splitlines()[2].split("|")[2:5])
    assert strokes > 0
    assert both[0] != both[1]
