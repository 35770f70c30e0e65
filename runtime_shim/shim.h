/* What the files of the shim share.
 *
 *     module.c     the Python module `pywasmfilter._shim`: its method table and the state given to it by the SDK
 *     hostcalls.c  Python → host: one function per host call; checks arguments, calls, converts, frees
 *     callbacks.c  host → Python: one export per ABI callback; finds the context and calls its method
 *     classes.c    classes of the SDK in C: HeaderMap, EffectiveContext
 *     pairs.c      lists of pairs as the ABI puts them into bytes
 *     text.c       text and bytes on their way between Python and the host
 *     memory.c     how much of the memory is in use
 *     wasi.c       the C library's operating system
 *     stubs.c      the host while the runtime image is built
 *
 * The shim decides nothing: policy (errors, life cycle, which plugin) is Python, in `pywasmfilter/_dispatcher.py`.
 */
#ifndef SHIM_H
#define SHIM_H

#include "python_abi.h"
#include "proxy_wasm_abi.h"

void *malloc(size_t size);
void free(void *memory);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *memory, int byte, size_t size);
void *memcpy(void *to, const void *from, size_t size);
size_t strlen(const char *text);

/* What the SDK registers with `bind`. The host's callbacks come without a module handle, so this is static state. */
extern struct Bound {
    PyObject *contexts;          /* dict: context id → context; owned by the dispatcher */
    PyObject *on_context_create; /* (context id, parent id) → None */
    PyObject *on_vm_start;       /* (context id, configuration size) → bool */
    PyObject *on_coroutine;      /* (context, method name, coroutine, last argument) → the callback's answer */
    PyObject *on_exception;      /* (context, method name, exception) → action */
    PyObject *status_error;      /* (function name, status) → raises */
    PyObject *build;             /* (request bytes) → None: only called while a module is built */
} bound;

/* What the build of a module settles about it. */
extern struct Settled {
    int missing_header_is_empty; /* ABI 0.1.0: hosts answer OK and nothing for a header that is not there */
    uint64_t max_memory;         /* what the VM's memory can grow to, in bytes */
} settled;

/* Whether contexts hear of proxy_on_delete. */
extern int notifies_deletes;

/* How many streams the host has begun. */
extern uint64_t streams_begun;

/* The callback that is running. A host call can make the host call back, so callbacks nest. */
typedef struct {
    uint32_t calling;   /* the context it was made for; 0 outside of callbacks */
    uint32_t effective; /* the context that host calls act on */
    int32_t stream;     /* the stream type that its answer can pause; -1 if none */
    uint32_t number;    /* of the host's call into the module, the same for callbacks inside it */
} Running;

extern Running running;

extern PyMethodDef hostcall_methods[];
extern PyMethodDef pair_functions[];

extern PyMethodDef class_functions[];

/* Put a class into the shim's module; -1 with an exception set on failure. */
int add_effective_context(PyObject *module);

/* Bytes of a str or bytes argument: borrowed from `owner`, which the caller releases with `release`. */
typedef struct {
    const char *data;
    size_t size;
    PyObject *owner; /* NULL: borrowed from the argument itself */
} View;

/* See an argument; -1 with an exception set for what is neither str nor bytes. Surrogates stand for bytes that are not
 * UTF-8; `errors` is another way to deal with them. In the name or value of a header, what would let it break out of its
 * line is refused. */
int view(PyObject *value, View *out);
int view_with(const char *errors, PyObject *value, View *out);
int header_view(PyObject *value, View *out);
void release(View *view);

/* The same for several; on failure nothing is left to release. */
int view_all(PyObject *const *values, View *out, size_t count);
void release_all(View *views, size_t count);

/* Answers of the host as objects: memory that it took from our malloc, and that is freed. */
PyObject *take_bytes(char *data, size_t size);
PyObject *take_text(char *data, size_t size);

/* A tuple of two; takes their references. NULL if one of them is. */
PyObject *take_pair(PyObject *first, PyObject *second);

/* Host calls with numbers that are not Python's. They give a reference; NULL with an exception set on failure. */
PyObject *turn_to(uint32_t context_id);           /* 0: the context that the callback was made for */
PyObject *get_header(int32_t map, PyObject *key); /* str, or None if there is no such header */
PyObject *add_header(int32_t map, PyObject *key, PyObject *value);
PyObject *replace_header(int32_t map, PyObject *key, PyObject *value);
PyObject *remove_header(int32_t map, PyObject *key);

/* The size of the VM's memory in bytes. */
uint64_t memory_size(void);

/* What the C library has given out of it. */
typedef struct {
    uint64_t bytes, blocks;
} HeapUse;

/* Count it; -1 if the heap is not laid out as it should be. */
int measure_heap(HeapUse *use);

/* Intern the names of the methods that callbacks.c calls; -1 with an exception set on failure. */
int intern_method_names(void);

#endif
