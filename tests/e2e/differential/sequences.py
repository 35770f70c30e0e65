"""Cases that are made: every sequence of actions wherever a filter can act, and streams that a generator makes up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

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
    answer_data,
    answer_end,
    answer_trailers,
    data,
    end,
    other,
    tick,
    trailers,
)
from tests.e2e.test_proxy_survives import ACTIONS, SEQUENCES

_WAIT: Final = "    call(self)\n    return Action.PAUSE\ndef reply(self):\n    {}"
PLACES: Final = {
    "request headers": "def request_headers(self, *_):\n    {}",
    "request body": "def request_body(self, size, end):\n    if not end: return Action.PAUSE\n    {}",
    "response headers": "def response_headers(self, *_):\n    {}",
    "response body": "def response_body(self, size, end):\n    if not end: return Action.PAUSE\n    {}",
    "request's reply": f"def request_headers(self, *_):\n{_WAIT}",
    "response's reply": f"def response_headers(self, *_):\n{_WAIT}",
}
PLUGINS: Final = ("http", "http-continue")


def sequences(place: str, plugin: str) -> Iterator[Case]:
    """One or two actions in a place."""
    for sequence in SEQUENCES:
        if place == "response's reply" and sequence[0].startswith("close") and sequence[-1] == "resume the response":
            continue  # Envoy 1.40 sends the headers of the response that it has reset
        actions = "\n    ".join(ACTIONS[action] for action in sequence)
        code = f"PROPERTIES = False\n{PLACES[place].format(actions)}"
        yield Case(f"{place} of {plugin}: {', '.join(sequence)}", code, [*BODY, *ANSWER], plugin)


_CALLBACKS: Final = (
    *("request_headers", "request_body", "request_trailers"),
    *("response_headers", "response_body", "response_trailers"),
)
_HEADERS: Final = [
    "attempt(self.request.headers.add, 'x-r', '1')",
    "attempt(self.request.headers.remove, 'x-r')",
    "attempt(self.response.headers.__setitem__, 'x-s', '2')",
]
_MESSAGES: Final = {
    "request": ["attempt(self.request.buffer.append, '+')", "attempt(self.request.trailers.add, 'x-t', '3')"],
    "response": [
        "attempt(self.response.buffer.prepend, '-')",
        "attempt(self.response.buffer.replace, 'new')",
        "attempt(self.response.trailers.add, 'x-u', '4')",
    ],
}
"""Done in the message's own callbacks only: elsewhere Envoy 1.40 may write to memory that it has freed."""

_ANSWERING: Final = [
    "attempt(self.send_http_response, 403, [('x-mine', '1')], 'no')",
    "later(self, lambda self: say(self, attempt(self.send_http_response, 404, [], 'late')))",
    "later(self, lambda self: say(self, attempt(self.close_http_request)))",
]
_RESUMING: Final = [
    "attempt(self.resume_http_request)",
    "attempt(self.resume_http_response)",
    "later(self, self.script['resume'])",
]
"""Never together with the above: Envoy 1.40 goes on with a stream that is answered, or closed, and resumed."""

_RESUME: Final = """
def resume(self):
    if not hasattr(self, 'resumed'):
        self.resumed = [say(self, attempt(resume)) for resume in (self.resume_http_request, self.resume_http_response)]
"""
"""Once: what is resumed twice has some of its callbacks twice in Envoy 1.40."""


def made_up(seed: int) -> Case:
    """A stream with actions and traffic by chance."""
    chance = random.Random(seed)
    steps = list(_traffic(chance))
    has_trailers = any("trailers" in step.what for step in steps)
    acting = chance.choice([_ANSWERING, _RESUMING])
    code = ["PROPERTIES = False"]
    for place in chance.sample(_CALLBACKS, chance.randint(1, 4)):
        choice = [*_HEADERS, *_MESSAGES[place.partition("_")[0]], *acting, *acting]
        lines = [f"say(self, {action})" for action in chance.sample(choice, chance.randint(1, 3))]
        if chance.random() < 0.2:
            lines.append("self.call = hasattr(self, 'call') or call(self)")
        if place.endswith("body") and not has_trailers and chance.random() < 0.5:
            lines.insert(0, "if not arguments[1]: return Action.PAUSE")
        lines.append(chance.choice(["return Action.PAUSE", "return None", "return None", "raise LookupError"]))
        if place.endswith("body") and (has_trailers or any("trailers" in line for line in lines)):
            lines.remove("return Action.PAUSE") if lines[-1] == "return Action.PAUSE" else None
        code.append("\n    ".join([f"def {place}(self, *arguments):", *lines]))
    code.append(_RESUME)
    code.append(f"def reply(self):\n    say(self, {chance.choice([*_HEADERS, *acting])})")
    return Case(f"seed {seed}", "\n".join(code), steps, chance.choice(PLUGINS))


def _traffic(chance: random.Random) -> Iterator[Step]:
    """A request and its response, with ticks and other streams in between; now and then somebody leaves."""
    request = chance.choice([[GET], [*BODY], [POST, data("one"), trailers([("x-a", "1")])], [POST, end]])
    response = chance.choice([[EMPTY], [*ANSWER], [answer(), answer_data("five"), answer_trailers([("x-c", "3")])]])
    response = chance.choice([response, [answer(), answer_end]])
    steps = [*request, *response]
    for _ in range(chance.randint(0, 3)):
        steps.insert(chance.randint(1, len(steps)), chance.choice([tick, other]))
    if chance.random() < 0.1:
        steps = [*steps[: chance.randint(1, len(steps))], abort]
    return iter(steps)
