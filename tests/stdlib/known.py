"""Which of CPython's tests run, and which of them fail in any module, pruned or not, with the reason.

Names are those of `unittest` without the leading `test.`.
"""

from __future__ import annotations

import fnmatch
import re
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
}
"""The tests that do not run, with the reason: what they do to the interpreter's memory is the end of the others."""

FAIL: Final = {
    "there are no files": """
        test_array.*.test_filewrite
        test_array.*.test_fromfile_ioerror
        test_array.*.test_tofromfile
        test_base64.TestMain.test_decode
        test_base64.TestMain.test_encode_file
        test_contextlib.FileContextTestCase.testWithOpen
        test_contextlib.TestChdir.*
        test_fractions.FractionTest.test_float_format_testfile
        test_hashlib.HashLibTestCase.test_case_blake2?_[0-9]
        test_hashlib.HashLibTestCase.test_case_md5_[0-9]
        test_hashlib.HashLibTestCase.test_case_sha[0-9]*_[0-9]
        test_hashlib.KDFTests.test_file_digest
        test_math.MathTests.test_mtestfile
        test_math.MathTests.test_testfile
        test_shlex.ShlexTest.testSourcehook*
    """,
    "there is no network to fetch vectors from": """
        test_hashlib.HashLibTestCase.test_blake2*_vectors
        test_hashlib.HashLibTestCase.test_case_*_vector
    """,
    "a module, or a codec, is named where no build sees it": """
        test_decimal.PyCoverage.test_int
        test_email.test_headerregistry.TestUnstructuredHeader.test_value_rfc2047_gb2312_base64
        test_hmac.Py*.setUpClass
        test_hmac.PyMiscellaneousTests.test_hmac_constructor_uses_builtin
        test_math.MathTests.testSumProd
        test_re.ImplementationTest.test_deprecated_modules
    """,
    "there is no command line": """
        test_calendar.CommandLineTestCase.*
        test_uuid.TestUUIDWithoutExtModule.test_cli_uuid[35]_ou*putted_with_custom_namespace_and_name
        test_uuid.TestUUIDWithoutExtModule.test_cli_uuid[35]_with_invalid_namespace
    """,
    "a filter must not sleep": """
        test_time.TimeTestCase.test_monotonic
        test_time.TimeTestCase.test_sleep
        test_time.TimeTestCase.test_sleep_exceptions
    """,
    "there are no sources to show in a traceback": """
        test_contextlib.ContextManagerTestCase.test_contextmanager_traceback
        test_contextlib.TestExitStack.test_exit_exception_traceback
    """,
    "3.14.0 does not yet do what the later suite wants": """
        datetimetester.*.test_fromisoformat_fails_datetime
        datetimetester.*.test_fromisoformat_utc_subsecond_offset
        datetimetester.TestTimeTZ.test_fromisoformat_fails
        test_array.LargeArrayTest.test_setitem_use_after_clear_with_float_data
        test_array.LargeArrayTest.test_setitem_use_after_clear_with_int_data
        test_array.LargeArrayTest.test_setitem_use_after_shrink_with_int_data
        test_binascii.*.test_base64_excess_data
        test_binascii.*.test_base64_strict_mode
        test_binascii.*.test_empty_string
        test_binascii.*.test_uu
        test_dataclasses.TestCase.test_incomplete_annotations
        test_dataclasses.TestFrozen.test_frozen_empty
        test_dataclasses.TestFrozen.test_non_frozen_normal_derived
        test_dataclasses.TestInitAnnotate.test_annotate_function
        test_dataclasses.TestInitAnnotate.test_annotate_function_contains_forwardref
        test_dataclasses.TestInitAnnotate.test_annotate_function_forwardref
        test_dataclasses.TestInitAnnotate.test_init_false_forwardref
        test_dataclasses.TestSlots.test_original_class_is_gced
        test_dataclasses.TestZeroArgumentSuperWithSlots.test_empty_class_cell
        test_decimal.CContextFlags.test_signaldict_repr
        test_email.test__header_value_parser.TestFolding.test_address_list_with_long_unwrapable_comment
        test_email.test__header_value_parser.TestFolding.test_encoded_word_with_undecodable_bytes
        test_email.test__header_value_parser.TestFolding.test_fold_unfoldable_element_stealing_whitespace
        test_email.test__header_value_parser.TestParser.test_get_address_list_mailboxes_invalid_addresses
        test_email.test__header_value_parser.TestParser.test_get_address_rfc2047_display_name_adjacent_ews
        test_email.test__header_value_parser.TestParser.test_get_phrase_adjacent_ew
        test_email.test__header_value_parser.TestParser.test_get_phrase_adjacent_ew_different_encodings
        test_email.test__header_value_parser.TestParser.test_get_phrase_adjacent_ew_encoded_spaces
        test_email.test__header_value_parser.TestParser.test_get_phrase_adjacent_ew_no_error_on_defects
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_broken_ang
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_comma_sep
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_comment
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_empty
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_invalid_id
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_no_sep
        test_email.test__header_value_parser.TestParser.test_parse_message_ids_valid
        test_email.test_headerregistry.TestAddressHeader.test_address_just_dquote
        test_email.test_headerregistry.TestDateHeader.test_out_of_range_date_value
        test_email.test_headerregistry.TestFolding.test_fold_references
        test_email.test_headerregistry.TestFolding.test_fold_unstructured_with_overlong_word
        test_email.test_headerregistry.TestFolding.test_fold_unstructured_with_two_overlong_words
        test_email.test_utils.DateTimeTests.test_parsedate_to_datetime_out_of_range_raises_valueerror
        test_functools.*.test_repr_safety_against_reentrant_mutation
        test_functools.TestPartialC*.test_setstate_errors
        test_htmlparser.HTMLParserTestCase.test_closing_tag
        test_htmlparser.HTMLParserTestCase.test_comments
        test_htmlparser.HTMLParserTestCase.test_eof_in_charref
        test_htmlparser.HTMLParserTestCase.test_eof_in_entityref
        test_htmlparser.HTMLParserTestCase.test_invalid_closing_tag
        test_htmlparser.HTMLParserTestCase.test_invalid_nonascii_closing_tag
        test_htmlparser.HTMLParserTestCase.test_noscript_content
        test_htmlparser.HTMLParserTestCase.test_plaintext_content
        test_htmlparser.HTMLParserTestCase.test_rawtext_content
        test_http_cookies.CookieTests.test_load
        test_http_cookies.CookieTests.test_quoted_meta
        test_http_cookies.MorselTests.test_control_characters
        test_http_cookies.MorselTests.test_control_characters_output
        test_http_cookies.MorselTests.test_setter
        test_ipaddress.IpaddrUnitTest.testExplodeShortHandIpStr
        test_ipaddress.IpaddrUnitTest.testHosts
        test_json.test_fail.TestCFail.test_truncated_input
        test_json.test_unicode.TestPyUnicode.test_ascii_non_printable_decode
        test_math.MathTests.testIsqrt
        test_memoryview.*.test_hash_use_after_free
        test_memoryview.*.test_hex_use_after_free
        test_memoryview.ArrayMemoryviewTest.test_boolean_format
        test_re.ReTests.test_locale_ignorecase_negated_set
        test_statistics.TestPStdev.test_gh_140938
        test_string.test_string.TestTemplate.test_precompiled_pattern
        test_struct.StructTest.test_705836
        test_struct.StructTest.test_Struct_reinitialization
        test_struct.StructTest.test_operations_on_half_initialized_Struct
        test_textwrap.LongWordTestCase.test_break_long
        test_textwrap.LongWordTestCase.test_max_lines_long
        test_urlparse.UrlParseTestCase.test_splitting_bracketed_hosts
        test_zlib.CompressObjectTestCase.test_decompress_flush_corrupt_stream
        test_zlib.CompressObjectTestCase.test_decompress_unconsumed_tail_after_eof
    """,
}
"""The tests that fail, as patterns of `fnmatch`, for each reason. The last reason was found with the suite of 3.14.0,
which has none of these tests, or passes them.
"""

_FAIL: Final = re.compile("|".join(fnmatch.translate(name) for names in FAIL.values() for name in names.split()))


def fails(name: str) -> bool:
    """Whether a test is known to fail."""
    return bool(_FAIL.match(name))
