"""What docs/containers.md, or another page, tells a user to write: its code, with a test's addresses."""

from collections.abc import Mapping
from pathlib import Path

from toolbox.running_server import SOURCE

PAGE = SOURCE / "docs" / "containers.md"


def blocks(heading: str, page: Path = PAGE) -> list[str]:
    """Return the code blocks right below a heading ("### compose"), in order."""
    found: list[str] = []
    at, inside = "", False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            inside = not inside
            if inside and at == heading:
                found.append("")
        elif not inside and line.startswith("#"):
            at = line
        elif inside and at == heading:
            found[-1] += line + "\n"
    assert found, f"{page.name} has no code below {heading}"
    return found


def block(heading: str, *words: str, page: Path = PAGE) -> str:
    """Return the one code block below a heading that has all these words."""
    found = [text for text in blocks(heading, page) if all(word in text for word in words)]
    assert len(found) == 1, f"{len(found)} blocks below {heading} have {words}"
    return found[0]


def put(text: str, values: Mapping[str, str]) -> str:
    """Return a block with what stands in the page replaced; each of `values` has to be in it."""
    for shown, meant in values.items():
        assert shown in text, f"{shown} is not in\n{text}"
        text = text.replace(shown, meant)
    return text


def path_of(text: str) -> Path:
    """Return the path that the first line of a block says: `# /etc/...`."""
    first = text.splitlines()[0]
    assert first.startswith("# /"), f"no path in {first}"
    return Path(first.removeprefix("# "))
