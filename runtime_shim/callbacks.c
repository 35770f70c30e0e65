/* Host → Python: the exports that a Proxy-Wasm host calls.
 *
 * A callback finds its context in the dispatcher's table and calls the method of the Go SDK's name. Python exceptions
 * never reach the host: `bound.on_exception` logs them and says what to answer. If even that fails (no memory, no
 * stack), the fallback here answers 500 where a request could otherwise slip through.
 */
#include "shim.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

enum Method {
    ON_PLUGIN_START,
    ON_PLUGIN_DONE,
    ON_TICK,
    ON_HTTP_REQUEST_HEADERS,
    ON_HTTP_REQUEST_BODY,
    ON_HTTP_REQUEST_TRAILERS,
    ON_HTTP_RESPONSE_HEADERS,
    ON_HTTP_RESPONSE_BODY,
    ON_HTTP_RESPONSE_TRAILERS,
    ON_LOG,
    METHODS,
};

static const char *const method_names[METHODS] = {
    [ON_PLUGIN_START] = "_on_configure",
    [ON_PLUGIN_DONE] = "_on_done",
    [ON_TICK] = "on_tick",
    [ON_HTTP_REQUEST_HEADERS] = "on_http_request_headers",
    [ON_HTTP_REQUEST_BODY] = "on_http_request_body",
    [ON_HTTP_REQUEST_TRAILERS] = "on_http_request_trailers",
    [ON_HTTP_RESPONSE_HEADERS] = "on_http_response_headers",
    [ON_HTTP_RESPONSE_BODY] = "on_http_response_body",
    [ON_HTTP_RESPONSE_TRAILERS] = "on_http_response_trailers",
    [ON_LOG] = "_on_log",
};

static PyObject *methods[METHODS];

int intern_method_names(void) {
    for (int i = 0; i < METHODS; i++) {
        methods[i] = PyUnicode_InternFromString(method_names[i]);
        if (methods[i] == NULL) return -1;
    }
    return 0;
}

static int is_of_stream(enum Method method) {
    return method >= ON_HTTP_REQUEST_HEADERS && method <= ON_HTTP_RESPONSE_TRAILERS;
}

/* A callback's answer if Python gives none that can be used. */
static int32_t fall_back(enum Method method, uint32_t context_id, int32_t failure) {
    static const char message[] = "a callback failed, and so did the handling of its exception";
    PyErr_Clear();
    proxy_log(LOG_CRITICAL, message, sizeof message - 1);
    if (is_of_stream(method)) {
        proxy_set_effective_context(context_id); /* the callback may have turned to another */
        proxy_send_local_response(500, NULL, 0, NULL, 0, NULL, 0, -1);
    }
    return failure;
}

/* The number in a callback's answer; takes the reference. None means `otherwise`. Sets TypeError for what is none, and
 * for a stream's callback if it is no Action. */
static int32_t answer(enum Method method, PyObject *result, int32_t otherwise) {
    long value = otherwise;
    if (result != Py_None && method != ON_TICK && method != ON_LOG) {
        value = PyLong_AsLong(result);
        int is_bool = result == Py_True || result == Py_False;
        if (PyErr_Occurred() || (is_of_stream(method) && (is_bool || (value != ACTION_CONTINUE && value != ACTION_PAUSE)))) {
            PyErr_Clear();
            const char *expected = is_of_stream(method) ? "an Action or None" : "True, False or None";
            PyErr_Format(PyExc_TypeError, "the callback returned %.200R, not %s", result, expected);
        }
    }
    Py_DecRef(result);
    return (int32_t)value;
}

/* Let the dispatcher handle the exception that is set. */
static int32_t handle_exception(PyObject *context, enum Method method, uint32_t context_id, int32_t failure) {
    PyObject *exception = PyErr_GetRaisedException();
    if (exception == NULL) return fall_back(method, context_id, failure);
    PyObject *result = PyObject_CallFunctionObjArgs(bound.on_exception, context, methods[method], exception, NULL);
    Py_DecRef(exception);
    if (result == NULL) return fall_back(method, context_id, failure);
    int32_t value = answer(method, result, failure);
    return PyErr_Occurred() ? fall_back(method, context_id, failure) : value;
}

/* The interpreter is in the middle of a run that the snapshot froze; it must take its lock once before any use. */
static void enter(void) {
    static int entered;
    if (!entered) {
        PyGILState_Ensure();
        entered = 1;
    }
}

/* Call a method of a context. `otherwise` answers for None, and for a context that is None since the plugin does not
 * look at the stream; `failure` for an exception that cannot be handled, and for a context that could not be created.
 * Takes the references of the arguments. */
static int32_t call(enum Method method, uint32_t context_id, PyObject *first, PyObject *second, int32_t otherwise,
                    int32_t failure) {
    PyObject *key = PyLong_FromUnsignedLong(context_id);
    PyObject *context = key == NULL ? NULL : PyDict_GetItemWithError(bound.contexts, key); /* borrowed */
    int32_t value = otherwise;
    if (PyErr_Occurred()) { /* no memory for an argument */
        value = fall_back(method, context_id, failure);
    } else if (context != NULL && context != Py_None) {
        Py_IncRef(context);
        PyObject *slots[] = {NULL, context, first, second};
        size_t count = 1 + (first != NULL) + (second != NULL);
        PyObject *result =
            PyObject_VectorcallMethod(methods[method], slots + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (result != NULL) value = answer(method, result, otherwise);
        if (PyErr_Occurred()) value = handle_exception(context, method, context_id, failure);
        Py_DecRef(context);
    } else if (context == NULL && (is_of_stream(method) || method == ON_PLUGIN_START)) {
        value = fall_back(method, context_id, failure);
    }
    if (key != NULL) Py_DecRef(key);
    if (first != NULL) Py_DecRef(first);
    if (second != NULL) Py_DecRef(second);
    return value;
}

static int32_t call_stream(enum Method method, uint32_t context_id, int32_t size, int32_t end_of_stream) {
    enter();
    return call(method, context_id, PyLong_FromLong(size), PyBool_FromLong(end_of_stream), ACTION_CONTINUE, ACTION_PAUSE);
}

/* The ABI's marker and allocator. `malloc` and `free` are the C library's own: the host calls malloc while Python is
 * in the middle of a host call, so it must not enter Python. */

void EXPORT(proxy_abi_version_0_2_1)(void) {}

/* Life of a VM and its plugins */

void EXPORT(proxy_on_context_create)(uint32_t context_id, uint32_t parent_id) {
    enter();
    PyObject *arguments[] = {PyLong_FromUnsignedLong(context_id), PyLong_FromUnsignedLong(parent_id)};
    PyObject *result = NULL;
    if (arguments[0] != NULL && arguments[1] != NULL)
        result = PyObject_Vectorcall(bound.on_context_create, arguments, 2, NULL);
    if (result != NULL)
        Py_DecRef(result);
    else
        fall_back(METHODS, context_id, 0);
    if (arguments[0] != NULL) Py_DecRef(arguments[0]);
    if (arguments[1] != NULL) Py_DecRef(arguments[1]);
}

int32_t EXPORT(proxy_on_vm_start)(uint32_t context_id, int32_t configuration_size) {
    enter();
    PyObject *id = PyLong_FromUnsignedLong(context_id), *size = PyLong_FromLong(configuration_size);
    PyObject *result = NULL;
    if (id != NULL && size != NULL) result = PyObject_CallFunctionObjArgs(bound.on_vm_start, id, size, NULL);
    int32_t value = result != NULL ? answer(METHODS, result, 1) : fall_back(METHODS, context_id, 0);
    if (id != NULL) Py_DecRef(id);
    if (size != NULL) Py_DecRef(size);
    return value;
}

int32_t EXPORT(proxy_on_configure)(uint32_t context_id, int32_t configuration_size) {
    enter();
    return call(ON_PLUGIN_START, context_id, PyLong_FromLong(configuration_size), NULL, 1, 0);
}

void EXPORT(proxy_on_tick)(uint32_t context_id) {
    enter();
    call(ON_TICK, context_id, NULL, NULL, 0, 0);
}

int32_t EXPORT(proxy_on_done)(uint32_t context_id) {
    enter();
    return call(ON_PLUGIN_DONE, context_id, NULL, NULL, 1, 1);
}

void EXPORT(proxy_on_log)(uint32_t context_id) {
    enter();
    call(ON_LOG, context_id, NULL, NULL, 0, 0);
}

void EXPORT(proxy_on_delete)(uint32_t context_id) {
    enter();
    PyObject *key = PyLong_FromUnsignedLong(context_id);
    if (key == NULL || PyDict_DelItem(bound.contexts, key) < 0) PyErr_Clear(); /* not in the table: nothing to drop */
    if (key != NULL) Py_DecRef(key);
}

/* HTTP streams */

int32_t EXPORT(proxy_on_request_headers)(uint32_t context_id, int32_t count, int32_t end_of_stream) {
    return call_stream(ON_HTTP_REQUEST_HEADERS, context_id, count, end_of_stream);
}

int32_t EXPORT(proxy_on_request_body)(uint32_t context_id, int32_t size, int32_t end_of_stream) {
    return call_stream(ON_HTTP_REQUEST_BODY, context_id, size, end_of_stream);
}

int32_t EXPORT(proxy_on_request_trailers)(uint32_t context_id, int32_t count) {
    enter();
    return call(ON_HTTP_REQUEST_TRAILERS, context_id, PyLong_FromLong(count), NULL, ACTION_CONTINUE, ACTION_PAUSE);
}

int32_t EXPORT(proxy_on_response_headers)(uint32_t context_id, int32_t count, int32_t end_of_stream) {
    return call_stream(ON_HTTP_RESPONSE_HEADERS, context_id, count, end_of_stream);
}

int32_t EXPORT(proxy_on_response_body)(uint32_t context_id, int32_t size, int32_t end_of_stream) {
    return call_stream(ON_HTTP_RESPONSE_BODY, context_id, size, end_of_stream);
}

int32_t EXPORT(proxy_on_response_trailers)(uint32_t context_id, int32_t count) {
    enter();
    return call(ON_HTTP_RESPONSE_TRAILERS, context_id, PyLong_FromLong(count), NULL, ACTION_CONTINUE, ACTION_PAUSE);
}

/* What the linker's stack guard asks in place of functions that recurse without asking: not 0, with RecursionError set,
 * if recursion went too deep. */
int32_t EXPORT(pyfilter_check_recursion)(void) { return Py_EnterRecursiveCall(" in a nested object"); }

/* Building a module: the compiler calls this once in its own host, and no finished module exports it. */

int32_t EXPORT(pyfilter_build)(char *request, size_t size) {
    enter();
    PyObject *bytes = PyBytes_FromStringAndSize(request, (Py_ssize_t)size);
    free(request);
    PyObject *result = bytes == NULL ? NULL : PyObject_CallFunctionObjArgs(bound.build, bytes, NULL);
    if (bytes != NULL) Py_DecRef(bytes);
    if (result == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DecRef(result);
    return 1;
}

/* Free memory is not zeroed. Take all of it, from large blocks to small, zero it and give it back, so that what the
 * build left behind neither fills the module nor leaks into it. The compiler's host lets memory grow no further
 * meanwhile. Python's own allocator comes second: what it cannot take from its arenas it asks malloc for, in vain. */

typedef struct Block {
    struct Block *next;
} Block;

static Block *take_all(void *(*allocate)(size_t), size_t size, Block *taken) {
    for (void *memory; (memory = allocate(size)) != NULL;) {
        memset(memory, 0, size);
        *(Block *)memory = (Block){taken};
        taken = memory;
    }
    return taken;
}

static void give_back(void (*release)(void *), Block *taken) {
    while (taken != NULL) {
        Block *next = taken->next;
        taken->next = NULL;
        release(taken);
        taken = next;
    }
}

void EXPORT(pyfilter_scrub)(void) {
    static const size_t LARGEST = 1 << 22, LARGEST_SMALL_OBJECT = 512;
    Block *blocks = NULL, *objects = NULL;
    for (size_t size = LARGEST; size >= 8; size = size > 512 ? size / 2 : size - 8)
        blocks = take_all(malloc, size, blocks);
    for (size_t size = LARGEST_SMALL_OBJECT; size >= 8; size -= 8) objects = take_all(PyMem_Malloc, size, objects);
    give_back(PyMem_Free, objects);
    give_back(free, blocks);
}
