/* The Python module `pywasmfilter._shim`: host calls, what the SDK has in C when it is in a module, and `bind`, with which
 * it says where callbacks go. */
#include "shim.h"

struct Bound bound;
struct Settled settled;
int notifies_deletes;

/* bind(contexts, on_context_create, on_vm_start, on_coroutine, on_exception, status_error, build): called once, while the
 * image is made. */
static PyObject *bind(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    PyObject **fields[] = {&bound.contexts,     &bound.on_context_create, &bound.on_vm_start, &bound.on_coroutine,
                           &bound.on_exception, &bound.status_error,      &bound.build};
    const Py_ssize_t count = sizeof fields / sizeof *fields;
    if (nargs != count) return PyErr_Format(PyExc_TypeError, "bind takes %zd arguments, %zd were given", count, nargs);
    for (Py_ssize_t i = 0; i < count; i++) *fields[i] = Py_NewRef(args[i]);
    return intern_method_names() < 0 ? NULL : Py_NewRef(Py_None);
}

/* settle(missing_header_is_empty, max_memory): called at the end of a build. */
static PyObject *settle(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2) return PyErr_Format(PyExc_TypeError, "settle takes 2 arguments, %zd were given", nargs);
    settled = (struct Settled){PyObject_IsTrue(args[0]) == 1, PyLong_AsUnsignedLongLong(args[1])};
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static int fill(PyObject *module) {
    PyMethodDef *tables[] = {hostcall_methods, pair_functions, class_functions};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (PyModule_AddFunctions(module, tables[i]) < 0) return -1;
    return add_effective_context(module);
}

enum { Py_mod_exec = 2 };

static PyMethodDef methods[] = {
    {"bind", bind, METH_FASTCALL, "bind(…): register the dispatcher"},
    {"settle", settle, METH_FASTCALL, "settle(missing_header_is_empty, max_memory)"},
    {0},
};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0}};
static PyModuleDef module = {.ob_base = {.ob_refcnt = 1}, .m_name = "pywasmfilter._shim", .m_methods = methods, .m_slots = slots};

__attribute__((visibility("default"))) PyObject *PyInit__shim(void) { return PyModuleDef_Init(&module); }
