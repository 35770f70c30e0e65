"""Cases of TCP connections."""

from __future__ import annotations

from tests.e2e.differential.cases import (
    Case,
    Step,
    abort,
    answer_abort,
    answer_data,
    answer_end,
    connect,
    data,
    end,
    other,
    tick,
    wait,
)

TALK = [connect, data("one"), answer_data("two"), data("three"), answer_data("four")]
PLACES = ("new_connection", "downstream_data", "upstream_data")
ENDS: dict[str, list[Step]] = {
    "client ends": [end],
    "upstream ends": [answer_end],
    "both end": [end, answer_end],
    "both end, upstream first": [answer_end, end],
    "client leaves": [abort],
    "upstream leaves": [answer_abort],
}

EDITS = {
    "prepend": "buffer.prepend('<')",
    "append": "buffer.append('>')",
    "replace": "buffer.replace('new')",
    "clear": "buffer.replace('')",
    "first": "say(self, attempt(hostcalls._abi.host.set_buffer_bytes, number, 0, 2, 'XY!'))",
    "middle": "say(self, attempt(hostcalls._abi.host.set_buffer_bytes, number, 1, 2, 'XY!'))",
    "beyond": "say(self, attempt(hostcalls._abi.host.set_buffer_bytes, number, 100, 2, 'XY!'))",
    "read": "say(self, [buffer.read(), buffer.read(1), buffer.read(1, 2), buffer.read(100), len(buffer)])",
}


def both(code: str) -> str:
    """A script that does the same to the data of both directions."""
    return "".join(
        f"""
        def {side}_data(self, size, end):
            buffer, number = self.{side}_data, {number}
            {code}
        """
        for number, side in ((2, "downstream"), (3, "upstream"))
    )


WRITES = """
            for name in ("downstream_data", "upstream_data"):
                buffer = getattr(self, name)
                say(self, f"{name} {attempt(buffer.append, '+')} {attempt(buffer.read)} {attempt(len, buffer)}")
            say(self, attempt(hostcalls.get_http_request_headers))
            say(self, attempt(hostcalls.send_http_response, 200))
            say(self, attempt(hostcalls.set_property, ["mine"], "a"))
"""

CASES = [
    *(Case(f"tcp: {name}", "", [*TALK, *steps], "tcp") for name, steps in ENDS.items()),
    *(Case(f"tcp: at once {name}", "", [connect, *steps], "tcp") for name, steps in ENDS.items()),
    *(Case(f"tcp: {name}", both(edit), [*TALK, end, answer_end], "tcp") for name, edit in EDITS.items()),
    *(
        Case(
            f"tcp: {name}, gathered",
            both(f"if len(buffer) < 6: return Action.PAUSE\n            {edit}"),
            [*TALK, end],
            "tcp",
        )
        for name, edit in EDITS.items()
    ),
    *(
        Case(f"tcp: writing in {place}", f"def {place}(self, *_):\n{WRITES}", [*TALK, end, answer_end], "tcp")
        for place in (*PLACES, "downstream_close", "upstream_close", "stream_done")
    ),
    *(
        Case(f"tcp: paused in {place}, {name}", f"def {place}(self, *_): return Action.PAUSE", [*TALK, *steps], "tcp")
        for place in PLACES
        for name, steps in ENDS.items()
    ),
    *(
        Case(
            f"tcp: paused in {place} until {resume.what}, {side}",
            f"""
            def {place}(self, *arguments):
                later(self, lambda self: [look(self), say(self, attempt(self.resume_{side})), look(self)])
                return Action.PAUSE
            """,
            [
                connect,
                data("one"),
                resume,
                data("two"),
                answer_data("three"),
                resume,
                answer_data("four"),
                end,
                answer_end,
            ],
            "tcp",
        )
        for place in PLACES
        for resume in (tick, other)
        for side in ("downstream", "upstream")
    ),
    *(
        Case(
            f"tcp: {action} in {place} of {plugin}",
            f"def {place}(self, *_):\n    {code}",
            [*TALK, end, answer_end],
            plugin,
        )
        for action, code in {
            "close downstream": "say(self, attempt(self.close_downstream))",
            "close upstream": "say(self, attempt(self.close_upstream))",
            "close both": "say(self, attempt(self.close_upstream)); self.close_downstream()",
            "raise": "raise LookupError",
            "close and pause": "self.close_downstream(); return Action.PAUSE",
        }.items()
        for place in (*PLACES, "downstream_close", "upstream_close", "stream_done")
        for plugin in ("tcp", "tcp-continue")
    ),
    Case(
        "tcp: waits for a call",
        """
        def downstream_data(self, size, end):
            if size == 3:
                self.dispatch_http_call("service", CALL, lambda *counts: [say(self, counts), self.resume_downstream()])
                return Action.PAUSE
        """,
        [*TALK, end, answer_end],
        "tcp",
    ),
    Case(
        "tcp: a call fails",
        """
        def downstream_data(self, size, end):
            if size == 3:
                self.dispatch_http_call("silent", CALL, lambda *counts: 1 / 0, timeout_milliseconds=50)
                return Action.PAUSE
        """,
        [connect, data("one"), wait(0.1)],
        "tcp",
    ),
    Case(
        "tcp: closed by another",
        "def downstream_data(self, *_):\n    later(self, lambda self: say(self, attempt(self.close_downstream)))",
        [*TALK, other],
        "tcp",
    ),
    *(Case(f"both: {name}", both(edit), [*TALK, end, answer_end], "both") for name, edit in EDITS.items()),
]
