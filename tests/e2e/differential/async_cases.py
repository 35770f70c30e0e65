"""Cases of callbacks that are coroutines: what they wait for, where, and what they do then."""

from __future__ import annotations

import random
from collections.abc import Iterator

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
    connect,
    data,
    end,
    headers,
    other,
    tick,
    trailers,
    wait,
)
from tests.e2e.test_proxy_survives import ACTIONS

TRAILERS = [POST, data("one "), data("two"), trailers([("x-a", "1")])]
ANSWER_TRAILERS = [answer(), answer_data("three "), answer_data("four"), answer_trailers([("x-c", "3")])]
KNOWN = [headers("POST", more=[("content-length", "7")]), data("one "), data("two"), end]
ANSWER_KNOWN = [answer(more=[("content-length", "10")]), answer_data("three "), answer_data("four"), answer_end]
LATER = wait(0.03)
"""Calls are answered by then."""

TICKS = [tick, tick, tick]
"""As often as a case waits."""

KINDS = {
    "no body": ([GET], [EMPTY]),
    "bodies": (BODY, ANSWER),
    "known": (KNOWN, ANSWER_KNOWN),
    "trailers": (TRAILERS, ANSWER_TRAILERS),
    "late trailers": (
        [POST, data("one "), tick, TRAILERS[-1]],
        [answer(), answer_data("three "), tick, ANSWER_TRAILERS[-1]],
    ),
}
"""Request and response, of which all arrives while a coroutine waits for a tick."""

SLOW = {
    "no body, slowly": ([GET], [EMPTY]),
    "bodies, slowly": (BODY, ANSWER),
    "trailers, slowly": (TRAILERS, ANSWER_TRAILERS),
}
"""The same with time between the parts: for calls, which the emulated host answers at once."""

WAITS = {"nothing": "pass", "a tick": "await put_off(self)"}
CALLS = {
    "a call": "await self.http_call('service')",
    "a while": "await sleep(0.005)",
    "both": "await gather(sleep(0.005), self.http_call('service'))",
}
PARTS = ("headers", "body", "trailers")
DIRECTIONS = ("request", "response")
PLACES = [f"{direction}_{part}" for direction in DIRECTIONS for part in PARTS]
QUIET = "PROPERTIES = False\n"


def steps(kind: str) -> list[Step]:
    """A request of a kind, and its response."""
    if kind in SLOW:
        return [step for part in SLOW[kind] for arriving in part for step in (arriving, LATER)]
    return [step for part in KINDS[kind] for step in (*part, *TICKS)]


def combined() -> Iterator[tuple[str, str, str, str]]:
    """Kinds of traffic with what can be waited for in them, for plugins that let headers go and that hold them."""
    for plugin in ("http", "http held"):
        for kinds, waits in ((KINDS, WAITS), (SLOW, CALLS)):
            for kind in kinds:
                for name, code in waits.items():
                    yield plugin, kind, name, code


def waiting() -> Iterator[Case]:
    """Every callback waits, alone and with all others."""
    for plugin, kind, name, code in combined():
        for place in PLACES:
            script = f"async def {place}(self, *_):\n    {code}\n    say(self, 'on')"
            yield Case(f"{place} waits for {name}, {kind}, {plugin}", QUIET + script, steps(kind), plugin)
        script = "\n".join(f"async def {place}(self, *_):\n    {code}" for place in PLACES)
        yield Case(f"all wait for {name}, {kind}, {plugin}", QUIET + script, steps(kind), plugin)


CHANGES = {
    "reads": "pass",
    "replaces": "m.set_body(b'new and longer than before')",
    "empties": "m.set_body('')",
    "adds to": "m.append_body('>'); m.prepend_body('<')",
}


def bodies() -> Iterator[Case]:
    """Bodies are awaited, as a whole and part by part, before and after waits."""
    for plugin, kind, name, code in combined():
        for direction in DIRECTIONS:
            for what, change in CHANGES.items():
                for when, (before, after) in {"after": (code, "pass"), "before": ("pass", code)}.items():
                    script = f"""
async def {direction}_headers(self, *_):
    m = self.{direction}
    {before}
    say(self, await m.body())
    {after}
    if "no body" not in CASE: {change}
"""
                    title = f"{direction} {what} a body {when} {name}, {kind}, {plugin}"
                    yield Case(title, QUIET + script, steps(kind), plugin)
            for what, (before, within) in {"parts after": (code, "pass"), "parts, each with": ("pass", code)}.items():
                script = f"""
async def {direction}_headers(self, *_):
    {before}
    async for chunk in self.{direction}.chunks():
        chunk.replace(chunk.data.upper() + b";")
        {within}
"""
                yield Case(f"{direction} {what} {name}, {kind}, {plugin}", QUIET + script, steps(kind), plugin)
            script = f"""
async def {direction}_headers(self, *_):
    {code}
    async for chunk in self.{direction}.chunks():
        break
    {code}
"""
            yield Case(f"{direction} first part after {name}, {kind}, {plugin}", QUIET + script, steps(kind), plugin)


def acting() -> Iterator[Case]:
    """What filters do after a wait, in each place, under either policy."""
    for plugin in ("http", "http-continue", "http held", "http-continue held"):
        for place in PLACES:
            for what, action in ACTIONS.items():
                for kind, name in (("bodies", "a tick"), ("trailers", "a tick"), ("trailers, slowly", "a call")):
                    script = f"""
async def {place}(self, *_):
    if not hasattr(self, "begun"):
        self.begun = True
        {(WAITS | CALLS)[name]}
        say(self, "acting")
        {action}
"""
                    title = f"{what} in {place} after {name}, {kind}, {plugin}"
                    yield Case(title, QUIET + script, steps(kind), plugin)


def leaving() -> Iterator[Case]:
    """Somebody leaves while a coroutine waits, in each place."""
    for plugin in ("http", "http held"):
        for place in PLACES:
            script = f"""
async def {place}(self, *_):
    try:
        await self.http_call("silent", timeout=0.5)
    finally:
        say(self, "finally")
"""
            traffic = [*TRAILERS, *(ANSWER_TRAILERS if "response" in place else [])]
            yield Case(f"the client leaves {place}, {plugin}", QUIET + script, [*traffic, abort, wait(0.6)], plugin)
            if place in ("response_headers", "response_body"):
                traffic = [*TRAILERS, answer(), answer_data("three "), answer_abort, wait(0.6)]
                yield Case(f"the upstream leaves {place}, {plugin}", QUIET + script, traffic, plugin)


def others() -> Iterator[Case]:
    """What a coroutine waits for comes in a tick, and in the middle of another stream's callback."""
    for plugin in ("http", "http held"):
        for place in PLACES:
            for event in (tick, other):
                for name, action in {"nothing": "pass", **ACTIONS}.items():
                    script = f"""
async def {place}(self, *_):
    if not hasattr(self, "begun"):
        self.begun = True
        await put_off(self)
        say(self, "woken")
        {action}
"""
                    request, response = [*TRAILERS], [*ANSWER_TRAILERS]
                    order = (
                        [*request, event, LATER, *response]
                        if "request" in place
                        else [*request, *response, event, LATER]
                    )
                    yield Case(f"{name} in {place} after {event.what}, {plugin}", QUIET + script, order, plugin)


TALK = [connect, LATER, data("one"), tick, LATER, answer_data("two"), data("three"), tick, LATER, end, tick, LATER]


def tcp() -> Iterator[Case]:
    """Connections wait, are refused, and end."""
    for name, code in (WAITS | CALLS).items():
        for place in ("new_connection", "downstream_data"):
            for what, action in {
                "nothing": "pass",
                "closing": "self.close_downstream()",
                "raising": "1 / 0",
                "changing": "attempt(self.downstream_data.append, '!')",
            }.items():
                script = f"async def {place}(self, *_):\n    {code}\n    {action}"
                for plugin in ("tcp", "tcp-continue"):
                    yield Case(f"tcp: {what} in {place} after {name}, {plugin}", QUIET + script, TALK, plugin)
    script = "async def upstream_data(self, *_):\n    await sleep(0.01)"
    yield Case("tcp: an upstream that is waited for", QUIET + script, [connect, answer_data("two"), LATER], "tcp")


GROUPS = {
    "waiting": waiting,
    "bodies": bodies,
    "acting": acting,
    "leaving": leaving,
    "others": others,
    "tcp": tcp,
}


_AWAITED = (
    "await put_off(self)",
    "await put_off(self)",
    "say(self, await self.{0}.body())",
    "say(self, [chunk.data async for chunk in self.{0}.chunks()])",
    "async for chunk in self.{0}.chunks(): chunk.replace(chunk.data * 2); await put_off(self)",
    "await gather(put_off(self), self.{0}.body())",
    "self.create_task(task(self))",
)
_DONE = (
    "say(self, attempt(self.{0}.headers.add, 'x-r', '1'))",
    "say(self, attempt(self.{0}.headers.remove, 'content-length'))",
    "say(self, attempt(self.{0}.append_body, '+'))",
    "say(self, attempt(self.{0}.set_body, 'new'))",
)
_ENDS = (
    *("return None",) * 6,
    "return self.send_http_response(403, [('x-mine', '1')], 'no')",
    "self.close_http_{0}()",
    "raise LookupError",
)
_TASK = """
async def task(self):
    try:
        await put_off(self)
        say(self, "task")
        await put_off(self)
        {}
    finally:
        say(self, "end of task")
"""


def made_up(seed: int) -> Case:
    """A stream with coroutines, actions and traffic by chance."""
    chance = random.Random(seed)
    code = [QUIET]
    for place in chance.sample(PLACES, chance.randint(1, 5)):
        direction = place.partition("_")[0]
        lines = [line.format(direction) for line in chance.choices(_AWAITED, k=chance.randint(0, 3))]
        for line in chance.choices(_DONE, k=chance.randint(0, 2)):
            lines.insert(chance.randint(0, len(lines)), line.format(direction))
        lines.append(chance.choice(_ENDS).format(direction))
        code.append("\n    ".join([f"async def {place}(self, *_):", *lines]))
    code.append(_TASK.format(chance.choice(("pass", "pass", "self.send_http_response(504)", "1 / 0"))))
    plugin = chance.choice(("http", "http-continue", "http held", "http-continue held"))
    return Case(f"coroutines by chance {seed}", "\n".join(code), list(_traffic(chance)), plugin)


def _traffic(chance: random.Random) -> Iterator[Step]:
    """A request and its response, with ticks and other streams in between; now and then somebody leaves."""
    request, response = KINDS[chance.choice(["no body", "bodies", "trailers"])]
    steps = [*_spread(chance, request), *_spread(chance, response)]
    if chance.random() < 0.15:
        steps = [*steps[: chance.randint(1, len(steps))], abort]
    return iter(steps)


def _spread(chance: random.Random, message: list[Step]) -> Iterator[Step]:
    for step in message:
        yield step
        for _ in range(chance.randint(0, 2)):
            yield from chance.choice([[tick], [other, LATER]])
    yield from (other, LATER, *TICKS, *TICKS)
