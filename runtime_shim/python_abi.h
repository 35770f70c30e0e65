/* The part of CPython's stable ABI that the shim uses, declared by hand.
 *
 * The Python.h of the machine that compiles the shim describes another platform, and the one of the interpreter inside
 * the module is not installed anywhere. The stable ABI (PEP 384) is a promise that these declarations hold. Names and
 * types are those of https://docs.python.org/3.14/c-api/stable.html.
 */
#ifndef PYTHON_ABI_H
#define PYTHON_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t Py_ssize_t;

/* How every object begins (a 32-bit build with the GIL). */
typedef struct _object {
    Py_ssize_t ob_refcnt;
    struct _object *ob_type;
} PyObject;

typedef PyObject *(*PyCFunctionFast)(PyObject *self, PyObject *const *args, Py_ssize_t nargs);

#define METH_KEYWORDS 0x0002
#define METH_FASTCALL 0x0080
#define PY_VECTORCALL_ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))

typedef struct {
    const char *ml_name;
    PyCFunctionFast ml_meth;
    int ml_flags;
    const char *ml_doc;
} PyMethodDef;

typedef struct {
    int slot;
    void *value;
} PyModuleDef_Slot;

/* Types that are made of a description */

typedef struct {
    const char *name;
    int type;
    Py_ssize_t offset;
    int flags;
    const char *doc;
} PyMemberDef;

enum { Py_T_INT = 1 };

typedef struct {
    int slot;
    void *pfunc;
} PyType_Slot;

enum {
    Py_mp_ass_subscript = 3,
    Py_mp_subscript = 5,
    Py_sq_contains = 41,
    Py_tp_init = 60,
    Py_tp_methods = 64,
    Py_tp_members = 72,
};

typedef struct {
    const char *name;
    int basicsize, itemsize;
    unsigned int flags;
    PyType_Slot *slots;
} PyType_Spec;

#define Py_TPFLAGS_BASETYPE (1U << 10)

PyObject *PyType_FromSpec(PyType_Spec *spec);
PyObject *PyType_FromSpecWithBases(PyType_Spec *spec, PyObject *bases);
PyObject *PyType_GenericAlloc(PyObject *type, Py_ssize_t items);

/* PyModuleDef with its PyModuleDef_Base written out. */
typedef struct {
    PyObject ob_base;
    PyObject *(*m_init)(void);
    Py_ssize_t m_index;
    PyObject *m_copy;
    const char *m_name;
    const char *m_doc;
    Py_ssize_t m_size;
    PyMethodDef *m_methods;
    PyModuleDef_Slot *m_slots;
    void *m_traverse;
    void *m_clear;
    void *m_free;
} PyModuleDef;

extern PyObject _Py_NoneStruct;
#define Py_None (&_Py_NoneStruct)
extern PyObject _Py_TrueStruct, _Py_FalseStruct;
#define Py_True (&_Py_TrueStruct)
#define Py_False (&_Py_FalseStruct)

extern PyObject PyBytes_Type, PyList_Type, PyTuple_Type;

extern PyObject *PyExc_ImportError;
extern PyObject *PyExc_KeyError;
extern PyObject *PyExc_RuntimeError;
extern PyObject *PyExc_TypeError;
extern PyObject *PyExc_ValueError;

PyObject *PyModuleDef_Init(PyModuleDef *def);
int PyModule_AddFunctions(PyObject *module, PyMethodDef *functions);
int PyModule_AddType(PyObject *module, PyObject *type);
int PyGILState_Ensure(void);

void *PyMem_Malloc(size_t size);
void PyMem_Free(void *memory);
void Py_IncRef(PyObject *object);
void Py_DecRef(PyObject *object);
PyObject *Py_NewRef(PyObject *object);

PyObject *PyBool_FromLong(long value);
PyObject *PyLong_FromLong(long value);
PyObject *PyLong_FromUnsignedLong(unsigned long value);
PyObject *PyLong_FromUnsignedLongLong(unsigned long long value);
long PyLong_AsLong(PyObject *object);
unsigned long PyLong_AsUnsignedLong(PyObject *object);
long long PyLong_AsLongLong(PyObject *object);
unsigned long long PyLong_AsUnsignedLongLong(PyObject *object);
int PyObject_IsTrue(PyObject *object);
PyObject *PyObject_GetAttr(PyObject *object, PyObject *name);
int PyObject_SetAttr(PyObject *object, PyObject *name, PyObject *value);
int PyObject_SetAttrString(PyObject *object, const char *name, PyObject *value);

PyObject *PyBytes_FromStringAndSize(const char *data, Py_ssize_t size);
char *PyBytes_AsString(PyObject *bytes);
int PyBytes_AsStringAndSize(PyObject *bytes, char **data, Py_ssize_t *size);
PyObject *PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors);
PyObject *PyUnicode_AsEncodedString(PyObject *text, const char *encoding, const char *errors);
const char *PyUnicode_AsUTF8AndSize(PyObject *text, Py_ssize_t *size);
int PyUnicode_EqualToUTF8(PyObject *text, const char *other);
PyObject *PyUnicode_InternFromString(const char *text);

PyObject *PyTuple_Pack(Py_ssize_t size, ...);
Py_ssize_t PyTuple_Size(PyObject *tuple);
PyObject *PyTuple_GetItem(PyObject *tuple, Py_ssize_t index);
PyObject *PyList_New(Py_ssize_t size);
Py_ssize_t PyList_Size(PyObject *list);
PyObject *PyList_GetItem(PyObject *list, Py_ssize_t index);
int PyList_SetItem(PyObject *list, Py_ssize_t index, PyObject *item);
PyObject *PyDict_GetItemWithError(PyObject *dict, PyObject *key);
int PyDict_SetItem(PyObject *dict, PyObject *key, PyObject *value);
int PyDict_DelItem(PyObject *dict, PyObject *key);

PyObject *PyObject_Vectorcall(PyObject *callable, PyObject *const *args, size_t nargs, PyObject *names);
PyObject *PyObject_VectorcallMethod(PyObject *name, PyObject *const *args, size_t nargs, PyObject *names);
PyObject *PyObject_CallFunctionObjArgs(PyObject *callable, ...);

int Py_EnterRecursiveCall(const char *where);

PyObject *PyErr_Occurred(void);
PyObject *PyErr_GetRaisedException(void);
void PyErr_SetObject(PyObject *type, PyObject *value);
void PyErr_Clear(void);
PyObject *PyErr_Format(PyObject *type, const char *format, ...);
PyObject *PyErr_NoMemory(void);

/* Type checks without the type objects' layout: the flags are part of the stable ABI. */
unsigned long PyType_GetFlags(PyObject *type);
#define Py_TPFLAGS_LONG_SUBCLASS (1UL << 24)
#define Py_TPFLAGS_BYTES_SUBCLASS (1UL << 27)
#define Py_TPFLAGS_UNICODE_SUBCLASS (1UL << 28)

#endif
