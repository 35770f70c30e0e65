"""The whole ABI as one table, and that every place which has its functions has all of them, under these names.

Two tables: what hosts offer, and what they call. The header, the stand-ins, the compiled shim, the compiler's own
tables, the SDK's host and its public functions and methods are held against them.
"""

from __future__ import annotations

import ast
import inspect
import re
from contextlib import nullcontext
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.recorder.functions import FUNCTIONS as RECORDED
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.module import I32, I64, FuncType, Kind

import pywasmfilter
from pywasmfilter import HttpContext, PluginContext, TcpContext, _callbacks, _dispatcher, exceptions, hostcalls
from pywasmfilter.testing import abi as testing_abi, python_guest
from pywasmfilter.testing.abi import Shape
from pywasmfilter.testing.functions import HostFunctions
from pywasmfilter.testing.proxy import Proxy
from pywasmfilter.testing.python_host import PythonHost
from pywasmfilter.testing.vm import VM
from tests.sdk.conftest import MemoryHost

ROOT = Path(__file__).parents[1]
SHIM = ROOT / "runtime_shim"
SDK = Path(pywasmfilter.__file__).parent
COMPILED = Path(hosts.__file__).parent / "shim"

# What hosts offer: function without `proxy_` | parameters, "i" for i32 and "l" for i64; all answer i32 | the versions
# that have it, "*" for all | the method of `_abi.Host` that calls it | where filters find it. Braces are alternatives.
FUNCTIONS_TEXT = """
log                          iii          *           log              log.{trace,debug,info,warn,error,critical}
get_log_level                i            0.2.1       =                hostcalls.get_log_level log.enabled
get_current_time_nanoseconds i            *           =                hostcalls.get_current_time_nanoseconds
set_tick_period_milliseconds i            *           =                hostcalls.set_tick_period_milliseconds
set_effective_context        i            *           =                hostcalls.{set_,}effective_context
done                         -            *           =                hostcalls.done
continue_stream              i            0.2.0,0.2.1 =                hostcalls.continue_stream
    hostcalls.resume_{http_request,http_response,downstream,upstream}
close_stream                 i            0.2.0,0.2.1 =                hostcalls.close_stream
    hostcalls.close_{http_request,http_response,downstream,upstream}
continue_request             -            0.1.0       continue_stream  HttpContext.resume_http_request
continue_response            -            0.1.0       continue_stream  HttpContext.resume_http_response
clear_route_cache            -            0.1.0       =                foreign_functions.clear_route_cache
send_local_response          iiiiiiii     *           =                hostcalls.send_http_response
    HttpContext.send_http_response
get_configuration            ii           0.1.0       get_buffer_bytes PluginContext.plugin_configuration
    VMContext.vm_configuration
get_buffer_bytes             iiiii        *           =                Buffer.read
    hostcalls.get_{http_request_body,http_response_body,downstream_data,upstream_data}
    hostcalls.get_{http_call_response_body,vm_configuration,plugin_configuration,foreign_function_arguments}
get_buffer_status            iii          *           get_buffer_size  Buffer.__len__
set_buffer_bytes             iiiii        *           =
    hostcalls.{append,prepend,replace}_{http_request_body,http_response_body,downstream_data,upstream_data}
    Buffer.{append,prepend,replace}
get_header_map_size          ii           *           =                HeaderMap.byte_size
get_header_map_pairs         iii          *           =                HeaderMap.items
    hostcalls.get_http_{request,response,call_response}_{headers,trailers}
set_header_map_pairs         iii          *           =                HeaderMap.replace_all
    hostcalls.replace_http_{request,response}_{headers,trailers}
get_header_map_value         iiiii        *           =                HeaderMap.get
    hostcalls.get_http_{request,response}_{header,trailer} hostcalls.get_http_call_response_header
add_header_map_value         iiiii        *           =                HeaderMap.add
    hostcalls.add_http_{request,response}_{header,trailer}
replace_header_map_value     iiiii        *           =                HeaderMap.__setitem__
    hostcalls.replace_http_{request,response}_{header,trailer}
remove_header_map_value      iii          *           =                HeaderMap.remove
    hostcalls.remove_http_{request,response}_{header,trailer}
get_property                 iiii         *           =                hostcalls.get_property
    hostcalls.get_property_map Property.raw
set_property                 iiii         *           =                hostcalls.set_property
call_foreign_function        iiiiii       *           =                hostcalls.call_foreign_function
http_call                    iiiiiiiiii   *           =                hostcalls.dispatch_http_call
    Context.dispatch_http_call Context.http_call
grpc_call                    iiiiiiiiiiii *           =                hostcalls.dispatch_grpc_call
    Context.dispatch_grpc_call Context.grpc_call
grpc_stream                  iiiiiiiii    *           =                hostcalls.open_grpc_stream
    Context.open_grpc_stream Context.grpc_stream
grpc_send                    iiii         *           =                hostcalls.grpc_send GrpcStream.send
grpc_close                   i            *           =                hostcalls.grpc_close GrpcStream.close
grpc_cancel                  i            *           =                hostcalls.grpc_cancel GrpcStream.cancel
get_status                   iii          *           =                hostcalls.get_status
get_shared_data              iiiii        *           =                hostcalls.get_shared_data
set_shared_data              iiiii        *           =                hostcalls.set_shared_data
    hostcalls.update_shared_data
register_shared_queue        iii          *           =                hostcalls.register_shared_queue
resolve_shared_queue         iiiii        *           =                hostcalls.resolve_shared_queue
enqueue_shared_queue         iii          *           =                hostcalls.enqueue_shared_queue
dequeue_shared_queue         iii          *           =                hostcalls.dequeue_shared_queue
define_metric                iiii         *           =                hostcalls.define_metric
    hostcalls.define_{counter,gauge,histogram}_metric
increment_metric             il           *           =                hostcalls.increment_metric Counter.increment
    Gauge.add
record_metric                il           *           =                hostcalls.record_metric Gauge.record
    Histogram.record
get_metric                   ii           *           =                hostcalls.get_metric Counter.value Gauge.value
"""

NO_FUNCTIONS = {
    *("get_effective_context", "get_running_stream", "get_answered_stream", "get_call_number"),
    *("get_memory", "notify_deletes"),
}
"""Methods of the host that the shim answers itself."""

WASI = {
    "wasi_snapshot_preview1.clock_time_get": "ili",
    "wasi_snapshot_preview1.random_get": "ii",
    "wasi_snapshot_preview1.environ_sizes_get": "ii",
    "wasi_snapshot_preview1.environ_get": "ii",
}
"""What modules import besides the ABI."""

# What hosts call: callback without `proxy_on_` | parameters → result | the method that the shim calls | on contexts of
# which kinds, P(lugin), H(TTP), T(CP), or as a function of `_dispatcher` | "!" if every module exports it |
# where filters hear of it.
#
# proxy_validate_configuration is not here: it is deprecated, not in the specification, and no host calls it.
CALLBACKS_TEXT = """
context_create                  ii→    on_context_create                   -    ! PluginContext.new_{http,tcp}_context
vm_start                        ii→i   on_vm_start                         -    ! VMContext.on_vm_start
configure                       ii→i   _on_configure                       P    ! PluginContext.on_plugin_start
tick                            i→     _on_tick                            P    ! PluginContext.on_tick sleep timeout
queue_ready                     ii→    on_queue_ready                      P    . PluginContext.on_queue_ready
new_connection                  i→i    on_new_connection                   T    . TcpContext.on_new_connection
downstream_data                 iii→i  on_downstream_data                  T    . TcpContext.on_downstream_data
downstream_connection_close     ii→    on_downstream_close                 T    . TcpContext.on_downstream_close
upstream_data                   iii→i  on_upstream_data                    T    . TcpContext.on_upstream_data
upstream_connection_close       ii→    on_upstream_close                   T    . TcpContext.on_upstream_close
request_headers                 iii→i  on_http_request_headers             H    . HttpContext.on_http_request_headers
request_body                    iii→i  on_http_request_body                H    . HttpContext.on_http_request_body
request_trailers                ii→i   on_http_request_trailers            H    . HttpContext.on_http_request_trailers
request_metadata                ii→i   on_http_request_metadata            H    . HttpContext.on_http_request_metadata
response_headers                iii→i  on_http_response_headers            H    . HttpContext.on_http_response_headers
response_body                   iii→i  on_http_response_body               H    . HttpContext.on_http_response_body
response_trailers               ii→i   on_http_response_trailers           H    . HttpContext.on_http_response_trailers
response_metadata               ii→i   on_http_response_metadata           H    . HttpContext.on_http_response_metadata
http_call_response              iiiii→ _on_http_call_response              P    ! Context.dispatch_http_call
grpc_receive_initial_metadata   iii→   _on_grpc_receive_initial_metadata   P    ! GrpcStream.on_initial_metadata
grpc_receive                    iii→   _on_grpc_receive                    P    ! GrpcStream.on_message
grpc_receive_trailing_metadata  iii→   _on_grpc_receive_trailing_metadata  P    ! GrpcStream.on_trailing_metadata
grpc_close                      iii→   _on_grpc_close                      P    ! GrpcStream.on_close
foreign_function                iii→   on_foreign_function                 PHT  . Context.on_foreign_function
done                            i→i    _on_done                            PHT  . PluginContext.on_plugin_done
log                             i→     _on_log                             PHT  . PluginContext.on_log
    HttpContext.on_http_stream_done TcpContext.on_stream_done
delete                          i→     _on_delete                          PHT  ! Context.on_delete
"""
NOT_IMPLEMENTED = {"proxy_validate_configuration"}

FORMS_OF_0_1_0 = {"proxy_on_request_headers": "ii→i", "proxy_on_response_headers": "ii→i"}
"""Without `end_of_stream`; the shim exports them under names of their own."""
NOT_IN_0_1_0 = {"proxy_on_foreign_function"}


class Function(NamedTuple):
    """A row of the first table."""

    parameters: str
    versions: tuple[str, ...]
    method: str
    public: list[str]


class Callback(NamedTuple):
    """A row of the second table."""

    type: str
    method: str
    kinds: str
    always: bool
    public: list[str]


def expand(pattern: str) -> list[str]:
    """All that a pattern with alternatives in braces stands for."""
    parts = [part.split(",") for part in re.split(r"[{}]", pattern)]
    return ["".join(choice) for choice in product(*parts)]


def rows_of(table: str) -> list[list[str]]:
    """The rows, split at spaces; an indented line continues the one before."""
    return [row.split() for row in re.sub(r"\n +", " ", table.strip()).splitlines()]


def functions() -> dict[str, Function]:
    """The first table, by the ABI's names."""
    rows = {}
    for name, parameters, versions, method, *public in rows_of(FUNCTIONS_TEXT):
        rows[f"proxy_{name}"] = Function(
            parameters.strip("-"),
            hosts.ABI_VERSIONS if versions == "*" else tuple(versions.split(",")),
            name if method == "=" else method,
            [each for pattern in public for each in expand(pattern)],
        )
    return rows


def callbacks() -> dict[str, Callback]:
    """The second table, by the ABI's names."""
    rows = {}
    for name, kind, method, kinds, always, *public in rows_of(CALLBACKS_TEXT):
        places = [each for pattern in public for each in expand(pattern)]
        rows[f"proxy_on_{name}"] = Callback(kind, method, kinds.strip("-"), always == "!", places)
    return rows


FUNCTIONS, CALLBACKS = functions(), callbacks()


def functype(text: str) -> FuncType:
    """The type that "il→i" says; without an arrow the result is i32."""
    parameters, arrow, result = text.partition("→")
    return FuncType(*(tuple({"i": I32, "l": I64}[v] for v in part) for part in (parameters, result if arrow else "i")))


TYPES = {name: functype(row.parameters) for name, row in FUNCTIONS.items()}
CALLBACK_TYPES = {name: functype(row.type) for name, row in CALLBACKS.items()}


# The C sources


def c_parameters(text: str) -> str:
    """The core types of a C parameter list, in the table's letters."""
    parameters = [] if text.strip() == "void" else text.split(",")
    return "".join("l" if re.search(r"64(_t)? \w", parameter) else "i" for parameter in parameters)


@cache
def source(name: str) -> str:
    """A file of the shim."""
    return (SHIM / name).read_text(encoding="utf-8")


def test_the_header_declares_them_all() -> None:
    """Each function is declared once, with its parameters; comments say the versions of those that not all have."""
    declared = re.findall(r"^HOST\((\w+)\)\(([^;]*)\);(?: +/\* (.*) \*/)?$", source("proxy_wasm_abi.h"), re.MULTILINE)
    assert sorted(name for name, _, _ in declared) == sorted(FUNCTIONS)
    words = {
        "": hosts.ABI_VERSIONS,
        "since 0.2.0": ("0.2.0", "0.2.1"),
        "since 0.2.1": ("0.2.1",),
        "0.1.0 only": ("0.1.0",),
    }
    for name, parameters, comment in declared:
        assert (c_parameters(parameters), words[comment]) == FUNCTIONS[name][:2], name


def test_the_header_declares_wasi() -> None:
    """What is taken of WASI is declared with its parameters."""
    declared = re.findall(r"^WASI\((\w+)\)\(([^;]*)\);$", source("proxy_wasm_abi.h"), re.MULTILINE)
    assert {f"wasi_snapshot_preview1.{name}": c_parameters(text) for name, text in declared} == WASI


def test_every_function_has_a_stand_in() -> None:
    """The image is made with one for each, of the same type."""
    stubs = dict(re.findall(r'^STUB\("([\w.]+)", (.*)\)$', source("stubs.c"), re.MULTILINE))
    expected = {name: row.parameters for name, row in FUNCTIONS.items()} | WASI
    assert {name: c_parameters(text) for name, text in stubs.items()} == expected


def test_the_shim_uses_every_function() -> None:
    """What is called is in the table, and all of the table is called; so is what errors are named after."""
    text = source("hostcalls.c")
    named = set(re.findall(r'"(proxy_\w+)"', text))
    assert named - set(FUNCTIONS) == set()
    assert set(re.findall(r"(?<![\"\w])(proxy_\w+)\b(?=[(),])", text)) == set(FUNCTIONS)
    unnamed = {"proxy_continue_request", "proxy_continue_response", "proxy_get_configuration"}
    assert set(FUNCTIONS) - named == unnamed, "what stands in for a newer function is named after that"


def hostcall_methods() -> dict[str, int]:
    """The method table of the shim's Python module: each method with the number of arguments it takes."""
    text = source("hostcalls.c")
    taken = dict(re.findall(r"^HOSTCALL\((\w+)\) {\n    ARGUMENTS\((\d+)\);$", text, re.MULTILINE))
    methods = {name: name for name in re.findall(r"^    METHOD\((\w+), ", text, re.MULTILINE)}
    methods |= dict(re.findall(r'^    {"(\w+)", (\w+), METH_FASTCALL, ', text, re.MULTILINE))
    assert sorted(methods.values()) == sorted(taken), "a function without an entry, or an entry without a function"
    return {name: int(taken[function]) for name, function in methods.items()}


def test_the_method_table_says_its_arguments() -> None:
    """What help() shows of a method has as many arguments as the method takes."""
    shown = re.findall(r'(?:METHOD\((\w+), |{"(\w+)", \w+, METH_FASTCALL, )"(\w+)\((.*?)\)', source("hostcalls.c"))
    arguments = {name: len(text.split(", ")) if text else 0 for _, _, name, text in shown}
    assert arguments == hostcall_methods()
    assert all(name in (first, second) for first, second, name, _ in shown)


def test_the_shim_calls_these_methods() -> None:
    """callbacks.c has the table's methods, each with an answer where the ABI has one."""
    answers = dict(re.findall(r'^    \[ON_\w+\] = {"(\w+)", (\w+), \w+},$', source("callbacks.c"), re.MULTILINE))
    assert set(answers) == {row.method for row in CALLBACKS.values()}
    for name, row in CALLBACKS.items():
        is_boolean = name in ("proxy_on_vm_start", "proxy_on_configure", "proxy_on_done")
        action = "BOOLEAN" if is_boolean else f"{'TCP' if row.kinds == 'T' else 'HTTP'}_ACTION"
        assert answers[row.method] == (action if row.type.endswith("i") else "NOTHING"), name


# The compiled shim


@cache
def exports(library: str) -> dict[str, FuncType]:
    """The functions that a compiled library exports."""
    module = binary.decode((COMPILED / library).read_bytes())
    types = module.function_types()
    return {each.name: module.types[types[each.index]] for each in module.exports if each.kind is Kind.FUNC}


def test_the_compiled_shim_exports_all_callbacks() -> None:
    """Each callback is there with its type, and no other; with the markers of all versions and the older forms."""
    found = {name: kind for name, kind in exports("_shim.abi3.so").items() if name.startswith("proxy_")}
    markers = {name: FuncType((), ()) for name in hosts.ABI_MARKERS}
    assert found == CALLBACK_TYPES | markers
    older = {f"{name.replace('proxy', 'pyfilter')}_0_1_0": functype(text) for name, text in FORMS_OF_0_1_0.items()}
    assert older.items() <= exports("_shim.abi3.so").items()


def test_the_compiled_stand_ins_have_all_functions() -> None:
    """So that linking can turn each into an import of its type."""
    found = {name: kind for name, kind in exports("_stubs.abi3.so").items() if not name.startswith("__")}
    assert found == TYPES | {name: functype(parameters) for name, parameters in WASI.items()}


# The compiler's tables


def test_the_compiler_knows_all_functions() -> None:
    """Names, types and versions are the table's."""
    assert dict(hosts.ABI_FUNCTIONS) == TYPES
    assert {
        name: row.versions for name, row in FUNCTIONS.items() if row.versions != hosts.ABI_VERSIONS
    } == hosts.ONLY_IN
    wasi = {f"wasi_snapshot_preview1.{name}": kind for name, kind in hosts.WASI_PREVIEW_1.items()}
    assert {name: wasi[name] for name in WASI} == {name: functype(parameters) for name, parameters in WASI.items()}


@pytest.mark.parametrize("abi", hosts.ABI_VERSIONS)
def test_the_compiler_knows_all_callbacks(abi: str) -> None:
    """Names and types are the table's, in each version; what the SDK does not implement has a reason above."""
    known = dict(hosts.callbacks(abi))
    for name in NOT_IMPLEMENTED:
        assert known.pop(name) == functype("ii→i")
    expected = dict(CALLBACK_TYPES)
    if abi == "0.1.0":
        expected |= {name: functype(text) for name, text in FORMS_OF_0_1_0.items()}
        expected = {name: kind for name, kind in expected.items() if name not in NOT_IN_0_1_0}
    assert known == expected


# The SDK: functions


@cache
def host_methods() -> dict[str, list[str]]:
    """The methods of `_abi.Host`, which exists for type checkers only, with their parameters."""
    tree = ast.parse((SDK / "_abi.py").read_text(encoding="utf-8"))
    (host,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Host")
    return {node.name: [a.arg for a in node.args.args[1:]] for node in host.body if isinstance(node, ast.FunctionDef)}


def test_the_host_has_a_method_for_every_function() -> None:
    """`_abi.Host` has the table's methods, and `environ` and what the shim answers itself; no more."""
    expected = {row.method for row in FUNCTIONS.values()} | NO_FUNCTIONS | {"environ"}
    assert set(host_methods()) == expected


def test_the_shims_methods_are_the_hosts() -> None:
    """The compiled module has the methods of `_abi.Host`, with as many arguments."""
    assert hostcall_methods() == {name: len(parameters) for name, parameters in host_methods().items()}


def test_the_proxy_in_memory_is_a_whole_one() -> None:
    """What the SDK's tests put in the host's place has its methods, with the same parameters."""
    for name, parameters in host_methods().items():
        assert list(inspect.signature(getattr(MemoryHost(), name)).parameters) == parameters, name


def test_plain_python_stands_where_the_shim_does() -> None:
    """The emulated host answers the SDK under plain Python with the same methods, and calls the same of contexts."""
    no_guest: Any = None
    host = PythonHost(VM(Proxy(), lambda _: no_guest), nullcontext)
    for name, parameters in host_methods().items():
        assert callable(getattr(host, name)), name
        function = getattr(HostFunctions, f"proxy_{name}", None)
        assert function is None or len(Shape.of(function).parameters) == len(parameters), name
    of_contexts = {name: row.method for name, row in CALLBACKS.items() if row.kinds}
    assert of_contexts == {"proxy_on_delete": "_on_delete", **python_guest._METHODS}


@pytest.mark.parametrize("name", hosts.ABI_FUNCTIONS)
def test_the_recorder_takes_calls_apart_as_the_host_does(name: str) -> None:
    """What a recording has of a host function are the arguments and results that the emulated host has."""
    names = {bytes: "bytes", int: "u32", testing_abi.I64: "i64", testing_abi.U64: "u64"}
    shape = Shape.of(getattr(HostFunctions, name))
    parameters, results = (tuple(names[kind] for kind in kinds) for kinds in (shape.parameters, shape.results))
    assert RECORDED["env", name] == (parameters, results)


def used_methods() -> dict[str, set[str]]:
    """The methods of the host that each file of the SDK calls."""
    used: dict[str, set[str]] = {}
    for path in (path for path in SDK.glob("**/*.py") if "testing" not in path.parts):
        used[path.stem] = set(re.findall(r"_abi\.host\.(\w+)", path.read_text(encoding="utf-8")))
    return used


def test_the_sdk_calls_all_methods_and_no_others() -> None:
    """No method of the host is there for nothing, and none is misspelt; `bind` and `settle` are of the build."""
    called = set().union(*used_methods().values())
    assert called - {"bind", "settle"} == set(host_methods())


def resolve(place: str) -> object:
    """A public thing by its dotted name, as filters write it."""
    found: object = pywasmfilter
    for part in place.split("."):
        found = inspect.getattr_static(found, part) if inspect.isclass(found) else getattr(found, part)
    return found


PUBLIC = sorted({place for table in (FUNCTIONS, CALLBACKS) for row in table.values() for place in row.public})


@pytest.mark.parametrize("place", PUBLIC)
def test_filters_find_it(place: str) -> None:
    """What the tables say is there, and does not only look so because a base class has everything."""
    found = resolve(place)
    assert callable(found) or isinstance(found, property)


def test_no_function_of_hostcalls_is_without_a_row() -> None:
    """All of `hostcalls` is in the table, so what is new in it is held against the ABI too."""
    listed = {place.partition(".")[2] for place in PUBLIC if place.startswith("hostcalls.")}
    assert listed == set(hostcalls.__all__)


def test_advice_is_of_real_functions() -> None:
    """The advice in error messages is found by the ABI's names."""
    assert exceptions._ADVICE.keys() - FUNCTIONS.keys() == set()


NO_NAMES = {"proxy_wasm", "proxy_wasm_abi", "proxy_on_memory_allocate"}
"""A file of the shim, the ABI itself, and an allocator that other SDKs export."""


@pytest.mark.parametrize("folder", [SDK, SHIM, ROOT / "docs"], ids=lambda folder: folder.name)
def test_names_in_texts_are_real(folder: Path) -> None:
    """Every name of the ABI in comments, docstrings and pages exists."""
    known = {*FUNCTIONS, *CALLBACKS, *NOT_IMPLEMENTED, *NO_NAMES, *hosts.ABI_MARKERS}
    paths = [path for path in folder.rglob("*") if path.suffix in (".py", ".c", ".h", ".md")]
    assert paths
    for path in paths:
        names = set(re.findall(r"\bproxy_[a-z0-9_]*[a-z0-9]\b", path.read_text(encoding="utf-8")))
        assert {name for name in names - known if not name.endswith("_t")} == set(), path.name


# The SDK: callbacks

KINDS: dict[str, tuple[type[Any], list[type[Any]]]] = {
    "P": (PluginContext, [_dispatcher._RefusedPlugin]),
    "H": (HttpContext, [_dispatcher._RefusedStream, _dispatcher._UndecidedStream]),
    "T": (TcpContext, [_dispatcher._RefusedStream, _dispatcher._UndecidedStream]),
}
"""The contexts of a kind, and what may stand in their place."""
REPLIES = [
    name for name, row in CALLBACKS.items() if row.kinds == "P" and row.method.startswith(("_on_http", "_on_grpc"))
]


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback_finds_its_method(name: str) -> None:
    """Whatever can be in the table of contexts has the method that the shim calls, with the ABI's parameters.

    The end of a plugin that was refused brings no replies, since it made no calls.
    """
    row = CALLBACKS[name]
    parameters = len(CALLBACK_TYPES[name].params)
    if not row.kinds:
        assert len(inspect.signature(getattr(_dispatcher, row.method)).parameters) == parameters
        return
    for kind in row.kinds:
        own, others = KINDS[kind]
        method = inspect.signature(getattr(own, row.method))
        assert len(method.parameters) == parameters - (name in REPLIES), own.__name__
        for other in others:
            assert name in REPLIES or callable(getattr(other, row.method)), other.__name__


def test_exports_follow_overrides() -> None:
    """`_callbacks` exports what the table has as the methods of each kind, and always what the SDK needs."""
    for kind, methods in _callbacks.METHODS.items():
        of_kind = {
            name: place.partition(".")[2]
            for name, row in CALLBACKS.items()
            for place in row.public
            if not row.always and place.partition(".")[0] in (kind.__name__, "Context")
        }
        assert methods == of_kind, kind.__name__
    assert set(_callbacks.ALWAYS) == {name for name, row in CALLBACKS.items() if row.always}


def test_no_callback_of_a_context_is_without_a_row() -> None:
    """Every `on_…` method of a public class is in the table."""
    listed = {place for row in CALLBACKS.values() for place in row.public}
    for cls in (pywasmfilter.VMContext, pywasmfilter.Context, PluginContext, HttpContext, TcpContext):
        names = {f"{cls.__name__}.{name}" for name in vars(cls) if name.startswith("on_") and name != "on_error"}
        assert names <= listed, cls.__name__
    grpc = {f"GrpcStream.{name}" for name in vars(pywasmfilter.GrpcStream) if name.startswith("on_")}
    assert grpc <= listed
