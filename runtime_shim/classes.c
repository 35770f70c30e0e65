/* Classes that the SDK has in Python too, where it does not run in a module: requests spend their time in them. What they
 * do is said there, in `headers.py` and `_state.py`.
 */
#include "shim.h"

/* The arguments of a method, given by position or by name; `least` of its `most` parameters must be. An argument that is
 * not given is NULL. -1 with TypeError set for others. */
static int take_arguments(const char *signature, const char *const *names, Py_ssize_t least, Py_ssize_t most,
                          PyObject *const *args, Py_ssize_t nargs, PyObject *keywords, PyObject **out) {
    Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords), taken = nargs, missing = 0;
    if (named == 0 && nargs == most) {
        for (Py_ssize_t i = 0; i < most; i++) out[i] = args[i];
        return 0;
    }
    for (Py_ssize_t i = 0; i < most; i++) {
        out[i] = i < nargs ? args[i] : NULL;
        for (Py_ssize_t k = 0; k < named && out[i] == NULL; k++) {
            if (!PyUnicode_EqualToUTF8(PyTuple_GetItem(keywords, k), names[i])) continue;
            out[i] = args[nargs + k];
            taken++;
        }
        missing += out[i] == NULL && i < least;
    }
    if (nargs <= most && taken == nargs + named && missing == 0) return 0;
    PyErr_Format(PyExc_TypeError, "these are not the arguments of %s", signature);
    return -1;
}

#define WITH_KEYWORDS(function) ((PyCFunctionFast)(void (*)(void))(function)), METH_FASTCALL | METH_KEYWORDS

/* Header maps */

typedef struct {
    PyObject ob_base;
    int map;
} HeaderMap;

static int32_t map_of(PyObject *self) { return ((HeaderMap *)self)->map; }

static PyObject *find_kept; /* the name of the method that knows headers which have left, or raises what it is given */

/* The value of a header, or None; a reference. */
static PyObject *look_up(PyObject *self, PyObject *key) {
    PyObject *value = get_header(map_of(self), key);
    if (value != NULL) return value;
    PyObject *arguments[] = {NULL, self, key, PyErr_GetRaisedException()};
    value = PyObject_VectorcallMethod(find_kept, arguments + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DecRef(arguments[3]);
    return value;
}

/* -1 with an exception set */
static int contains(PyObject *self, PyObject *key) {
    PyObject *value = look_up(self, key);
    if (value == NULL) return -1;
    int result = value != Py_None;
    Py_DecRef(value);
    return result;
}

static PyObject *get_item(PyObject *self, PyObject *key) {
    PyObject *value = look_up(self, key);
    if (value != Py_None) return value;
    Py_DecRef(value);
    PyErr_SetObject(PyExc_KeyError, key);
    return NULL;
}

/* `value` is NULL for `del`. */
static int set_item(PyObject *self, PyObject *key, PyObject *value) {
    if (value == NULL) {
        int found = contains(self, key);
        if (found == 0) PyErr_SetObject(PyExc_KeyError, key);
        if (found != 1) return -1;
    }
    PyObject *done = value == NULL ? remove_header(map_of(self), key) : replace_header(map_of(self), key, value);
    if (done != NULL) Py_DecRef(done);
    return done == NULL ? -1 : 0;
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords) {
    static const char *const names[] = {"key", "default"};
    PyObject *given[2];
    if (take_arguments("get(key, default=None)", names, 1, 2, args, nargs, keywords, given) < 0) return NULL;
    PyObject *value = look_up(self, given[0]);
    if (value != Py_None || given[1] == NULL) return value;
    Py_DecRef(value);
    return Py_NewRef(given[1]);
}

static PyObject *add(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords) {
    static const char *const names[] = {"key", "value"};
    PyObject *given[2];
    if (take_arguments("add(key, value)", names, 2, 2, args, nargs, keywords, given) < 0) return NULL;
    return add_header(map_of(self), given[0], given[1]);
}

static PyObject *remove_(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *keywords) {
    static const char *const names[] = {"key"};
    PyObject *given[1];
    if (take_arguments("remove(key)", names, 1, 1, args, nargs, keywords, given) < 0) return NULL;
    return remove_header(map_of(self), given[0]);
}

#define GET "get($self, key, default=None)\n--\n\nThe first value of a header, or `default`."
#define ADD                                                                                                            \
    "add($self, key, value)\n--\n\nAppend a value, keeping those that are there (`proxy_add_header_map_value`).\n\n"    \
    "Raises ValueError if the name or the value holds a line break or NUL."
#define REMOVE                                                                                                         \
    "remove($self, key)\n--\n\nRemove all values of a header, if there are any (`proxy_remove_header_map_value`)."

/* (base, docstring) → the class. It is made of the base, not the other way round: the interpreter calls methods of an
 * object's own class faster. */
static PyObject *header_map(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    static PyMethodDef methods[] = {
        {"get", WITH_KEYWORDS(get), GET},
        {"add", WITH_KEYWORDS(add), ADD},
        {"remove", WITH_KEYWORDS(remove_), REMOVE},
        {0},
    };
    static PyMemberDef members[] = {{"_map", Py_T_INT, offsetof(HeaderMap, map), 0, NULL}, {0}};
    static PyType_Slot slots[] = {
        {Py_mp_subscript, get_item}, {Py_mp_ass_subscript, set_item}, {Py_sq_contains, contains},
        {Py_tp_methods, methods},    {Py_tp_members, members},        {0},
    };
    static PyType_Spec spec = {"pywasmfilter.headers.HeaderMap", sizeof(HeaderMap), 0, Py_TPFLAGS_BASETYPE, slots};
    if (nargs != 2) return PyErr_Format(PyExc_TypeError, "header_map takes 2 arguments, %zd were given", nargs);
    find_kept = PyUnicode_InternFromString("_find_kept");
    PyObject *class = find_kept == NULL ? NULL : PyType_FromSpecWithBases(&spec, args[0]);
    if (class == NULL || PyObject_SetAttrString(class, "__doc__", args[1]) == 0) return class;
    Py_DecRef(class);
    return NULL;
}

/* Effective contexts */

typedef struct {
    PyObject ob_base;
    unsigned context_id, previous;
} EffectiveContext;

static int begin(PyObject *self, PyObject *args, PyObject *keywords) {
    if (keywords != NULL || PyTuple_Size(args) != 1) {
        PyErr_Format(PyExc_TypeError, "EffectiveContext takes a context's id");
        return -1;
    }
    unsigned long context_id = PyLong_AsUnsignedLong(PyTuple_GetItem(args, 0));
    ((EffectiveContext *)self)->context_id = (unsigned)context_id;
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *turn(uint32_t context_id) {
    return running.effective == context_id ? Py_NewRef(Py_None) : turn_to(context_id);
}

static PyObject *enter(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    EffectiveContext *block = (EffectiveContext *)self;
    block->previous = running.effective;
    return turn(block->context_id);
}

static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    EffectiveContext *block = (EffectiveContext *)self;
    return block->previous == block->context_id ? Py_NewRef(Py_None) : turn_to(block->previous);
}

int add_effective_context(PyObject *module) {
    static PyMethodDef methods[] = {
        {"__enter__", enter, METH_FASTCALL, "__enter__($self)\n--\n\n"},
        {"__exit__", leave, METH_FASTCALL, "__exit__($self, *_)\n--\n\n"},
        {0},
    };
    static PyType_Slot slots[] = {{Py_tp_init, begin}, {Py_tp_methods, methods}, {0}};
    static PyType_Spec spec = {"pywasmfilter._shim.EffectiveContext", sizeof(EffectiveContext), 0, 0, slots};
    PyObject *class = PyType_FromSpec(&spec);
    int result = class == NULL ? -1 : PyModule_AddType(module, class);
    if (class != NULL) Py_DecRef(class);
    return result;
}

PyMethodDef class_functions[] = {
    {"header_map", header_map, METH_FASTCALL, "header_map(base, doc) -> type"},
    {0},
};
