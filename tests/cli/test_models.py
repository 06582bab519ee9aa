import json


def test_models_are_listed_and_the_default_marked(run):
    done = run("models")
    assert done.code == 0
    assert "tiny" in done.out
    assert {card["name"] for card in json.loads(run("models", "--json").out)} >= {"tiny", "fake"}


def test_a_card_names_licence_data_and_prompts(run):
    done = run("models", "tiny")
    assert done.code == 0
    for name in ("licence", "training_data", "prompts", "sha256", "commercial_use"):
        assert name in done.out
    assert json.loads(run("models", "tiny", "--json").out)["licence"] == "Apache-2.0"


def test_an_unknown_model_is_a_usage_error_that_suggests_one(run):
    done = run("models", "tinny")
    assert done.code == 2
    assert "Did you mean 'tiny'?" in done.err
