"""Cases of HTTP streams: headers, bodies, trailers, pausing, answers and ends."""

from __future__ import annotations

from tests.e2e.differential.cases import (
    ANSWER,
    BODY,
    EMPTY,
    GET,
    POST,
    Case,
    Step,
    abort,
    answer,
    answer_abort,
    answer_data,
    answer_end,
    answer_trailers,
    data,
    end,
    headers,
    other,
    tick,
    trailers,
)

TRAILERS = [POST, data("one "), data("two"), trailers([("x-a", "1"), ("x-b", "2")])]
ANSWER_TRAILERS = [answer(), answer_data("three "), answer_data("four"), answer_trailers([("x-c", "3")])]
KNOWN = [headers("POST", more=[("content-length", "7")]), data("one two"), end]
ANSWER_KNOWN = [answer(more=[("content-length", "5")]), answer_data("three"), answer_end]

KINDS = {"no body": [GET, EMPTY], "bodies": [*BODY, *ANSWER], "trailers": [*TRAILERS, *ANSWER_TRAILERS]}

MANY = [
    ("x-a", "1"),
    ("X-B", "2"),
    ("x-a", "3"),
    ("accept", "text/plain"),
    ("accept", "text/html"),
    ("cookie", "a=1"),
    ("cookie", "b=2"),
    ("x-empty", ""),
    ("x-bytes", "n\u00f6\udcff"),
    ("keep-alive", "1"),
    ("te", "trailers"),
    ("referer", "http://r/"),
    ("user-agent", "test"),
    ("x-request-id", "mine"),
    ("x-forwarded-proto", "https"),
]
ANSWERED = [
    ("content-length", "0"),
    ("x-a", "1"),
    ("vary", "a"),
    ("Vary", "b"),
    ("set-cookie", "a"),
    ("set-cookie", "b"),
    ("server", "mine"),
    ("date", "Mon, 02 Jan 2006 15:04:05 GMT"),
    ("keep-alive", "2"),
]

EDITS = {
    "add": "map.add('x-new', '1'); map.add('x-a', '9'); map.add('content-type', 'a'); map.add('content-type', 'b')",
    "set": "map['x-a'] = '9'; map['x-none'] = '8'; map['X-Upper'] = '7'; map['vary'] = '6'; map['accept'] = '5'",
    "remove": "map.remove('x-a'); map.remove('x-none'); map.remove('VARY'); map.remove('cookie')",
    "pseudo": "map.add('x-z', '1'); map.add(':new', '2'); map.add(':x', '3'); map['x-y'] = '4'; map.remove(':new')",
    "replace all": "map.replace_all([('x-1', '1'), *map.items(), ('x-1', '2'), ('accept', 'x')])",
    "reverse": "map.replace_all(list(reversed(map.items())))",
    "clear": "map.replace_all([pair for pair in map.items() if pair[0][0] == ':' or pair[0] == 'content-length'])",
    "read": "say(self, [map.get('x-a'), map.get_all('X-A'), 'x-b' in map, map.get('none'), len(map), map.get('host')])",
}


def editing(edit: str) -> str:
    """A script that does the same to the headers of both directions."""
    return "".join(
        f"""
        def {name}_headers(self, *_):
            map = self.{name}.headers
            own = len(map.get("x-script") or "")
            {edit}
            say(self, headers(map.items()))
            own += len(map.get("x-envoy-upstream-service-time") or "")
            say(self, f"size {{hostcalls._abi.host.get_header_map_size({number}) - own}}")
        """
        for name, number in (("request", 0), ("response", 2))
        if not (name == "request" and edit == EDITS["clear"])
    )


HEADERS = [
    Case("plain", "", [GET, EMPTY]),
    *(
        Case(f"headers: {name}", editing(edit), [headers(more=MANY, end=True), answer(200, ANSWERED, end=True)])
        for name, edit in EDITS.items()
    ),
    Case(
        "headers that route",
        """
        def request_headers(self, *_):
            self.request.headers[":path"] = "/new?a=b"
            self.request.headers["host"] = "new.local"
            self.request.headers[":method"] = "PUT"
            self.request.headers["x-now"] = f"{properties.request.path} {properties.request.host}"
        def response_headers(self, *_):
            self.response.headers[":status"] = "201"
            say(self, properties.response.code)
        """,
        [GET, EMPTY],
    ),
    Case("host is the authority", "def request_headers(self, *_): self.request.headers.add('host', 'b')", [GET, EMPTY]),
    Case("HEAD", "", [headers("HEAD", end=True), answer(200, [("content-length", "7")], end=True)]),
    Case(
        "headers about a connection",
        "",
        [
            headers(
                more=[("connection", "keep-alive, x-a"), ("keep-alive", "1"), ("proxy-connection", "a"), ("x-a", "1")],
                end=True,
            ),
            answer(
                200, [("content-length", "0"), ("keep-alive", "1"), ("proxy-connection", "a"), ("x-a", "1")], end=True
            ),
        ],
    ),
    Case("no content", "", [GET, answer(204, end=True)]),
    Case("not modified", "", [GET, answer(304, [("etag", "a")], end=True)]),
    Case("server error", "", [GET, answer(503, [("content-length", "0")], end=True)]),
    Case(
        "grpc status of the upstream", "", [GET, answer(200, [("content-length", "0"), ("grpc-status", "7")], end=True)]
    ),
]

BODIES = [
    Case("bodies", "", [*BODY, *ANSWER]),
    Case("known lengths", "", [*KNOWN, *ANSWER_KNOWN]),
    Case("empty chunked bodies", "", [POST, end, answer(), answer_end]),
    Case("trailers", "", [*TRAILERS, *ANSWER_TRAILERS]),
    Case("trailers without a body", "", [POST, trailers([("x-a", "1")]), answer(), answer_trailers([("x-c", "3")])]),
    Case("early answer", "", [POST, data("one "), *ANSWER]),
    Case("early headers", "", [POST, answer(), data("one "), answer_data("three"), end, answer_end]),
    Case("early answer to headers", "", [POST, *ANSWER_KNOWN]),
]

EVERYWHERE = {
    "request_headers": "request",
    "request_body": "request",
    "request_trailers": "request",
    "response_headers": "response",
    "response_body": "response",
    "response_trailers": "response",
    "stream_done": "response",
}

WRITES = """
    for message in (self.request, self.response):
        for map in (message.headers, message.trailers):
            say(self, f"add {attempt(map.add, 'x-w', '1')} get {attempt(map.get, 'x-w')}")
            say(self, f"set {attempt(map.__setitem__, 'x-v', '1')} remove {attempt(map.remove, 'x-v')}")
            say(self, headers(attempt(map.items)))
        buffer = message.buffer
        for edit in (buffer.prepend, buffer.append):
            say(self, f"edit {attempt(edit, 'w')} {attempt(buffer.read)} {attempt(len, buffer)}")
    say(self, f"property {attempt(hostcalls.set_property, ['mine'], 'a')} {hostcalls.get_property(['mine'])}")
    for get in (
        hostcalls.get_plugin_configuration,
        hostcalls.get_vm_configuration,
        hostcalls.get_http_call_response_headers,
        hostcalls.get_http_call_response_body,
        hostcalls.get_downstream_data,
    ):
        say(self, attempt(get))
    say(self, attempt(hostcalls.append_upstream_data, 'x'))
"""

WRITING = [
    Case(f"writing in {place}: {name}", f"def {place}(self, *_):\n{WRITES}", steps)
    for place in EVERYWHERE
    for name, steps in KINDS.items()
]
"""Maps and buffers are written to wherever there is a callback."""

BODY_EDITS = {
    "prepend": "buffer.prepend('<')",
    "append": "buffer.append('>')",
    "replace": "buffer.replace('new')",
    "clear": "buffer.replace('')",
    "first": "say(self, attempt(hostcalls._abi.host.set_buffer_bytes, number, 0, 2, 'XY!'))",
    "middle": "say(self, attempt(hostcalls._abi.host.set_buffer_bytes, number, 1, 2, 'XY!'))",
    "beyond": "say(self, attempt(hostcalls._abi.host.set_buffer_bytes, number, 100, 2, 'XY!'))",
    "read": "say(self, [buffer.read(), *map(buffer.read, (1, 100), (2, 2)), buffer.read(0, 0), len(buffer)])",
    "all": "buffer.prepend('('); buffer.append(')'); say(self, buffer.read()); buffer.replace(buffer.read() * 2)",
}


def body_editing(edit: str, pause: str) -> str:
    """A script that does the same to the bodies of both directions."""
    return "".join(
        f"""
        def {name}_body(self, size, end):
            buffer, number = self.{name}.buffer, {number}
            {edit}
            {pause}
        """
        for number, name in enumerate(("request", "response"))
    )


EDITING = [
    Case(f"bodies: {name}, {how}", body_editing(edit, pause), steps)
    for name, edit in BODY_EDITS.items()
    for how, pause in {"passing": "", "gathered": "return None if end else Action.PAUSE"}.items()
    for steps in [[*BODY, *ANSWER]]
]

MADE_TRAILERS = [
    Case(
        f"trailers made in the {name} with {how}",
        f"""
        def {name}_body(self, size, end):
            say(self, f"{{attempt({touch})}}")
            say(self, f"{{attempt(self.{name}.trailers.items)}}")
        """,
        [*BODY, *ANSWER],
    )
    for name, number in (("request", 1), ("response", 3))
    for how, touch in {
        "add": f"self.{name}.trailers.add, 'x-made', '1'",
        "set": f"self.{name}.trailers.__setitem__, 'x-made', '1'",
        "remove": f"self.{name}.trailers.remove, 'x-made'",
        "replace_all": f"self.{name}.trailers.replace_all, [('x-made', '1')]",
        "size": f"hostcalls._abi.host.get_header_map_size, {number}",
    }.items()
] + [
    Case(
        "trailers changed",
        """
        def request_trailers(self, *_):
            self.request.trailers.add("x-a", "9"); self.request.trailers.remove("x-b")
            self.request.trailers.add("host", "h"); self.request.trailers.add(":p", "p")
        def response_trailers(self, *_):
            self.response.trailers.replace_all([("x-d", "4"), ("grpc-status", "1"), ("grpc-status", "2")])
        """,
        [*TRAILERS, *ANSWER_TRAILERS],
    ),
    Case(
        "trailers removed", "def request_trailers(self, *_): self.request.trailers.replace_all([])", [*TRAILERS, EMPTY]
    ),
]

RESUMES = {"tick": tick, "other": other}


def paused(place: str, direction: str, when: str) -> str:
    """A script that pauses in one place, and resumes later."""
    return f"""
        def {place}(self, *arguments):
            {when}
            later(self, lambda self: attempt_resume(self))
            return Action.PAUSE

        def attempt_resume(self):
            look(self)
            say(self, f"resume {{attempt(self.resume_http_{direction})}}")
            with hostcalls.effective_context(self.context_id):
                look(self)
    """


def with_resume(steps: list[Step], position: int, resume: Step) -> list[Step]:
    """Steps with another one before some of them."""
    return [*steps[:position], resume, *steps[position:]]


PAUSING = (
    [
        Case(
            f"paused in {place} until {name}, before step {position} {when}",
            paused(place, direction, when),
            with_resume(steps, position, resume),
        )
        for place, direction, when, positions in (
            ("request_headers", "request", "", (1, 2, 3, 4)),
            ("request_body", "request", "if arguments[0] != 4: return None", (2, 3, 4)),
            ("request_body", "request", "if not arguments[1]: return None", (4,)),
            ("request_trailers", "request", "", (4,)),
            ("response_headers", "response", "", (5, 6, 7, 8)),
            ("response_body", "response", "if arguments[0] != 6: return None", (6, 7, 8)),
            ("response_body", "response", "if not arguments[1]: return None", (8,)),
            ("response_trailers", "response", "", (8,)),
        )
        for position in positions
        for name, resume in RESUMES.items()
        for steps in ([*TRAILERS, *ANSWER_TRAILERS] if "trailers" in place else [*BODY, *ANSWER],)
    ]
    + [
        Case(
            f"gathered {direction}, resumed, {edit}, {len(after)} steps",
            f"""
        def {direction}_body(self, size, end):
            if size == {size}:
                later(self, lambda self: self.resume_http_{direction}())
                return Action.PAUSE
            self.{direction}.buffer.{edit}('+')
            say(self, self.{direction}.buffer.read())
        """,
            [*before, other, *after],
        )
        for edit in ("append", "replace")
        for direction, size, before, after in (
            ("request", 4, BODY[:2], [*BODY[2:], *ANSWER]),
            ("request", 4, BODY[:2], [end, *ANSWER]),
            ("response", 6, [*BODY, *ANSWER[:2]], ANSWER[2:]),
            ("response", 6, [*BODY, *ANSWER[:2]], [answer_end]),
        )
    ]
    + [
        Case(f"paused for ever in {place}, {kind}", f"def {place}(self, *_): return Action.PAUSE", steps)
        for place in EVERYWHERE
        for kind, steps in KINDS.items()
        if place != "stream_done"
    ]
)

ANSWERS = {
    "body": "self.send_http_response(403, [('x-mine', '1'), ('x-mine', '2')], b'no', details='my own details')",
    "no body": "self.send_http_response(403)",
    "content-type": "self.send_http_response(200, [('content-type', 'a/b'), ('content-length', '9')], b'{}')",
    "grpc status": "self.send_http_response(200, [], b'no', grpc_status=7)",
    "many": "self.send_http_response(302, [('location', '/'), *[('vary', 'a')] * 2, ('server', 's'), ('date', 'd')])",
}
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]

ANSWERING = (
    [
        Case(f"answer with {name} in {place}: {kind}", f"def {place}(self, *_):\n    return {reply}", steps)
        for name, reply in ANSWERS.items()
        for place in ("request_headers", "response_headers")
        for kind, steps in {
            "GET": [GET, EMPTY],
            "POST": [*BODY, *ANSWER],
            "HEAD": [headers("HEAD", end=True), answer(200, [("content-length", "7")], end=True)],
            "gRPC": [
                headers("POST", more=GRPC),
                data("one"),
                end,
                answer(200, [("content-type", "application/grpc")]),
                answer_end,
            ],
        }.items()
    ]
    + [
        Case(
            f"answer in {place}, {when}, {kind}",
            f"def {place}(self, *arguments):\n    {when}\n    self.send_http_response(403, body='no')",
            KINDS[kind],
        )
        for place, when in (
            ("request_body", ""),
            ("request_body", "if not arguments[1]: return Action.PAUSE"),
            ("request_trailers", ""),
            ("response_body", ""),
            ("response_body", "if not arguments[1]: return Action.PAUSE"),
            ("response_trailers", ""),
        )
        for kind in ("bodies", "trailers")
    ]
    + [
        Case(
            f"{what} while paused in {place}",
            f"""
        def {place}(self, *_):
            later(self, lambda self: say(self, attempt(self.{how})))
            return Action.PAUSE
        """,
            [*TRAILERS, *ANSWER_TRAILERS, other],
        )
        for what, how in {
            "answer": "send_http_response, 403, (), 'no'",
            "close": "close_http_request",
            "close response": "close_http_response",
            "resume request": "resume_http_request",
            "resume response": "resume_http_response",
        }.items()
        for place in EVERYWHERE
    ]
    + [
        Case(
            "answer changed by its own callbacks",
            """
        def request_headers(self, *_):
            return self.send_http_response(403, body="no")
        def response_headers(self, *_):
            self.response.headers["x-seen"] = "1"
            self.response.headers.remove("content-length")
        def response_body(self, size, end):
            self.response.buffer.append("!")
            if end:
                self.response.trailers["x-end"] = "1"
        """,
            [GET],
        ),
        Case(
            "answer paused by its own callback",
            """
        def request_headers(self, *_):
            return self.send_http_response(403, body="no")
        def response_headers(self, *_):
            later(self, lambda self: self.resume_http_response())
            return Action.PAUSE
        """,
            [GET, tick],
        ),
        Case(
            "answer to an answer",
            """
        def request_headers(self, *_):
            return self.send_http_response(403, body="no")
        def response_headers(self, *_):
            say(self, attempt(self.send_http_response, 404, (), "never"))
        """,
            [GET],
        ),
    ]
)

ENDS = (
    [
        Case(
            f"closed in {place} by {method}",
            f"def {place}(self, *_):\n    say(self, attempt(self.{method}))\n    {then}",
            KINDS["trailers"],
        )
        # In its last callback, Envoy 1.40 breaks down unless the filter pauses.
        for place, then in {**dict.fromkeys(EVERYWHERE, ""), "response_trailers": "return Action.PAUSE"}.items()
        for method in ("close_http_request", "close_http_response")
    ]
    + [
        Case(f"client leaves before step {position}", "", [*[*TRAILERS, *ANSWER_TRAILERS][:position], abort])
        for position in range(1, 8)
    ]
    + [
        Case(f"upstream leaves after {sent} and {position} steps", "", [*BODY[:sent], *ANSWER[:position], answer_abort])
        for position in range(4)
        for sent in (1, 4)
    ]
    + [
        Case(
            "upstream leaves while the response is paused",
            "def response_headers(self, *_):\n    return Action.PAUSE",
            [*BODY, *ANSWER[:2], answer_abort],
        )
    ]
)

ERRORS = [
    Case(f"exception in {place} of {plugin}, {kind}", f"def {place}(self, *_):\n    raise LookupError", steps, plugin)
    for plugin in ("http", "http-continue")
    for place in EVERYWHERE
    for kind, steps in KINDS.items()
]

LARGE = "x" * 300_000
LIMITS = [
    # Without a word of each body callback: how much comes at once is up to the sockets.
    Case(
        "too large a request",
        "def on_http_request_body(self, *_): return Action.PAUSE",
        [POST, *[data(LARGE)] * 5, end],
    ),
    Case(
        "too large a response",
        "def on_http_response_body(self, *_): return Action.PAUSE",
        [GET, answer(), *[answer_data(LARGE)] * 5, answer_end],
    ),
    Case(
        "a large request that is paused in its headers",
        """
        def request_headers(self, *_):
            later(self, lambda self: self.resume_http_request())
            return Action.PAUSE
        def on_http_request_body(self, *_): pass
        """,
        [POST, *[data(LARGE)] * 2, end, other, *ANSWER],
    ),
]

CASES = [
    *HEADERS,
    *BODIES,
    *WRITING,
    *EDITING,
    *MADE_TRAILERS,
    *PAUSING,
    *ANSWERING,
    *ENDS,
    *ERRORS,
    *LIMITS,
]
