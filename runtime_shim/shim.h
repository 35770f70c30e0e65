/* What the files of the shim share.
 *
 *     module.c     the Python module `pywasmfilter._shim`: its method table and the state given to it by the SDK
 *     hostcalls.c  Python → host: one function per host call; checks arguments, calls, converts, frees
 *     callbacks.c  host → Python: one export per ABI callback; finds the context and calls its method
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
void *memset(void *memory, int byte, size_t size);
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
