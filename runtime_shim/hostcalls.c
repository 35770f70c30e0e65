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

/* Integer arguments. The caller checks PyErr_Occurred when it has read all of them. */
static int32_t integer(PyObject *value) { return (int32_t)PyLong_AsLong(value); }
static uint32_t natural(PyObject *value) { return (uint32_t)PyLong_AsUnsignedLong(value); }

static PyObject *number_or_error(const char *function, uint32_t status, uint32_t number) {
    return status == STATUS_OK ? PyLong_FromUnsignedLong(number) : finish(function, status);
}

/* Logging, clocks and timers */

HOSTCALL(log_message) {
    ARGUMENTS(2);
    View message;
    int32_t level = integer(args[0]);
    if (PyErr_Occurred() || view_with("backslashreplace", args[1], &message) < 0) return NULL; /* any str can be logged */
    uint32_t status = proxy_log(level, message.data, message.size);
    release(&message);
    if (status == STATUS_INTERNAL_FAILURE) return none(); /* an operator who forbids to log does not want exceptions */
    return finish("proxy_log", status);
}

HOSTCALL(get_log_level) {
    ARGUMENTS(0);
    int32_t level = 0;
    uint32_t status = proxy_get_log_level(&level);
    return number_or_error("proxy_get_log_level", status, (uint32_t)level);
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
    uint32_t period = natural(args[0]);
    return PyErr_Occurred() ? NULL
                            : finish("proxy_set_tick_period_milliseconds", proxy_set_tick_period_milliseconds(period));
}

/* Contexts and streams */

PyObject *turn_to(uint32_t context_id) {
    uint32_t status = proxy_set_effective_context(context_id);
    if (status == STATUS_OK) running.effective = context_id == 0 ? running.calling : context_id;
    return finish("proxy_set_effective_context", status);
}

HOSTCALL(set_effective_context) {
    ARGUMENTS(1);
    uint32_t context_id = natural(args[0]);
    return PyErr_Occurred() ? NULL : turn_to(context_id);
}

/* Not a host call: what the shim knows about the callback that is running. */
HOSTCALL(get_effective_context) {
    ARGUMENTS(0);
    return PyLong_FromUnsignedLong(running.effective);
}

/* Not a host call: the stream type that the running callback's answer can pause, if calls act on its context; else -1. */
HOSTCALL(get_running_stream) {
    ARGUMENTS(0);
    return PyLong_FromLong(running.effective == running.calling ? running.stream : -1);
}

/* Not a host call: the stream type that the running callback's answer can pause, whatever calls act on; -1 if none. */
HOSTCALL(get_answered_stream) {
    ARGUMENTS(0);
    return PyLong_FromLong(running.stream);
}

/* Not a host call: a number for each call of the host into the module, the same for callbacks inside that call. */
HOSTCALL(get_call_number) {
    ARGUMENTS(0);
    return PyLong_FromUnsignedLong(running.number);
}

/* Not a host call: contexts hear of proxy_on_delete from now on. */
HOSTCALL(notify_deletes) {
    ARGUMENTS(0);
    notifies_deletes = 1;
    return none();
}

/* Not a host call: (size of the VM's memory, its bound, bytes in use, blocks in use, streams begun) */
HOSTCALL(get_memory) {
    ARGUMENTS(0);
    HeapUse use;
    if (measure_heap(&use) < 0) return PyErr_Format(PyExc_RuntimeError, "the heap is not as its allocator lays it out");
    uint64_t figures[] = {memory_size(), settled.max_memory, use.bytes, use.blocks, streams_begun};
    enum { COUNT = sizeof figures / sizeof *figures };
    PyObject *list = PyList_New(COUNT);
    for (Py_ssize_t i = 0; list != NULL && i < COUNT; i++) {
        PyObject *figure = PyLong_FromUnsignedLongLong(figures[i]);
        if (figure == NULL || PyList_SetItem(list, i, figure) < 0) {
            Py_DecRef(list);
            list = NULL;
        }
    }
    return list;
}

HOSTCALL(done) {
    ARGUMENTS(0);
    return finish("proxy_done", proxy_done());
}

HOSTCALL(continue_stream) {
    ARGUMENTS(1);
    int32_t type = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_continue_stream(type);
    if (status == STATUS_UNIMPLEMENTED && type == STREAM_HTTP_REQUEST) status = proxy_continue_request();
    if (status == STATUS_UNIMPLEMENTED && type == STREAM_HTTP_RESPONSE) status = proxy_continue_response();
    return finish("proxy_continue_stream", status);
}

HOSTCALL(close_stream) {
    ARGUMENTS(1);
    int32_t type = integer(args[0]);
    return PyErr_Occurred() ? NULL : finish("proxy_close_stream", proxy_close_stream(type));
}

HOSTCALL(clear_route_cache) {
    ARGUMENTS(0);
    return finish("proxy_clear_route_cache", proxy_clear_route_cache());
}

/* (status, details, body, serialized headers, gRPC status) */
HOSTCALL(send_local_response) {
    ARGUMENTS(5);
    View texts[3];
    uint32_t code = natural(args[0]);
    int32_t grpc_status = integer(args[4]);
    if (PyErr_Occurred() || view_all(args + 1, texts, 3) < 0) return NULL;
    uint32_t status = proxy_send_local_response(code, texts[0].data, texts[0].size, texts[1].data, texts[1].size,
                                                texts[2].data, texts[2].size, grpc_status);
    release_all(texts, 3);
    return finish("proxy_send_local_response", status);
}

/* Buffers */

/* A configuration is a buffer, except in 0.1.0, which has a function for the one that is being set. */
static uint32_t read_buffer(int32_t type, size_t start, size_t max_size, char **data, size_t *size) {
    if (type == BUFFER_VM_CONFIGURATION || type == BUFFER_PLUGIN_CONFIGURATION) {
        uint32_t status = proxy_get_configuration(data, size);
        if (status != STATUS_UNIMPLEMENTED) return status;
    }
    return proxy_get_buffer_bytes(type, start, max_size, data, size);
}

HOSTCALL(get_buffer_bytes) {
    ARGUMENTS(3);
    char *data = NULL;
    size_t size = 0;
    int32_t type = integer(args[0]);
    uint32_t start = natural(args[1]), max_size = natural(args[2]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = read_buffer(type, start, max_size, &data, &size);
    return status == STATUS_OK ? take_bytes(data, size) : finish("proxy_get_buffer_bytes", status);
}

HOSTCALL(get_buffer_size) {
    ARGUMENTS(1);
    size_t size = 0;
    uint32_t flags = 0;
    int32_t type = integer(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_get_buffer_status(type, &size, &flags);
    return number_or_error("proxy_get_buffer_status", status, size);
}

HOSTCALL(set_buffer_bytes) {
    ARGUMENTS(4);
    View data;
    int32_t type = integer(args[0]);
    uint32_t start = natural(args[1]), size = natural(args[2]);
    if (PyErr_Occurred() || view(args[3], &data) < 0) return NULL;
    uint32_t status = proxy_set_buffer_bytes(type, start, size, data.data, data.size);
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
    return number_or_error("proxy_get_header_map_size", status, size);
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

PyObject *get_header(int32_t map, PyObject *key) {
    View name;
    char *value = NULL;
    size_t size = 0;
    if (view(key, &name) < 0) return NULL;
    uint32_t status = proxy_get_header_map_value(map, name.data, name.size, &value, &size);
    release(&name);
    if (status == STATUS_OK && size == 0 && settled.missing_header_is_empty) return none();
    if (status == STATUS_OK) return take_text(value, size);
    return status == STATUS_NOT_FOUND ? none() : finish("proxy_get_header_map_value", status);
}

typedef uint32_t StoreHeader(int32_t map, const char *key, size_t key_size, const char *value, size_t value_size);

static PyObject *store_header(const char *function, StoreHeader *host, int32_t map, PyObject *key, PyObject *value) {
    View name, text;
    if (header_view(key, &name) < 0) return NULL;
    if (header_view(value, &text) < 0) {
        release(&name);
        return NULL;
    }
    uint32_t status = host(map, name.data, name.size, text.data, text.size);
    release(&name);
    release(&text);
    return finish(function, status);
}

PyObject *add_header(int32_t map, PyObject *key, PyObject *value) {
    return store_header("proxy_add_header_map_value", proxy_add_header_map_value, map, key, value);
}

PyObject *replace_header(int32_t map, PyObject *key, PyObject *value) {
    return store_header("proxy_replace_header_map_value", proxy_replace_header_map_value, map, key, value);
}

PyObject *remove_header(int32_t map, PyObject *key) {
    View name;
    if (view(key, &name) < 0) return NULL;
    uint32_t status = proxy_remove_header_map_value(map, name.data, name.size);
    release(&name);
    return finish("proxy_remove_header_map_value", status);
}

HOSTCALL(get_header_map_value) {
    ARGUMENTS(2);
    int32_t map = integer(args[0]);
    return PyErr_Occurred() ? NULL : get_header(map, args[1]);
}

HOSTCALL(add_header_map_value) {
    ARGUMENTS(3);
    int32_t map = integer(args[0]);
    return PyErr_Occurred() ? NULL : add_header(map, args[1], args[2]);
}

HOSTCALL(replace_header_map_value) {
    ARGUMENTS(3);
    int32_t map = integer(args[0]);
    return PyErr_Occurred() ? NULL : replace_header(map, args[1], args[2]);
}

HOSTCALL(remove_header_map_value) {
    ARGUMENTS(2);
    int32_t map = integer(args[0]);
    return PyErr_Occurred() ? NULL : remove_header(map, args[1]);
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
    View texts[2]; /* path, value */
    if (view_all(args, texts, 2) < 0) return NULL;
    uint32_t status = proxy_set_property(texts[0].data, texts[0].size, texts[1].data, texts[1].size);
    release_all(texts, 2);
    return finish("proxy_set_property", status);
}

HOSTCALL(call_foreign_function) {
    ARGUMENTS(2);
    View texts[2]; /* name, arguments */
    char *data = NULL;
    size_t size = 0;
    if (view_all(args, texts, 2) < 0) return NULL;
    uint32_t status = proxy_call_foreign_function(texts[0].data, texts[0].size, texts[1].data, texts[1].size, &data, &size);
    release_all(texts, 2);
    if (status == STATUS_OK) return take_bytes(data, size);
    free(data);
    return finish("proxy_call_foreign_function", status);
}

/* HTTP and gRPC calls */

/* (cluster, headers, body, trailers, timeout in ms) → token */
HOSTCALL(http_call) {
    ARGUMENTS(5);
    View texts[4];
    uint32_t token = 0, timeout = natural(args[4]);
    if (PyErr_Occurred() || view_all(args, texts, 4) < 0) return NULL;
    uint32_t status = proxy_http_call(texts[0].data, texts[0].size, texts[1].data, texts[1].size, texts[2].data,
                                      texts[2].size, texts[3].data, texts[3].size, timeout, &token);
    release_all(texts, 4);
    return number_or_error("proxy_http_call", status, token);
}

/* (service, service name, method, initial metadata, message, timeout in ms) → token */
HOSTCALL(grpc_call) {
    ARGUMENTS(6);
    View texts[5];
    uint32_t token = 0, timeout = natural(args[5]);
    if (PyErr_Occurred() || view_all(args, texts, 5) < 0) return NULL;
    uint32_t status =
        proxy_grpc_call(texts[0].data, texts[0].size, texts[1].data, texts[1].size, texts[2].data, texts[2].size,
                        texts[3].data, texts[3].size, texts[4].data, texts[4].size, timeout, &token);
    release_all(texts, 5);
    return number_or_error("proxy_grpc_call", status, token);
}

/* (service, service name, method, initial metadata) → token */
HOSTCALL(grpc_stream) {
    ARGUMENTS(4);
    View texts[4];
    uint32_t token = 0;
    if (view_all(args, texts, 4) < 0) return NULL;
    uint32_t status = proxy_grpc_stream(texts[0].data, texts[0].size, texts[1].data, texts[1].size, texts[2].data,
                                        texts[2].size, texts[3].data, texts[3].size, &token);
    release_all(texts, 4);
    return number_or_error("proxy_grpc_stream", status, token);
}

/* (token, message, end of stream) */
HOSTCALL(grpc_send) {
    ARGUMENTS(3);
    View message;
    uint32_t token = natural(args[0]);
    int32_t end_of_stream = integer(args[2]);
    if (PyErr_Occurred() || view(args[1], &message) < 0) return NULL;
    uint32_t status = proxy_grpc_send(token, message.data, message.size, end_of_stream);
    release(&message);
    return finish("proxy_grpc_send", status);
}

HOSTCALL(grpc_close) {
    ARGUMENTS(1);
    uint32_t token = natural(args[0]);
    return PyErr_Occurred() ? NULL : finish("proxy_grpc_close", proxy_grpc_close(token));
}

HOSTCALL(grpc_cancel) {
    ARGUMENTS(1);
    uint32_t token = natural(args[0]);
    return PyErr_Occurred() ? NULL : finish("proxy_grpc_cancel", proxy_grpc_cancel(token));
}

/* (code, message) */
HOSTCALL(get_status) {
    ARGUMENTS(0);
    uint32_t code = 0;
    char *message = NULL;
    size_t size = 0;
    uint32_t status = proxy_get_status(&code, &message, &size);
    if (status != STATUS_OK) return finish("proxy_get_status", status);
    return take_pair(PyLong_FromUnsignedLong(code), take_text(message, size));
}

/* Shared data and queues */

/* key → (value, cas) */
HOSTCALL(get_shared_data) {
    ARGUMENTS(1);
    View key;
    char *value = NULL;
    size_t size = 0;
    uint32_t cas = 0;
    if (view(args[0], &key) < 0) return NULL;
    uint32_t status = proxy_get_shared_data(key.data, key.size, &value, &size, &cas);
    release(&key);
    if (status != STATUS_OK) return finish("proxy_get_shared_data", status);
    return take_pair(take_bytes(value, size), PyLong_FromUnsignedLong(cas));
}

/* (key, value, cas) */
HOSTCALL(set_shared_data) {
    ARGUMENTS(3);
    View texts[2];
    uint32_t cas = natural(args[2]);
    if (PyErr_Occurred() || view_all(args, texts, 2) < 0) return NULL;
    uint32_t status = proxy_set_shared_data(texts[0].data, texts[0].size, texts[1].data, texts[1].size, cas);
    release_all(texts, 2);
    return finish("proxy_set_shared_data", status);
}

HOSTCALL(register_shared_queue) {
    ARGUMENTS(1);
    View name;
    uint32_t id = 0;
    if (view(args[0], &name) < 0) return NULL;
    uint32_t status = proxy_register_shared_queue(name.data, name.size, &id);
    release(&name);
    return number_or_error("proxy_register_shared_queue", status, id);
}

/* (VM id, name) → queue id */
HOSTCALL(resolve_shared_queue) {
    ARGUMENTS(2);
    View texts[2];
    uint32_t id = 0;
    if (view_all(args, texts, 2) < 0) return NULL;
    uint32_t status = proxy_resolve_shared_queue(texts[0].data, texts[0].size, texts[1].data, texts[1].size, &id);
    release_all(texts, 2);
    return number_or_error("proxy_resolve_shared_queue", status, id);
}

HOSTCALL(enqueue_shared_queue) {
    ARGUMENTS(2);
    View data;
    uint32_t id = natural(args[0]);
    if (PyErr_Occurred() || view(args[1], &data) < 0) return NULL;
    uint32_t status = proxy_enqueue_shared_queue(id, data.data, data.size);
    release(&data);
    return finish("proxy_enqueue_shared_queue", status);
}

HOSTCALL(dequeue_shared_queue) {
    ARGUMENTS(1);
    char *data = NULL;
    size_t size = 0;
    uint32_t id = natural(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_dequeue_shared_queue(id, &data, &size);
    return status == STATUS_OK ? take_bytes(data, size) : finish("proxy_dequeue_shared_queue", status);
}

/* Metrics */

HOSTCALL(define_metric) {
    ARGUMENTS(2);
    View name;
    uint32_t id = 0;
    int32_t type = integer(args[0]);
    if (PyErr_Occurred() || view(args[1], &name) < 0) return NULL;
    uint32_t status = proxy_define_metric(type, name.data, name.size, &id);
    release(&name);
    return number_or_error("proxy_define_metric", status, id);
}

HOSTCALL(increment_metric) {
    ARGUMENTS(2);
    uint32_t id = natural(args[0]);
    int64_t offset = PyLong_AsLongLong(args[1]);
    return PyErr_Occurred() ? NULL : finish("proxy_increment_metric", proxy_increment_metric(id, offset));
}

HOSTCALL(record_metric) {
    ARGUMENTS(2);
    uint32_t id = natural(args[0]);
    uint64_t value = PyLong_AsUnsignedLongLong(args[1]);
    return PyErr_Occurred() ? NULL : finish("proxy_record_metric", proxy_record_metric(id, value));
}

HOSTCALL(get_metric) {
    ARGUMENTS(1);
    uint64_t value = 0;
    uint32_t id = natural(args[0]);
    if (PyErr_Occurred()) return NULL;
    uint32_t status = proxy_get_metric(id, &value);
    return status == STATUS_OK ? PyLong_FromUnsignedLongLong(value) : finish("proxy_get_metric", status);
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
    METHOD(get_effective_context, "get_effective_context() -> int"),
    METHOD(get_running_stream, "get_running_stream() -> int"),
    METHOD(get_answered_stream, "get_answered_stream() -> int"),
    METHOD(get_call_number, "get_call_number() -> int"),
    METHOD(notify_deletes, "notify_deletes()"),
    METHOD(get_memory, "get_memory() -> list[int]"),
    METHOD(done, "done()"),
    METHOD(continue_stream, "continue_stream(stream_type)"),
    METHOD(close_stream, "close_stream(stream_type)"),
    METHOD(clear_route_cache, "clear_route_cache()"),
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
    METHOD(http_call, "http_call(cluster, headers, body, trailers, timeout) -> int"),
    METHOD(grpc_call, "grpc_call(service, service_name, method, initial_metadata, message, timeout) -> int"),
    METHOD(grpc_stream, "grpc_stream(service, service_name, method, initial_metadata) -> int"),
    METHOD(grpc_send, "grpc_send(token, message, end_of_stream)"),
    METHOD(grpc_close, "grpc_close(token)"),
    METHOD(grpc_cancel, "grpc_cancel(token)"),
    METHOD(get_status, "get_status() -> tuple[int, str]"),
    METHOD(get_shared_data, "get_shared_data(key) -> tuple[bytes, int]"),
    METHOD(set_shared_data, "set_shared_data(key, value, cas)"),
    METHOD(register_shared_queue, "register_shared_queue(name) -> int"),
    METHOD(resolve_shared_queue, "resolve_shared_queue(vm_id, name) -> int"),
    METHOD(enqueue_shared_queue, "enqueue_shared_queue(queue_id, data)"),
    METHOD(dequeue_shared_queue, "dequeue_shared_queue(queue_id) -> bytes"),
    METHOD(define_metric, "define_metric(type, name) -> int"),
    METHOD(increment_metric, "increment_metric(metric_id, offset)"),
    METHOD(record_metric, "record_metric(metric_id, value)"),
    METHOD(get_metric, "get_metric(metric_id) -> int"),
    METHOD(environ, "environ() -> list[bytes]"),
    {0},
};
