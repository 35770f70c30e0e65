"""Caches, of one worker and of all, in both bodies: how long they keep what, and what they may forget."""

from __future__ import annotations

from pathlib import Path

import pytest

from pywasmfilter import Cache, LocalCache, Status, cached
from pywasmfilter.testing import Body, Host
from tests.e2e.conftest import FILTERS
from tests.sdk.stateful import ask, text, value

BOTH = pytest.mark.parametrize("cache", ["BYTES", "LOCAL"])


@pytest.fixture(params=["python", "wasm"])
def host(request: pytest.FixtureRequest) -> Host:
    """A new host with the filter; its first plugin is one worker."""
    body: Body = request.param
    return Host(FILTERS / "state.py", body=body)


@BOTH
def test_a_value_is_kept_for_its_time(host: Host, cache: str) -> None:
    """Until the cache's time is up, or its own; then it is as if it had never been there."""
    assert value(host, f"({cache}.get('k'), {cache}.get('k', 'none'))") == (None, "none")
    assert value(host, f"({cache}.set('k', b'long'), {cache}.set('short', b'1', ttl=0.5))") == (True, True)
    host.advance(0.499)
    assert value(host, f"({cache}.get('k'), {cache}.get(b'k'), {cache}.get('short'))") == (b"long", b"long", b"1")
    host.advance(0.001)
    assert value(host, f"({cache}.get('k'), {cache}.get('short'))") == (b"long", None)
    host.advance(9.5)
    assert value(host, f"({cache}.get('k'), {cache}.get('short', 'none'))") == (None, "none")


@BOTH
def test_a_value_is_replaced_and_deleted(host: Host, cache: str) -> None:
    """The newer value counts, with a time of its own; deleting what is not there does nothing."""
    value(host, f"{cache}.set('k', b'old')")
    host.advance(6)
    value(host, f"{cache}.set('k', b'new')")
    host.advance(6)
    assert value(host, f"{cache}.get('k')") == b"new"
    assert value(host, f"({cache}.delete('k'), {cache}.delete('k'), {cache}.get('k'))") == (None, None, None)


@BOTH
def test_update(host: Host, cache: str) -> None:
    """The function gets the value, None if there is none or its time is up, and its result is kept and returned."""
    update = f"{cache}.update('n', lambda old: b'%d' % (int(old or 0) + 1))"
    assert [value(host, update) for _ in range(3)] == [b"1", b"2", b"3"]
    host.advance(10)
    assert value(host, update) == b"1"
    assert value(host, f"{cache}.get('n')") == b"1"


@pytest.mark.parametrize("cache", ["BYTES", "LOCAL", "TIGHT"])
@pytest.mark.parametrize("ttl", ["0", "-1", "float('nan')", "float('inf')"])
def test_times_that_are_none(host: Host, cache: str, ttl: str) -> None:
    """A time to live is more than nothing and not endless, and what is wrong leaves no trace."""
    assert text(host, f"{cache}.set('k', b'', ttl={ttl})").startswith(
        "ValueError: a time to live is more than 0 seconds"
    )
    assert value(host, f"{cache}.get('k')") is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cache("c", ttl=0), "a time to live is more than 0 seconds"),
        (lambda: Cache("c", ttl=1, slots=0), "slots and max_bytes are 1 or more, not 0"),
        (lambda: Cache("c", ttl=1, max_bytes=-1), "slots and max_bytes are 1 or more, not 1024 and -1"),
        (lambda: LocalCache(ttl=-1), "a time to live is more than 0 seconds"),
        (lambda: LocalCache(ttl=1, max_entries=0), "max_entries is 1 or more, not 0"),
    ],
)
def test_numbers_that_make_no_cache(make: object, message: str) -> None:
    """They are refused where the cache is made, which is when the filter is built."""
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


LATE = """
from pywasmfilter import HttpContext, http_filter

@http_filter("late")
class Late(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        from pywasmfilter import LocalCache
        return self.send_http_response(200, body=repr(LocalCache(ttl=1)))
"""


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_an_import_in_a_function(tmp_path: Path, body: Body) -> None:
    """What the package imports when it is asked for is found, too, if a function asks."""
    (tmp_path / "filter.py").write_text(LATE, encoding="utf-8")
    assert Host(tmp_path / "filter.py", body=body).request().text == "LocalCache(ttl=1, max_entries=1024)"


# One worker's


def test_a_local_cache_forgets_what_was_not_used_for_longest(host: Host) -> None:
    """Of three keys in a cache of two, the one neither set nor asked for lately is gone."""
    value(host, "[LOCAL.set(key, key) for key in 'ab']")
    assert value(host, "(LOCAL.get('a'), LOCAL.set('c', 3), [LOCAL.get(key) for key in 'abc'])")[2] == ["a", None, 3]


def test_a_local_cache_keeps_the_object_itself(host: Host) -> None:
    """Any value can be kept, None too, and is not copied."""
    assert value(host, "(LOCAL.set('k', seen), LOCAL.get('k') is seen)") == (True, True)
    assert value(host, "(LOCAL.set('k', None), LOCAL.get('k', 'none'))") == (True, None)


def test_a_local_cache_is_one_workers(host: Host) -> None:
    """Another worker has one of its own."""
    value(host, "LOCAL.set('k', 1)")
    assert value(host.start(new_vm=True), "LOCAL.get('k')") is None


# The proxy's


def test_all_workers_have_one_cache(host: Host) -> None:
    """What one puts in, another gets; of another vm_id, none does."""
    other, foreign = host.start(new_vm=True), host.start(vm_id="other")
    value(host, "VALUES.set('k', {'a': [1, None]})")
    assert value(other, "VALUES.get('k')") == {"a": [1, None]}
    value(other, "VALUES.delete('k')")
    assert value(host, "VALUES.get('k')") is None
    value(host, "VALUES.set('k', 1)")
    assert value(foreign, "VALUES.get('k')") is None


def test_without_a_codec_values_are_bytes(host: Host) -> None:
    """Text is encoded, with any bytes that a client sent; other values are refused with advice."""
    assert value(host, "(BYTES.set('k', 'né\\udcff'), BYTES.get('k'))") == (True, b"n\xc3\xa9\xff")
    assert text(host, "BYTES.set('k', 1)").startswith("TypeError: a Cache without a codec keeps str and bytes, not 1")


def test_a_codec_makes_the_values(host: Host) -> None:
    """What the codec cannot write is its own error; what it cannot read is not there."""
    assert value(host, "(VALUES.set('k', None), VALUES.get('k', 'none'))") == (True, None)
    assert text(host, "VALUES.set('k', b'bytes')").startswith(
        "TypeError: Object of type bytes is not JSON serializable"
    )
    assert value(host, "Cache('values', ttl=10).set('k', b'no JSON')") is True
    assert value(host, "(VALUES.get('k', 'none'), VALUES.update('k', lambda old: [old]))") == ("none", [None])


def test_what_is_too_large_is_not_kept(host: Host) -> None:
    """Key and value have a size together. Of a key whose new value is too large, the old one is gone too."""
    assert value(host, "(BYTES.set('k', 'x' * 19), BYTES.get('k') == b'x' * 19)") == (True, True)
    assert value(host, "(BYTES.set('k', 'x' * 20), BYTES.get('k'))") == (False, None)
    assert value(host, "(BYTES.set('k' * 21, ''), BYTES.get('k' * 21))") == (False, None)
    assert value(host, "(BYTES.set('k', 'x'), BYTES.update('k', lambda old: old * 20), BYTES.get('k'))")[2] is None


def test_the_memory_is_bounded(host: Host) -> None:
    """However many keys clients think of, the proxy has no more entries than the cache has slots, and a secret."""
    value(host, "[Cache('few', ttl=10, slots=4).set(f'key {number}', '') for number in range(100)]")
    assert len([key for key in host.shared_data if key.startswith(b"pywasmfilter/cache/few/")]) == 4
    assert len(host.shared_data) == 5


def test_a_displaced_key_is_gone_and_nothing_else(host: Host) -> None:
    """In a cache of one slot each key displaces the other, and none ever has the other's value."""
    assert value(host, "(TIGHT.set('a', 'of a'), TIGHT.get('b'), TIGHT.get('a'))") == (True, None, b"of a")
    assert value(host, "(TIGHT.set('b', 'of b'), TIGHT.get('a'), TIGHT.get('b'))") == (True, None, b"of b")
    assert value(host, "(TIGHT.delete('a'), TIGHT.get('b'))") == (None, b"of b")
    assert value(host, "(TIGHT.update('a', lambda old: repr(old)), TIGHT.get('b'))") == ("None", None)
    assert value(host, "[TIGHT.get(key) for key in ('', 'of', 'aNone', 'aN')]") == [None] * 4


def test_foreign_data_in_a_slot_are_no_value(host: Host) -> None:
    """What others put under the cache's keys is not there, and is overwritten."""
    value(host, "TIGHT.set('a', 'of a')")
    for garbage in (b"", b"\0", b"\xff" * 16, b"\xff" * 40):
        host.shared("")[b"pywasmfilter/cache/tight/0"] = garbage, 1
        assert value(host, "[TIGHT.get(key) for key in ('', 'a', b'\\xff' * 24)]") == [None] * 3
    assert value(host, "(TIGHT.set('a', 'again'), TIGHT.get('a'))") == (True, b"again")


def test_the_place_of_a_key_is_a_secret(new_hosts: list[Host]) -> None:
    """In another proxy a key has another place, so that nobody can work out which keys displace each other."""
    places = []
    for host in new_hosts:
        value(host, "[BYTES.set(f'{number}', '') for number in range(20)]")
        places.append(sorted(key for key in host.shared_data if b"/bytes/" in key))
    assert places[0] != places[1]


@pytest.fixture(params=["python", "wasm"])
def new_hosts(request: pytest.FixtureRequest) -> list[Host]:
    """Two hosts with the filter."""
    body: Body = request.param
    return [Host(FILTERS / "state.py", body=body) for _ in range(2)]


def test_the_secret_is_drawn_once(host: Host) -> None:
    """Workers that begin at the same moment agree on it: who comes second takes the first one's."""
    other = host.start(new_vm=True)
    value(host, "BYTES.set('a', '1')")
    before = host.shared_data[b"pywasmfilter/secret"]
    assert value(other, "BYTES.get('a')") == b"1"
    assert host.shared_data[b"pywasmfilter/secret"] == before
    assert len(before) == 16


def test_no_update_is_lost(host: Host) -> None:
    """If another worker is faster, the function is called again with what that stored; the first value counts too."""
    value(host, "BYTES.get('k')")
    meddle = "len(seen) < 3 and BYTES.set('n', b'%d' % len(seen))"
    meddling = f"BYTES.update('n', lambda old: (seen.append(old), {meddle}, old or b'-')[2])"
    assert value(host, "seen.clear()") is None
    assert value(host, meddling) == b"2"
    assert value(host, "seen") == [None, b"1", b"2"]


def test_updates_end(host: Host) -> None:
    """If others are always faster, a worker does not hang."""
    value(host, "BYTES.set('k', b'')")
    assert text(host, "BYTES.update('k', lambda old: (BYTES.set('k', b''), b'')[1])").startswith("CasMismatch")


def test_a_proxy_that_takes_no_number_for_what_is_not_there(host: Host) -> None:
    """Its first values are stored without one."""
    host.fail("set_shared_data", Status.CAS_MISMATCH)
    assert value(host, "BYTES.get('k')") is None  # this draws the secret
    host.fail("set_shared_data", Status.CAS_MISMATCH)
    assert value(host, "(BYTES.update('k', lambda old: b'1'), BYTES.get('k'))") == (b"1", b"1")


# @cached


def test_concurrent_callers_share_a_call(host: Host) -> None:
    """Who asks for what is being looked up waits for it, and gets the same; another key is looked up beside it."""
    value(host, "seen.clear()")
    streams = [ask(host, f"looked_up(self, {key!r})") for key in ("a", "a", "b", "a")]
    assert [stream.ended for stream in streams] == [False] * 4
    host.advance(1)
    answers = [stream.text for stream in streams]
    assert len(set(answers)) == 2
    assert answers[0] == answers[1] == answers[3]
    assert value(host, "seen") == ["a", "b"]


def test_what_was_returned_is_kept(host: Host) -> None:
    """A caller in time gets it at once, as the cache gives it, for the first caller too. After that, anew."""
    streams = [ask(host, "looked_up(self, 'a')")]
    host.advance(1)
    host.advance(9)
    streams.append(ask(host, "looked_up(self, 'a')"))
    assert streams[0].text == streams[1].text
    assert streams[0].text.startswith("'a ")
    host.advance(1)
    late = ask(host, "looked_up(self, 'a')")
    assert not late.ended
    host.advance(1)
    assert late.text != streams[0].text


def test_an_exception_reaches_all_and_is_not_kept(host: Host) -> None:
    """All that wait have it, and the next caller calls again."""
    value(host, "seen.clear()")
    streams = [ask(host, "looked_up(self, 'bad')") for _ in range(2)]
    host.advance(1)
    assert [stream.text for stream in streams] == ["ValueError: bad"] * 2
    assert not ask(host, "looked_up(self, 'bad')").ended
    assert value(host, "seen") == ["bad"] * 2


def test_a_caller_that_leaves_is_replaced(host: Host) -> None:
    """If the first caller's stream is gone, the next one calls, and the others wait for that."""
    value(host, "seen.clear()")
    first, second, third = (ask(host, "looked_up(self, 'a')") for _ in range(3))
    first.abort()
    host.advance(1)
    assert second.text == third.text
    assert value(host, "seen") == ["a", "a"]


def test_a_caller_that_only_waits_may_leave(host: Host) -> None:
    """The one that calls, and those that still wait, are not disturbed."""
    first, second, third = (ask(host, "looked_up(self, 'a')") for _ in range(3))
    second.abort()
    host.advance(1)
    assert first.text == third.text


def test_all_callers_may_leave(host: Host) -> None:
    """Nothing is left of them, and the next one calls anew."""
    for stream in [ask(host, "looked_up(self, 'a')") for _ in range(3)]:
        stream.abort()
    last = ask(host, "looked_up(self, 'a')")
    host.advance(1)
    assert last.text.startswith("'a ")


def test_text_needs_a_codec() -> None:
    """Without one the callers would get bytes, and not what the function says that it returns."""
    cache = Cache("c", ttl=1)
    with pytest.raises(TypeError, match="would give bytes for the text"):
        cache._as_returned("text")


def test_a_key_is_needed(host: Host) -> None:
    """One argument besides contexts, or a function that makes the key."""
    assert text(host, "looked_up(self, 1)").startswith("TypeError: a function that is @cached has one argument besides")
    assert text(host, "looked_up(self, 'a', 'b')").startswith("TypeError")


def test_a_cache_is_of_one_function() -> None:
    """A second function would get the first one's values; and a function that does not wait needs no @cached."""
    cache = LocalCache(ttl=1)

    async def one(key: str) -> str:
        return key

    async def other(key: str) -> str:
        return key

    assert cached(cache)(one).__name__ == "one"
    with pytest.raises(ValueError, match=r"LocalCache\(ttl=1, max_entries=1024\) is that of .*one already"):
        cached(cache)(other)
    with pytest.raises(TypeError, match="@cached is for `async def` functions"):
        cached(LocalCache(ttl=1))(str.upper)  # type: ignore[arg-type]
