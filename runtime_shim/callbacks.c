/* Host → Python: the exports that a Proxy-Wasm host calls.
 *
 * A callback finds its context in the dispatcher's table and calls the method of the Go SDK's name. A coroutine that it
 * returns is run by `bound.on_coroutine`, as far as it goes, for the answer. Python exceptions never reach the host: `bound.on_exception` logs them and says what to answer. If even that fails (no memory, no
 * stack), the fallback here answers 500 where a request could otherwise slip through.
 */
#include "shim.h"

#define EXPORT(name) __attribute__((export_name(#name))) name

enum Method {
    ON_CONTEXT_CREATE,
    ON_VM_START,
    ON_PLUGIN_START,
    ON_PLUGIN_DONE,
    ON_TICK,
    ON_QUEUE_READY,
    ON_FOREIGN_FUNCTION,
    ON_LOG,
    ON_DELETE,
    ON_HTTP_REQUEST_HEADERS,
    ON_HTTP_REQUEST_BODY,
    ON_HTTP_REQUEST_TRAILERS,
    ON_HTTP_REQUEST_METADATA,
    ON_HTTP_RESPONSE_HEADERS,
    ON_HTTP_RESPONSE_BODY,
    ON_HTTP_RESPONSE_TRAILERS,
    ON_HTTP_RESPONSE_METADATA,
    ON_NEW_CONNECTION,
    ON_DOWNSTREAM_DATA,
    ON_DOWNSTREAM_CLOSE,
    ON_UPSTREAM_DATA,
    ON_UPSTREAM_CLOSE,
    ON_HTTP_CALL_RESPONSE,
    ON_GRPC_RECEIVE_INITIAL_METADATA,
    ON_GRPC_RECEIVE,
    ON_GRPC_RECEIVE_TRAILING_METADATA,
    ON_GRPC_CLOSE,
    METHODS,
};

enum Answer { NOTHING, BOOLEAN, HTTP_ACTION, TCP_ACTION };
enum { NO_STREAM = -1 };

/* The methods of contexts, what they answer, and which stream an answer can pause. The first two are functions of the
 * dispatcher. */
static const struct {
    const char *name;
    enum Answer answer;
    int stream;
} methods[METHODS] = {
    [ON_CONTEXT_CREATE] = {"on_context_create", NOTHING, NO_STREAM},
    [ON_VM_START] = {"on_vm_start", BOOLEAN, NO_STREAM},
    [ON_PLUGIN_START] = {"_on_configure", BOOLEAN, NO_STREAM},
    [ON_PLUGIN_DONE] = {"_on_done", BOOLEAN, NO_STREAM},
    [ON_TICK] = {"_on_tick", NOTHING, NO_STREAM},
    [ON_QUEUE_READY] = {"on_queue_ready", NOTHING, NO_STREAM},
    [ON_FOREIGN_FUNCTION] = {"on_foreign_function", NOTHING, NO_STREAM},
    [ON_LOG] = {"_on_log", NOTHING, NO_STREAM},
    [ON_DELETE] = {"_on_delete", NOTHING, NO_STREAM},
    [ON_HTTP_REQUEST_HEADERS] = {"on_http_request_headers", HTTP_ACTION, STREAM_HTTP_REQUEST},
    [ON_HTTP_REQUEST_BODY] = {"on_http_request_body", HTTP_ACTION, STREAM_HTTP_REQUEST},
    [ON_HTTP_REQUEST_TRAILERS] = {"on_http_request_trailers", HTTP_ACTION, STREAM_HTTP_REQUEST},
    [ON_HTTP_REQUEST_METADATA] = {"on_http_request_metadata", HTTP_ACTION, NO_STREAM},
    [ON_HTTP_RESPONSE_HEADERS] = {"on_http_response_headers", HTTP_ACTION, STREAM_HTTP_RESPONSE},
    [ON_HTTP_RESPONSE_BODY] = {"on_http_response_body", HTTP_ACTION, STREAM_HTTP_RESPONSE},
    [ON_HTTP_RESPONSE_TRAILERS] = {"on_http_response_trailers", HTTP_ACTION, STREAM_HTTP_RESPONSE},
    [ON_HTTP_RESPONSE_METADATA] = {"on_http_response_metadata", HTTP_ACTION, NO_STREAM},
    [ON_NEW_CONNECTION] = {"on_new_connection", TCP_ACTION, STREAM_DOWNSTREAM},
    [ON_DOWNSTREAM_DATA] = {"on_downstream_data", TCP_ACTION, STREAM_DOWNSTREAM},
    [ON_DOWNSTREAM_CLOSE] = {"on_downstream_close", NOTHING, NO_STREAM},
    [ON_UPSTREAM_DATA] = {"on_upstream_data", TCP_ACTION, STREAM_UPSTREAM},
    [ON_UPSTREAM_CLOSE] = {"on_upstream_close", NOTHING, NO_STREAM},
    [ON_HTTP_CALL_RESPONSE] = {"_on_http_call_response", NOTHING, NO_STREAM},
    [ON_GRPC_RECEIVE_INITIAL_METADATA] = {"_on_grpc_receive_initial_metadata", NOTHING, NO_STREAM},
    [ON_GRPC_RECEIVE] = {"_on_grpc_receive", NOTHING, NO_STREAM},
    [ON_GRPC_RECEIVE_TRAILING_METADATA] = {"_on_grpc_receive_trailing_metadata", NOTHING, NO_STREAM},
    [ON_GRPC_CLOSE] = {"_on_grpc_close", NOTHING, NO_STREAM},
};

static PyObject *names[METHODS];
/* Attributes: what a context has paused; a context's id, and its plugin; a class (see `begin_stream`). */
static PyObject *paused, *own_id, *plugin_of, *stream_class;

Running running;

int intern_method_names(void) {
    for (int i = 0; i < METHODS; i++) {
        names[i] = PyUnicode_InternFromString(methods[i].name);
        if (names[i] == NULL) return -1;
    }
    paused = PyUnicode_InternFromString("_abi_paused");
    own_id = PyUnicode_InternFromString("context_id");
    plugin_of = PyUnicode_InternFromString("plugin");
    stream_class = PyUnicode_InternFromString("_abi_stream_class");
    return paused == NULL || own_id == NULL || plugin_of == NULL || stream_class == NULL ? -1 : 0;
}

static int is_action(enum Answer answer) { return answer == HTTP_ACTION || answer == TCP_ACTION; }

/* A callback's answer if Python gives none that can be used: what could slip through is stopped. */
static int32_t fall_back(enum Method method, uint32_t context_id, int32_t failure) {
    static const char message[] = "a callback failed, and so did the handling of its exception";
    PyErr_Clear();
    proxy_log(LOG_CRITICAL, message, sizeof message - 1);
    if (is_action(methods[method].answer)) proxy_set_effective_context(context_id); /* it may have turned to another */
    if (methods[method].answer == HTTP_ACTION) proxy_send_local_response(500, NULL, 0, NULL, 0, NULL, 0, -1);
    if (methods[method].answer == TCP_ACTION) proxy_close_stream(STREAM_DOWNSTREAM);
    return failure;
}

/* The number in a callback's answer; takes the reference. None means `otherwise`. Sets TypeError for what is none, and
 * for a stream's callback if it is no Action. */
static int32_t answer(enum Method method, PyObject *result, int32_t otherwise) {
    enum Answer kind = methods[method].answer;
    long value = otherwise;
    if (result != Py_None && kind != NOTHING) {
        value = PyLong_AsLong(result);
        int is_bool = result == Py_True || result == Py_False;
        if (PyErr_Occurred() || (is_action(kind) && (is_bool || (value != ACTION_CONTINUE && value != ACTION_PAUSE)))) {
            PyErr_Clear();
            const char *expected = is_action(kind) ? "an Action or None" : "True, False or None";
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
    PyObject *result = PyObject_CallFunctionObjArgs(bound.on_exception, context, names[method], exception, NULL);
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

/* Say which callback runs for which context; the answer goes to `leave`. */
static Running begin(enum Method method, uint32_t context_id) {
    static uint32_t number;
    Running outer = running;
    if (outer.calling == 0) number++;
    running = (Running){context_id, context_id, methods[method].stream, number};
    return outer;
}

static void leave(Running outer) { running = outer; }

enum { MOST_ARGUMENTS = 4 };

typedef PyObject *Arguments[MOST_ARGUMENTS];

static PyObject *number(int32_t value) { return PyLong_FromLong(value); }
static PyObject *identifier(uint32_t value) { return PyLong_FromUnsignedLong(value); }

/* Let a context know what its callback paused: a bit for each stream type. Only that can be resumed. */
static void remember_pause(enum Method method, PyObject *context) {
    PyObject *before = PyObject_GetAttr(context, paused);
    long bits = before == NULL ? 0 : PyLong_AsLong(before);
    PyObject *after = PyLong_FromLong(bits | 1 << methods[method].stream);
    if (PyErr_Occurred() || PyObject_SetAttr(context, paused, after) < 0) PyErr_Clear();
    if (before != NULL) Py_DecRef(before);
    if (after != NULL) Py_DecRef(after);
}

static int is_number(PyObject *object) {
    return (PyType_GetFlags(object->ob_type) & Py_TPFLAGS_LONG_SUBCLASS) != 0;
}

/* What a callback has returned, or if that is no number and so perhaps a coroutine, what the dispatcher makes of it. Takes
 * and gives a reference. */
static PyObject *await(PyObject *context, enum Method method, PyObject *result, PyObject *last_argument) {
    if (result == Py_None || is_number(result)) return result;
    PyObject *argument = last_argument == NULL ? Py_None : last_argument;
    PyObject *answer =
        PyObject_CallFunctionObjArgs(bound.on_coroutine, context, names[method], result, argument, NULL);
    Py_DecRef(result);
    return answer;
}

/* Call a method of a context with `count` arguments, whose references are taken. `otherwise` answers for None, and for a
 * context that is None since the plugin does not look at the stream; `failure` for an exception that cannot be handled,
 * and for a context that could not be created. */
static int32_t call(enum Method method, uint32_t context_id, Arguments arguments, size_t count, int32_t otherwise,
                    int32_t failure) {
    Running outer = begin(method, context_id);
    PyObject *key = PyLong_FromUnsignedLong(context_id);
    PyObject *context = key == NULL ? NULL : PyDict_GetItemWithError(bound.contexts, key); /* borrowed */
    int32_t value = otherwise;
    if (PyErr_Occurred()) { /* no memory for an argument */
        value = fall_back(method, context_id, failure);
    } else if (context != NULL && context != Py_None) {
        Py_IncRef(context);
        PyObject *slots[MOST_ARGUMENTS + 2] = {NULL, context};
        for (size_t i = 0; i < count; i++) slots[i + 2] = arguments[i];
        PyObject *result =
            PyObject_VectorcallMethod(names[method], slots + 1, (count + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (result != NULL) result = await(context, method, result, count > 0 ? arguments[count - 1] : NULL);
        if (result != NULL) value = answer(method, result, otherwise);
        if (PyErr_Occurred())
            value = handle_exception(context, method, context_id, failure);
        else if (value == ACTION_PAUSE && methods[method].stream != NO_STREAM)
            remember_pause(method, context);
        Py_DecRef(context);
    } else if (context == NULL && (is_action(methods[method].answer) || method == ON_PLUGIN_START)) {
        value = fall_back(method, context_id, failure);
    }
    if (key != NULL) Py_DecRef(key);
    for (size_t i = 0; i < count; i++)
        if (arguments[i] != NULL) Py_DecRef(arguments[i]);
    leave(outer);
    return value;
}

/* The callbacks of streams with a size and a flag, and those with a number only. */

static int32_t call_stream(enum Method method, uint32_t context_id, int32_t size, int32_t end_of_stream) {
    enter();
    Arguments arguments = {number(size), PyBool_FromLong(end_of_stream)};
    return call(method, context_id, arguments, 2, ACTION_CONTINUE, ACTION_PAUSE);
}

static int32_t call_stream_count(enum Method method, uint32_t context_id, int32_t count) {
    enter();
    Arguments arguments = {number(count)};
    return call(method, context_id, arguments, 1, ACTION_CONTINUE, ACTION_PAUSE);
}

/* The callbacks that answer nothing. */

static void notify(enum Method method, uint32_t context_id, size_t count, PyObject *first, PyObject *second) {
    Arguments arguments = {first, second};
    call(method, context_id, arguments, count, 0, 0);
}

/* The ABI's marker and allocator. A module exports one marker. `malloc` and `free` are the C library's own: the host
 * calls malloc while Python is in the middle of a host call, so it must not enter Python. */

void EXPORT(proxy_abi_version_0_1_0)(void) {}
void EXPORT(proxy_abi_version_0_2_0)(void) {}
void EXPORT(proxy_abi_version_0_2_1)(void) {}

/* Life of a VM, its plugins and their streams */

/* A function of the dispatcher in place of a context's method. */
static int32_t call_dispatcher(enum Method method, PyObject *function, uint32_t context_id, PyObject *second,
                               int32_t otherwise, int32_t failure) {
    Running outer = begin(method, context_id);
    PyObject *arguments[] = {identifier(context_id), second};
    PyObject *result = NULL;
    if (arguments[0] != NULL && second != NULL) result = PyObject_Vectorcall(function, arguments, 2, NULL);
    int32_t value = result != NULL ? answer(method, result, otherwise) : failure;
    if (PyErr_Occurred()) value = fall_back(method, context_id, failure);
    if (arguments[0] != NULL) Py_DecRef(arguments[0]);
    if (second != NULL) Py_DecRef(second);
    leave(outer);
    return value;
}

uint64_t streams_begun;

/* Make the context of a stream whose plugin has a class for them that leaves their making to the SDK, so that it is known
 * what there is to do. 0 if there is none, or something fails: then the dispatcher makes it, or says why not. */
static int begin_stream(uint32_t context_id, uint32_t parent_id) {
    PyObject *id = identifier(context_id), *key = identifier(parent_id), *context = NULL;
    PyObject *plugin = key == NULL ? NULL : PyDict_GetItemWithError(bound.contexts, key); /* borrowed */
    PyObject *class = plugin == NULL ? NULL : PyObject_GetAttr(plugin, stream_class);
    if (id != NULL && class != NULL && class != Py_None) context = PyType_GenericAlloc(class, 0);
    int begun = context != NULL && PyObject_SetAttr(context, own_id, id) == 0 &&
                PyObject_SetAttr(context, plugin_of, plugin) == 0 && PyDict_SetItem(bound.contexts, id, context) == 0;
    PyErr_Clear();
    PyObject *owned[] = {id, key, class, context};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (owned[i] != NULL) Py_DecRef(owned[i]);
    return begun;
}

void EXPORT(proxy_on_context_create)(uint32_t context_id, uint32_t parent_id) {
    enter();
    streams_begun += parent_id != 0;
    if (parent_id != 0 && begin_stream(context_id, parent_id)) return;
    call_dispatcher(ON_CONTEXT_CREATE, bound.on_context_create, context_id, identifier(parent_id), 0, 0);
}

int32_t EXPORT(proxy_on_vm_start)(uint32_t context_id, int32_t configuration_size) {
    enter();
    return call_dispatcher(ON_VM_START, bound.on_vm_start, context_id, number(configuration_size), 1, 0);
}

int32_t EXPORT(proxy_on_configure)(uint32_t context_id, int32_t configuration_size) {
    enter();
    Arguments arguments = {number(configuration_size)};
    return call(ON_PLUGIN_START, context_id, arguments, 1, 1, 0);
}

void EXPORT(proxy_on_tick)(uint32_t context_id) {
    enter();
    notify(ON_TICK, context_id, 0, NULL, NULL);
}

void EXPORT(proxy_on_queue_ready)(uint32_t context_id, uint32_t queue_id) {
    enter();
    notify(ON_QUEUE_READY, context_id, 1, identifier(queue_id), NULL);
}

void EXPORT(proxy_on_foreign_function)(uint32_t context_id, uint32_t function_id, int32_t arguments_size) {
    enter();
    notify(ON_FOREIGN_FUNCTION, context_id, 2, identifier(function_id), number(arguments_size));
}

int32_t EXPORT(proxy_on_done)(uint32_t context_id) {
    enter();
    Arguments none = {NULL};
    return call(ON_PLUGIN_DONE, context_id, none, 0, 1, 1);
}

void EXPORT(proxy_on_log)(uint32_t context_id) {
    enter();
    notify(ON_LOG, context_id, 0, NULL, NULL);
}

void EXPORT(proxy_on_delete)(uint32_t context_id) {
    enter();
    if (notifies_deletes) notify(ON_DELETE, context_id, 0, NULL, NULL);
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
    return call_stream_count(ON_HTTP_REQUEST_TRAILERS, context_id, count);
}

int32_t EXPORT(proxy_on_request_metadata)(uint32_t context_id, int32_t count) {
    return call_stream_count(ON_HTTP_REQUEST_METADATA, context_id, count);
}

int32_t EXPORT(proxy_on_response_headers)(uint32_t context_id, int32_t count, int32_t end_of_stream) {
    return call_stream(ON_HTTP_RESPONSE_HEADERS, context_id, count, end_of_stream);
}

int32_t EXPORT(proxy_on_response_body)(uint32_t context_id, int32_t size, int32_t end_of_stream) {
    return call_stream(ON_HTTP_RESPONSE_BODY, context_id, size, end_of_stream);
}

int32_t EXPORT(proxy_on_response_trailers)(uint32_t context_id, int32_t count) {
    return call_stream_count(ON_HTTP_RESPONSE_TRAILERS, context_id, count);
}

int32_t EXPORT(proxy_on_response_metadata)(uint32_t context_id, int32_t count) {
    return call_stream_count(ON_HTTP_RESPONSE_METADATA, context_id, count);
}

/* The same where the ABI does not say whether the stream ends: a module for 0.1.0 exports these under the usual names. */

int32_t EXPORT(pyfilter_on_request_headers_0_1_0)(uint32_t context_id, int32_t count) {
    return call_stream(ON_HTTP_REQUEST_HEADERS, context_id, count, 0);
}

int32_t EXPORT(pyfilter_on_response_headers_0_1_0)(uint32_t context_id, int32_t count) {
    return call_stream(ON_HTTP_RESPONSE_HEADERS, context_id, count, 0);
}

/* TCP streams */

int32_t EXPORT(proxy_on_new_connection)(uint32_t context_id) {
    enter();
    Arguments none = {NULL};
    return call(ON_NEW_CONNECTION, context_id, none, 0, ACTION_CONTINUE, ACTION_PAUSE);
}

int32_t EXPORT(proxy_on_downstream_data)(uint32_t context_id, int32_t size, int32_t end_of_stream) {
    return call_stream(ON_DOWNSTREAM_DATA, context_id, size, end_of_stream);
}

void EXPORT(proxy_on_downstream_connection_close)(uint32_t context_id, int32_t peer) {
    enter();
    notify(ON_DOWNSTREAM_CLOSE, context_id, 1, number(peer), NULL);
}

int32_t EXPORT(proxy_on_upstream_data)(uint32_t context_id, int32_t size, int32_t end_of_stream) {
    return call_stream(ON_UPSTREAM_DATA, context_id, size, end_of_stream);
}

void EXPORT(proxy_on_upstream_connection_close)(uint32_t context_id, int32_t peer) {
    enter();
    notify(ON_UPSTREAM_CLOSE, context_id, 1, number(peer), NULL);
}

/* Replies to HTTP and gRPC calls: all come to the plugin's context. */

void EXPORT(proxy_on_http_call_response)(uint32_t context_id, uint32_t token, int32_t headers, int32_t body_size,
                                         int32_t trailers) {
    enter();
    Arguments arguments = {identifier(token), number(headers), number(body_size), number(trailers)};
    call(ON_HTTP_CALL_RESPONSE, context_id, arguments, 4, 0, 0);
}

void EXPORT(proxy_on_grpc_receive_initial_metadata)(uint32_t context_id, uint32_t token, int32_t count) {
    enter();
    notify(ON_GRPC_RECEIVE_INITIAL_METADATA, context_id, 2, identifier(token), number(count));
}

void EXPORT(proxy_on_grpc_receive)(uint32_t context_id, uint32_t token, int32_t size) {
    enter();
    notify(ON_GRPC_RECEIVE, context_id, 2, identifier(token), number(size));
}

void EXPORT(proxy_on_grpc_receive_trailing_metadata)(uint32_t context_id, uint32_t token, int32_t count) {
    enter();
    notify(ON_GRPC_RECEIVE_TRAILING_METADATA, context_id, 2, identifier(token), number(count));
}

void EXPORT(proxy_on_grpc_close)(uint32_t context_id, uint32_t token, int32_t status) {
    enter();
    notify(ON_GRPC_CLOSE, context_id, 2, identifier(token), number(status));
}

/* What the linker's stack guard asks in place of functions that recurse without asking: not 0, with RecursionError set,
 * if recursion went too deep. */
int32_t EXPORT(pyfilter_check_recursion)(void) { return Py_EnterRecursiveCall(" in a nested object"); }

/* Stands where a built-in module that the filter never uses would be initialized: its code is not in the module. */
PyObject *EXPORT(pyfilter_left_out)(void) {
    return PyErr_Format(PyExc_ImportError, "this built-in module is not in the filter");
}

/* Stands where Python's own compiler begins, in a module without it. */
PyObject *EXPORT(pyfilter_no_compiler)(void) {
    return PyErr_Format(PyExc_RuntimeError,
                        "this filter has no Python compiler, which eval, exec and compile need for source text: the "
                        "build found no use of them in the filter's own code. To have it, build with --include ast");
}

/* What stands in the table for functions that are not in the module calls these two: for room for the function's name,
 * and when the name is there. It should never happen. */
static char missing_name[256];

char *EXPORT(pyfilter_missing_name)(void) { return missing_name; }

void EXPORT(pyfilter_missing)(uint32_t size) {
    static const char advice[] =
        "a function of the interpreter was called that is not in this module, since nothing seemed to lead to it. Build "
        "with --no-prune, and report this as an error of pywasmfilter, best with what a module says that is built with "
        "--name-missing. The function is ";
    char message[sizeof advice + sizeof missing_name];
    memcpy(message, advice, sizeof advice - 1);
    memcpy(message + sizeof advice - 1, missing_name, size);
    proxy_log(LOG_CRITICAL, message, sizeof advice - 1 + size);
}

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
 * meanwhile. Python's own allocator comes second: what it cannot take from its arenas it asks malloc for, in vain.
 * Returns where the heap begins. */

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

extern unsigned char __heap_base;

unsigned char *EXPORT(pyfilter_scrub)(void) {
    static const size_t LARGEST = 1 << 22, LARGEST_SMALL_OBJECT = 512;
    Block *blocks = NULL, *objects = NULL;
    for (size_t size = LARGEST; size >= 8; size = size > 512 ? size / 2 : size - 8)
        blocks = take_all(malloc, size, blocks);
    for (size_t size = LARGEST_SMALL_OBJECT; size >= 8; size -= 8) objects = take_all(PyMem_Malloc, size, objects);
    give_back(PyMem_Free, objects);
    give_back(free, blocks);
    return &__heap_base;
}
