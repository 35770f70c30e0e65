/* Python → host: one function per host call of the ABI.
 *
 * Text is UTF-8 with "surrogateescape", so any bytes a peer can send come through unchanged, and `str` and `bytes` are
 * both accepted wherever bytes go out. A status other than OK is raised by `bound.status_error`, except that a missing
 * header or property is None, since asking for one is not an error.
 */
#include "shim.h"

#define HOSTCALL(name) static PyObject *name(PyObject *self, PyObject *const *args, Py_ssize_t nargs)

static PyObject *none(void) { return Py_NewRef(Py_None); }

static int expect_arguments(const char *function, Py_ssize_t expected, Py_ssize_t found) {
    if (expected == found) return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, %zd were given", function, expected, found);
    return -1;
}

#define ARGUMENTS(expected)                                                                                            \
    if (expect_arguments(__func__, expected, nargs) < 0) return NULL

/* NULL with an exception if the status is not OK. */
static PyObject *finish(const char *function, uint32_t status) {
    if (status == STATUS_OK) return none();
    PyObject *name = PyUnicode_InternFromString(function);
    PyObject *number = PyLong_FromUnsignedLong(status);
    PyObject *result = NULL;
    if (name != NULL && number != NULL)
        result = PyObject_CallFunctionObjArgs(bound.status_error, name, number, NULL);
    if (name != NULL) Py_DecRef(name);
    if (number != NULL) Py_DecRef(number);
    if (result != NULL) Py_DecRef(result); /* it always raises */
    return NULL;
}

/* An integer argument. The caller checks PyErr_Occurred when it has read all of them. */
static int32_t integer(PyObject *value) { return (int32_t)PyLong_AsLong(value); }

/* Bytes of a str or bytes argument: borrowed from `owner`, which the caller releases with `release`. */
typedef struct {
    const char *data;
    size_t size;
    PyObject *owner; /* NULL: borrowed from the argument itself */
} View;

static void release(View *view) {
    if (view->owner != NULL) Py_DecRef(view->owner);
    view->owner = NULL;
}

static unsigned long type_flags(PyObject *object) {
    PyObject *type = PyObject_Type(object);
    unsigned long flags = PyType_GetFlags(type);
    Py_DecRef(type);
    return flags;
}

/* `errors` is for a str whose surrogates UTF-8 cannot hold. Nearly every argument is a str without any, so that is tried
 * before its type is asked for. */
static int view_with(const char *errors, PyObject *value, View *out) {
    Py_ssize_t size = 0;
    *out = (View){PyUnicode_AsUTF8AndSize(value, &size), 0, NULL};
    if (out->data == NULL) {
        PyErr_Clear();
        unsigned long flags = type_flags(value);
        if (flags & Py_TPFLAGS_UNICODE_SUBCLASS) {
            out->owner = value = PyUnicode_AsEncodedString(value, "utf-8", errors);
            if (value == NULL) return -1;
        } else if (!(flags & Py_TPFLAGS_BYTES_SUBCLASS)) {
            PyErr_Format(PyExc_TypeError, "expected str or bytes, not %R", value);
            return -1;
        }
        if (PyBytes_AsStringAndSize(value, (char **)&out->data, &size) < 0) {
            release(out);
            return -1;
        }
    }
    out->size = (size_t)size;
    return 0;
}

/* Surrogates stand for bytes that are not UTF-8. */
static int view(PyObject *value, View *out) { return view_with("surrogateescape", value, out); }

/* Like `view`, for a header name or value: what would let it break out of its line is refused. */
static int header_view(PyObject *value, View *out) {
    if (view(value, out) < 0) return -1;
    for (size_t i = 0; i < out->size; i++) {
        char byte = out->data[i];
        if (byte == '\n' || byte == '\r' || byte == '\0') {
            PyErr_Format(PyExc_ValueError, "a header must not contain a line break or NUL: %R", value);
            release(out);
            return -1;
        }
    }
    return 0;
}

/* Answers of the host: memory that it took from our malloc. */

static PyObject *take_bytes(char *data, size_t size) {
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    free(data);
    return bytes;
}

static PyObject *take_text(char *data, size_t size) {
    PyObject *text = PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, "surrogateescape");
    free(data);
    return text;
}

/* Logging, clocks and timers */

HOSTCALL(log_message) {
    ARGUMENTS(2);
    View message;
    int32_t level = integer(args[0]);
    if (PyErr_Occurred() || view_with("backslashreplace", args[1], &message) < 0) return NULL; /* any str can be logged */
    uint32_t status = proxy_log(level, message.data, message.size);
    release(&message);
    return finish("proxy_log", status);
}

HOSTCALL(get_log_level) {
    ARGUMENTS(0);
    int32_t level = 0;
    uint32_t status = proxy_get_log_level(&level);
    return status == STATUS_OK ? PyLong_FromLong(level) : finish("proxy_get_log_level", status);
}

HOSTCALL(get_current_time_nanoseconds) {
    ARGUMENTS(0);
    uint64_t time = 0;
    uint32_t status = proxy_get_current_time_nanoseconds(&time);
    if (status != STATUS_OK) return finish("proxy_get_current_time_nanoseconds", status);
    return PyLong_FromUnsignedLongLong(time);
}

HOSTCALL(set_tick_period_milliseconds) {
    ARGUMENTS(1);
    int32_t period = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    return finish("proxy_set_tick_period_milliseconds", proxy_set_tick_period_milliseconds((uint32_t)period));
}

/* Contexts and streams */

HOSTCALL(set_effective_context) {
    ARGUMENTS(1);
    int32_t context_id = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    return finish("proxy_set_effective_context", proxy_set_effective_context((uint32_t)context_id));
}

HOSTCALL(done) {
    ARGUMENTS(0);
    return finish("proxy_done", proxy_done());
}

HOSTCALL(continue_stream) {
    ARGUMENTS(1);
    int32_t type = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    return finish("proxy_continue_stream", proxy_continue_stream(type));
}

HOSTCALL(close_stream) {
    ARGUMENTS(1);
    int32_t type = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    return finish("proxy_close_stream", proxy_close_stream(type));
}

/* (status, details, body, serialized headers, gRPC status) */
HOSTCALL(send_local_response) {
    ARGUMENTS(5);
    View details = {0}, body = {0}, headers = {0};
    PyObject *result = NULL;
    int32_t code = integer(args[0]), grpc_status = integer(args[4]);
    if (!PyErr_Occurred() && view(args[1], &details) == 0 && view(args[2], &body) == 0 && view(args[3], &headers) == 0)
        result = finish("proxy_send_local_response",
                        proxy_send_local_response((uint32_t)code, details.data, details.size, body.data, body.size,
                                                  headers.data, headers.size, grpc_status));
    release(&details);
    release(&body);
    release(&headers);
    return result;
}

/* Buffers */

HOSTCALL(get_buffer_bytes) {
    ARGUMENTS(3);
    char *data = NULL;
    size_t size = 0;
    int32_t type = integer(args[0]), start = integer(args[1]), max_size = integer(args[2]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_get_buffer_bytes(type, (size_t)start, (size_t)max_size, &data, &size);
    return status == STATUS_OK ? take_bytes(data, size) : finish("proxy_get_buffer_bytes", status);
}

HOSTCALL(get_buffer_size) {
    ARGUMENTS(1);
    size_t size = 0;
    uint32_t flags = 0;
    int32_t type = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_get_buffer_status(type, &size, &flags);
    return status == STATUS_OK ? PyLong_FromUnsignedLong(size) : finish("proxy_get_buffer_status", status);
}

HOSTCALL(set_buffer_bytes) {
    ARGUMENTS(4);
    View data;
    int32_t type = integer(args[0]), start = integer(args[1]), size = integer(args[2]);
    if (PyErr_Occurred() || view(args[3], &data) < 0) return NULL;
    uint32_t status = proxy_set_buffer_bytes(type, (size_t)start, (size_t)size, data.data, data.size);
    release(&data);
    return finish("proxy_set_buffer_bytes", status);
}

/* Header maps */

HOSTCALL(get_header_map_size) {
    ARGUMENTS(1);
    size_t size = 0;
    int32_t map = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_get_header_map_size(map, &size);
    return status == STATUS_OK ? PyLong_FromUnsignedLong(size) : finish("proxy_get_header_map_size", status);
}

/* The map as the host serializes it; the SDK's `_serialization` reads it. */
HOSTCALL(get_header_map_pairs) {
    ARGUMENTS(1);
    char *data = NULL;
    size_t size = 0;
    int32_t map = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_get_header_map_pairs(map, &data, &size);
    return status == STATUS_OK ? take_bytes(data, size) : finish("proxy_get_header_map_pairs", status);
}

HOSTCALL(set_header_map_pairs) {
    ARGUMENTS(2);
    View pairs;
    int32_t map = integer(args[0]);
    if (PyErr_Occurred() || view(args[1], &pairs) < 0) return NULL;
    uint32_t status = proxy_set_header_map_pairs(map, pairs.data, pairs.size);
    release(&pairs);
    return finish("proxy_set_header_map_pairs", status);
}

/* str, or None if there is no such header */
HOSTCALL(get_header_map_value) {
    ARGUMENTS(2);
    View key;
    char *value = NULL;
    size_t size = 0;
    int32_t map = integer(args[0]);
    if (PyErr_Occurred() || view(args[1], &key) < 0) return NULL;
    uint32_t status = proxy_get_header_map_value(map, key.data, key.size, &value, &size);
    release(&key);
    if (status == STATUS_OK) return take_text(value, size);
    return status == STATUS_NOT_FOUND ? none() : finish("proxy_get_header_map_value", status);
}

static PyObject *store_header(const char *function, PyObject *const *args,
                              uint32_t (*host)(int32_t, const char *, size_t, const char *, size_t)) {
    View key, value;
    int32_t map = integer(args[0]);
    if (PyErr_Occurred() || header_view(args[1], &key) < 0) return NULL;
    if (header_view(args[2], &value) < 0) {
        release(&key);
        return NULL;
    }
    uint32_t status = host(map, key.data, key.size, value.data, value.size);
    release(&key);
    release(&value);
    return finish(function, status);
}

HOSTCALL(add_header_map_value) {
    ARGUMENTS(3);
    return store_header("proxy_add_header_map_value", args, proxy_add_header_map_value);
}

HOSTCALL(replace_header_map_value) {
    ARGUMENTS(3);
    return store_header("proxy_replace_header_map_value", args, proxy_replace_header_map_value);
}

HOSTCALL(remove_header_map_value) {
    ARGUMENTS(2);
    View key;
    int32_t map = integer(args[0]);
    if (PyErr_Occurred() || view(args[1], &key) < 0) return NULL;
    uint32_t status = proxy_remove_header_map_value(map, key.data, key.size);
    release(&key);
    return finish("proxy_remove_header_map_value", status);
}

/* Properties and foreign functions */

/* bytes, or None if there is no such property */
HOSTCALL(get_property) {
    ARGUMENTS(1);
    View path;
    char *value = NULL;
    size_t size = 0;
    if (view(args[0], &path) < 0) return NULL;
    uint32_t status = proxy_get_property(path.data, path.size, &value, &size);
    release(&path);
    if (status == STATUS_OK) return take_bytes(value, size);
    return status == STATUS_NOT_FOUND ? none() : finish("proxy_get_property", status);
}

HOSTCALL(set_property) {
    ARGUMENTS(2);
    View path, value;
    if (view(args[0], &path) < 0) return NULL;
    if (view(args[1], &value) < 0) {
        release(&path);
        return NULL;
    }
    uint32_t status = proxy_set_property(path.data, path.size, value.data, value.size);
    release(&path);
    release(&value);
    return finish("proxy_set_property", status);
}

HOSTCALL(call_foreign_function) {
    ARGUMENTS(2);
    View name, arguments;
    char *data = NULL;
    size_t size = 0;
    if (view(args[0], &name) < 0) return NULL;
    if (view(args[1], &arguments) < 0) {
        release(&name);
        return NULL;
    }
    uint32_t status =
        proxy_call_foreign_function(name.data, name.size, arguments.data, arguments.size, &data, &size);
    release(&name);
    release(&arguments);
    if (status == STATUS_OK) return take_bytes(data, size);
    free(data);
    return finish("proxy_call_foreign_function", status);
}

/* WASI */

/* The environment that the host gives the module: a list of "NAME=value" bytes. */
HOSTCALL(environ) {
    ARGUMENTS(0);
    size_t count = 0, size = 0;
    if (environ_sizes_get(&count, &size) != 0 || count == 0) return PyList_New(0);
    char **entries = malloc(count * sizeof(char *));
    char *data = malloc(size);
    PyObject *list = NULL;
    if (entries == NULL || data == NULL) {
        PyErr_NoMemory();
    } else if (environ_get(entries, data) != 0) {
        list = PyList_New(0);
    } else {
        list = PyList_New((Py_ssize_t)count);
        for (size_t i = 0; list != NULL && i < count; i++) {
            PyObject *entry = PyBytes_FromStringAndSize(entries[i], (Py_ssize_t)strlen(entries[i]));
            if (entry == NULL || PyList_SetItem(list, (Py_ssize_t)i, entry) < 0) {
                Py_DecRef(list);
                list = NULL;
            }
        }
    }
    free(entries);
    free(data);
    return list;
}

#define METHOD(name, doc) {#name, name, METH_FASTCALL, doc}

PyMethodDef hostcall_methods[] = {
    {"log", log_message, METH_FASTCALL, "log(level, message)"},
    METHOD(get_log_level, "get_log_level() -> int"),
    METHOD(get_current_time_nanoseconds, "get_current_time_nanoseconds() -> int"),
    METHOD(set_tick_period_milliseconds, "set_tick_period_milliseconds(period)"),
    METHOD(set_effective_context, "set_effective_context(context_id)"),
    METHOD(done, "done()"),
    METHOD(continue_stream, "continue_stream(stream_type)"),
    METHOD(close_stream, "close_stream(stream_type)"),
    METHOD(send_local_response, "send_local_response(status, details, body, headers, grpc_status)"),
    METHOD(get_buffer_bytes, "get_buffer_bytes(buffer_type, start, max_size) -> bytes"),
    METHOD(get_buffer_size, "get_buffer_size(buffer_type) -> int"),
    METHOD(set_buffer_bytes, "set_buffer_bytes(buffer_type, start, size, data)"),
    METHOD(get_header_map_size, "get_header_map_size(map_type) -> int"),
    METHOD(get_header_map_pairs, "get_header_map_pairs(map_type) -> bytes"),
    METHOD(set_header_map_pairs, "set_header_map_pairs(map_type, pairs)"),
    METHOD(get_header_map_value, "get_header_map_value(map_type, key) -> str | None"),
    METHOD(add_header_map_value, "add_header_map_value(map_type, key, value)"),
    METHOD(replace_header_map_value, "replace_header_map_value(map_type, key, value)"),
    METHOD(remove_header_map_value, "remove_header_map_value(map_type, key)"),
    METHOD(get_property, "get_property(path) -> bytes | None"),
    METHOD(set_property, "set_property(path, value)"),
    METHOD(call_foreign_function, "call_foreign_function(name, arguments) -> bytes"),
    METHOD(environ, "environ() -> list[bytes]"),
    {0},
};
