"""Answers that cannot be given, and services that are there from the start, in both bodies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pywasmfilter.testing import Host, NewHost, Response
from tests.testing.conftest import NewScripted

NO_ANSWERS = (
    r'body="\ud800"',
    "body={1: 2}",
    "body=None",
    "details=None",
    "details=b'a\\x00b' * 0 + 1",
    "status=403.0",
    "grpc_status='7'",
    "headers=[('a', 'b\\n')]",
)


@pytest.mark.parametrize("answer", NO_ANSWERS)
@pytest.mark.parametrize(
    ("callback", "wait"), [("def", "pass"), ("async def", "pass"), ("async def", "await self.http_call('auth')")]
)
def test_an_answer_that_cannot_be_given(scripted: NewScripted, answer: str, callback: str, wait: str) -> None:
    """The exception denies the request, as every other; nothing waits for ever."""
    host = scripted(f"""
        {callback} on_http_request_headers(self, num_headers, end_of_stream):
            {wait}
            return self.send_http_response(**{{"status": 403, **dict({answer})}})
    """)
    host.clusters["auth"] = Response()
    stream = host.request()
    assert stream.status == 500
    assert stream.sent is None


def test_closing_may_fail(scripted: NewScripted) -> None:
    """If the proxy does not close the stream, the exception denies it."""
    host = scripted("""
        def on_http_request_headers(self, num_headers, end_of_stream):
            self.close_http_request()
    """)
    host.fail("close_stream")
    assert host.request().status == 500


def test_services_are_there_when_the_plugin_starts(new_host: NewHost, tmp_path: Path) -> None:
    """A plugin that calls one in `on_plugin_start` finds it."""
    (tmp_path / "filter.py").write_text(
        """
from pywasmfilter import HttpContext, PluginContext, log, plugin

@plugin("p")
class Plugin(PluginContext):
    http_context = HttpContext

    async def on_plugin_start(self, plugin_configuration_size):
        log.info((await self.http_call("settings", path="/flags")).text)
""",
        encoding="utf-8",
    )
    host: Host = new_host(tmp_path, clusters={"settings": Response(200, body="on")})
    assert host.messages == ["on"]
