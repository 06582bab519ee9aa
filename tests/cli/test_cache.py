import json


def test_what_is_kept_is_shown_and_cleared(run, ct):
    run("segment", ct[0], "--box", "6,5,2:29,24,16")
    held = json.loads(run("cache", "info", "--json").out)
    assert held["entries"] > 0
    assert held["bytes"] > 0
    assert f"{held['entries']} embeddings" in run("cache", "info").out
    assert json.loads(run("cache", "clear", "--json").out)["entries"] == held["entries"]
    assert json.loads(run("cache", "info", "--json").out)["entries"] == 0


def test_another_action_is_a_usage_error(run):
    done = run("cache", "polish")
    assert done.code == 2
    assert "info or clear" in done.err
