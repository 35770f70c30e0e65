/* Text and bytes on their way between Python and the host, and pairs of them. */
#include "shim.h"

void release(View *view) {
    if (view->owner != NULL) Py_DecRef(view->owner);
    view->owner = NULL;
}

/* Nearly every argument is a str without surrogates, or bytes, so that is tried first. */
int view_with(const char *errors, PyObject *value, View *out) {
    Py_ssize_t size = 0;
    *out = (View){NULL, 0, NULL};
    if (value->ob_type != &PyBytes_Type) out->data = PyUnicode_AsUTF8AndSize(value, &size);
    if (out->data == NULL) {
        PyErr_Clear();
        unsigned long flags = PyType_GetFlags(value->ob_type);
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

int view(PyObject *value, View *out) { return view_with("surrogateescape", value, out); }

int header_view(PyObject *value, View *out) {
    if (view(value, out) < 0) return -1;
    for (size_t i = 0; i < out->size; i++) {
        unsigned char byte = (unsigned char)out->data[i];
        if (byte > '\r') continue; /* nearly all */
        if (byte == '\n' || byte == '\r' || byte == '\0') {
            PyErr_Format(PyExc_ValueError, "a header must not contain a line break or NUL: %R", value);
            release(out);
            return -1;
        }
    }
    return 0;
}

void release_all(View *views, size_t count) {
    for (size_t i = 0; i < count; i++) release(&views[i]);
}

int view_all(PyObject *const *values, View *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (view(values[i], &out[i]) < 0) {
            release_all(out, i);
            return -1;
        }
    }
    return 0;
}

PyObject *take_bytes(char *data, size_t size) {
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    free(data);
    return bytes;
}

PyObject *take_text(char *data, size_t size) {
    PyObject *text = PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, "surrogateescape");
    free(data);
    return text;
}

PyObject *take_pair(PyObject *first, PyObject *second) {
    PyObject *result = first != NULL && second != NULL ? PyTuple_Pack(2, first, second) : NULL;
    if (first != NULL) Py_DecRef(first);
    if (second != NULL) Py_DecRef(second);
    return result;
}
