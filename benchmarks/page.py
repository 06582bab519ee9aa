"""Keep the tables of a Markdown page up to date: the parts between `<!-- NAME -->` and `<!-- end of NAME -->`."""

from __future__ import annotations

from pathlib import Path


def replace_part(page: Path, name: str, text: str) -> None:
    """Put `text` in the place of the part `name` of `page`; ValueError if the page has no such part."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    content = page.read_text(encoding="utf-8")
    head, found, rest = content.partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        message = f"{page} has no part between '{start.strip()}' and '{end}'"
        raise ValueError(message)
    page.write_text(f"{head}{start}\n{text.strip()}\n\n{end}{tail}", encoding="utf-8")
