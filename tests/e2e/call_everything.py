"""For filters: calls all that is written in C and can be found in the interpreter, with arguments of many kinds.

`call_everything` makes objects of every type it can, and calls every method and operator of fresh ones, reads, sets and
deletes every attribute. What would end the VM by itself, or take it forever, is left out.
"""

# It becomes part of filters, as text: types would only be in the way, and catching everything is what it is for.
# mypy: ignore-errors
# ruff: noqa: ANN201, B905, BLE001, PLW0108, RUF023, SIM105, TRY301

import gc
import sys
import types

CALLABLE = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, type)
HARMFUL_MODULES = {"_thread", "_signal", "_imp", "gc", "sys", "posix", "faulthandler", "componentize_py_runtime"}
HARMFUL = {"input", "breakpoint", "sleep", "__subclasses__", "mro", "__class__", "select", "poll", "_exit", "abort"}
HARMFUL.add("enable")  # of a profiler: it has all code prepared anew each time
ARGUMENTS = ((), (1,), ("x",), ([],), ((), ()), (b"x", 1), (len, [1]), ({},), (None,), (2.5, 2), ("ab", "b"), (1, 2, 3))


def generator():
    yield 1


async def coroutine():
    return 1


async def async_generator():
    yield 1


class Plain:
    __slots__ = ("x", "__weakref__")

    def method(self):
        return self


def raised():
    try:
        raise ValueError(1)
    except ValueError as error:
        return error


def closed_over(x=1):
    return lambda: x


FRESH = (
    *(generator, coroutine, async_generator, Plain, raised, closed_over, object, type(Ellipsis)),
    *(lambda: coroutine().__await__(), lambda: async_generator().__anext__(), lambda: async_generator().asend(None)),
    *(
        lambda: async_generator().aclose(),
        lambda: Plain().method,
        lambda: [].append,
        lambda: closed_over().__closure__[0],
    ),
    *(lambda: closed_over().__code__, lambda: generator().gi_frame, lambda: raised().__traceback__, lambda: "".join),
    *(
        lambda: Plain.x,
        lambda: Plain.method,
        lambda: int.__add__,
        lambda: (1).__add__,
        lambda: int.real,
        lambda: property(len),
    ),
    *(
        lambda: iter([1, 2]),
        lambda: reversed([1]),
        lambda: iter((1,)),
        lambda: iter("ab"),
        lambda: iter("\xe4"),
        lambda: iter(b"ab"),
    ),
    *(
        lambda: iter({1: 2}),
        lambda: reversed({1: 2}),
        lambda: {1: 2}.keys(),
        lambda: {1: 2}.values(),
        lambda: {1: 2}.items(),
    ),
    *(lambda: iter({1: 2}.items()), lambda: iter({1: 2}.values()), lambda: iter({1}), lambda: iter(range(3))),
    *(
        lambda: iter(range(1 << 70, (1 << 70) + 2)),
        lambda: range(3),
        lambda: iter(int, 0),
        lambda: iter(bytearray(b"a")),
    ),
    *(
        lambda: zip([1], [2]),
        lambda: map(str, [1]),
        lambda: filter(None, [1]),
        lambda: enumerate([1]),
        lambda: slice(1, 2),
    ),
    *(lambda: memoryview(b"abc"), lambda: iter(memoryview(b"abc")), lambda: memoryview(bytearray(4)).cast("I")),
    *(
        lambda: bytearray(b"abc"),
        lambda: [1, 2, 3],
        lambda: (1, 2, 3),
        lambda: {1: 2},
        lambda: {1, 2},
        lambda: frozenset({1}),
    ),
    *(
        lambda: "abc",
        lambda: "\xe4\u20ac",
        lambda: b"abc",
        lambda: 5,
        lambda: 1 << 70,
        lambda: 2.5,
        lambda: 2j,
        lambda: True,
    ),
    *(lambda: types.MappingProxyType({1: 2}), lambda: types.SimpleNamespace(a=1), lambda: types.ModuleType("m")),
    *(lambda: list[int], lambda: int | str, lambda: iter(list[int]), lambda: types.MethodType(len, [])),
    *(lambda: classmethod(len), lambda: staticmethod(len), lambda: super(Plain, Plain()), lambda: type("T", (), {})),
    *(lambda: NotImplemented, lambda: None, lambda: len, lambda: dict.fromkeys, lambda: Plain.__dict__["__weakref__"]),
    *(lambda: __import__("_weakref").ref(Plain), lambda: __import__("_weakref").proxy(closed_over)),
    *(lambda: ExceptionGroup("g", [ValueError(1)]), lambda: UnicodeDecodeError("utf-8", b"a", 0, 1, "r")),
    *(
        lambda: UnicodeEncodeError("utf-8", "a", 0, 1, "r"),
        lambda: SyntaxError("m", ("f", 1, 2, "t")),
        lambda: OSError(1, "m"),
    ),
)
"""Functions that make an object each of types that cannot be called, or not so."""


def call_everything():
    found = find()
    calls = sum(call(item, arguments) for item in found for arguments in ARGUMENTS if may_be_called(item))
    seen = set()
    for make in (*FRESH, *factories(found)):
        try:
            cls = type(make())
        except BaseException:
            continue
        if cls not in seen:
            seen.add(cls)
            calls += use_all_of(cls, make)
    return f"{calls} {len(seen)}"


def find():
    gc.unfreeze()  # what was there when the module was built
    found = {id(item): item for item in [*gc.get_objects(), *object.__subclasses__()]}
    for item in list(found.values()):
        found.update((id(each), each) for each in gc.get_referents(item))
    return [item for item in found.values() if isinstance(item, CALLABLE)]


def may_be_called(item):
    owner = getattr(item, "__objclass__", None)
    module = f"{item.__module__} {owner}" if hasattr(item, "__module__") else str(owner)
    if module.split()[0] in HARMFUL_MODULES or "pywasmfilter" in module or "lock" in module or item is type:
        return False
    return getattr(item, "__name__", "") not in HARMFUL


def factories(found):
    for cls in found:
        if isinstance(cls, type) and may_be_called(cls) and is_native(cls):
            for arguments in ARGUMENTS:
                yield lambda cls=cls, arguments=arguments: only(cls, cls(*arguments))


def is_native(cls):
    """Whether it is a type that has no Python code, and works by itself: those of `datetime` need their module to be
    imported, a queue waits for other threads, and the step of a task must not be made without its task.
    """
    if cls.__module__ == "datetime" and "datetime" not in sys.modules:
        return False
    if cls.__name__ in ("SimpleQueue", "TaskStepMethWrapper"):
        return False
    return not any(isinstance(value, types.FunctionType) for value in vars(cls).values())


def only(cls, item):
    if type(item) is not cls:
        raise TypeError
    return item


def use_all_of(cls, make):
    calls = 0
    for name in {name for base in cls.__mro__ for name in vars(base)} - HARMFUL:
        for arguments in ARGUMENTS:
            calls += use(make, name, arguments)
    return calls


def use(make, name, arguments):
    try:
        item = make()
        value = getattr(item, name)
        if callable(value) and not isinstance(value, type):
            repr(value(*arguments))
        else:
            setattr(item, name, arguments[0] if arguments else None)
            delattr(item, name)
        repr(item)
    except BaseException:
        pass
    return 1


def call(item, arguments):
    try:
        repr(item(*arguments))
    except BaseException:
        pass
    return 1
