"""What a stranger's file says may be shown on a terminal."""

import pytest

from samaritan.models.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("image_encoder.blocks.0.attn.qkv.weight", "image_encoder.blocks.0.attn.qkv.weight"),
        ("größe [4, 3]", "größe [4, 3]"),
        ("\x1b]0;title\x07\r\n", r"\x1b]0;title\x07\r\n"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202e\ud800", r"\u202e\ud800"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 119 + "…"),
        ("\x1b" * 120, r"\x1b" * 29 + r"\x1" + "…"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped_and_what_is_long_is_cut(text, shown):
    assert printable(text) == shown
