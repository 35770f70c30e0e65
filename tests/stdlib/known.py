"""Which of CPython's tests run, and which of them fail in any module, pruned or not, with the reason.

Names are those of `unittest` without the leading `test.`.
"""

from __future__ import annotations

from typing import Final

SUITE: Final = "3.14.8"
"""The version of the suite that `FAIL` is about. The interpreter is 3.14.0."""

GROUPS: Final = {
    "json": "test_json.*",
    "text": "test_textwrap test_html test_htmlparser test_shlex test_string.test_string",
    "re": "test_re",
    "bytes": "test_base64 test_binascii test_zlib",
    "struct": "test_struct test_array test_memoryview",
    "hashes": "test_hashlib test_hmac test_uuid test_secrets",
    "web": "test_urlparse test_http_cookies test_ipaddress",
    "email": "test_email.test__header_value_parser test_email.test_headerregistry test_email.test_utils",
    "time": "datetimetester test_time test_strptime test_calendar",
    "data": "test_dataclasses test_enum test_collections test_copy test_contextlib",
    "functional": "test_functools test_itertools test_operator test_heapq test_bisect",
    "decimal": "test_decimal",
    "numbers": "test_fractions test_statistics test_math",
}
"""The modules of tests that are built together. What one of a group wants, all have: so a group is of things that want
much the same.
"""

NOT_RUN: Final[dict[str, str]] = {
    "test_itertools.TestBasicOps.test_groupby_reentrant_eq_does_not_crash": "a use after free of 3.14.0: gh-143543",
    "test_itertools.TestBasicOps.test_grouper_reentrant_eq_does_not_crash": "a use after free of 3.14.0: gh-146613",
    "test_json.test_speedups.TestEncode.test_current_indent_level": "3.14.0 reads outside of an object there",
    "test_hashlib.HashLibTestCase": "it takes 50 seconds",
}
FAIL: Final[dict[str, str]] = {}
