"""When to build again: as soon as a build would read something else than the last one did.

That is asked of the file system, a few times in a second, in the way in which a build looks for modules. So a new file
that hides another one counts, a change in an installed package does, and what is written beside the sources does not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from .runtime_image import RuntimeImage
from .sources import FileState, Sources, file_state

_INTERVAL: Final = 0.2  # seconds


class Watch:
    """The files of the filters at `paths`, and the image with which they are built."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._named: list[FileState] = []
        self._sources: Sources | None = None
        self._image: RuntimeImage | None = None

    def begin(self) -> None:
        """A build begins."""
        self._named, self._sources = list(self._states()), None

    def image(self, abi: str) -> RuntimeImage | None:
        """The image of the last build, if it is one for this version of the ABI."""
        return self._image if self._image and self._image.abi == abi else None

    def take(self, sources: Sources, image: RuntimeImage | None = None) -> None:
        """The build looks for its modules in these, and imports them in this."""
        self._sources, self._image = sources, image

    def changed(self) -> bool:
        """Whether a build would read something else than the last one."""
        return list(self._states()) != self._named or (self._sources is not None and self._sources.changed())

    def wait(self) -> None:
        """Return when that is so."""
        while not self.changed():
            time.sleep(_INTERVAL)

    def _states(self) -> Iterator[FileState]:
        """Of what the paths may stand for, and of the projects' settings."""
        for path in self._paths:
            yield from (file_state(path / name) for name in ("", "filter.py", "__init__.py"))
            folder = path.absolute()
            yield from (file_state(parent / "pyproject.toml") for parent in (folder, *folder.parents))
