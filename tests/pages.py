"""The pages of the documentation, taken apart: their sections and fenced blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
STORIES = ("README.md", "tutorial.md", "istio.md")
"""Pages whose commands run one after the other, in one folder."""


@dataclass
class Block:
    """A fenced block: where it begins, its language and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The name of the file that the block says it is, in a comment on its first line."""
        named = re.match(r"(?:#|//|--) ([\w/.-]+\.\w+)\n", self.text)
        return named.group(1) if named else None

    @property
    def commands(self) -> str:
        """What to give to a shell."""
        if self.language == "console":
            return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))
        return self.text

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Section:
    """The part of a page from one second-level heading to the next; the whole of a page that is one story."""

    page: str
    heading: str
    text: str = ""
    blocks: list[Block] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}: {self.heading}"


def sections(page: Path) -> Iterator[Section]:
    """The sections of a page; what stands before the first heading is one too."""
    section = Section(page.name, "")
    block: Block | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        section.text += line
        if block is not None:
            if line.rstrip() == "```":
                section.blocks.append(block)
                block = None
            else:
                block.text += line
        elif line.startswith("```"):
            block = Block(page.name, number, line[3:].strip(), "")
        elif line.startswith("## ") and page.name not in STORIES:
            yield section
            section = Section(page.name, line[3:].strip(), line)
    assert block is None, f"{page.name}: a block is not closed"
    yield section


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [block for section in sections(page) for block in section.blocks]
