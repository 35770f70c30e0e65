/* Lists of pairs as the ABI puts them into bytes: what `_serialization.py` does, for what is plain.
 *
 * Each function gives None for anything else, right or wrong, and leaves it to the Python there.
 */
#include "shim.h"

enum { MOST_PAIRS = 1024, MOST_BYTES = 1 << 20, NUMBER = 4 };

static void write_number(char **at, size_t number) {
    for (int i = 0; i < NUMBER; i++) *(*at)++ = (char)(number >> 8 * i);
}

static void write_text(char **at, const View *text) {
    memcpy(*at, text->data, text->size);
    *at += text->size;
    *(*at)++ = '\0';
}

static size_t read_number(const char *at) {
    size_t number = 0;
    for (int i = 0; i < NUMBER; i++) number |= (size_t)(unsigned char)at[i] << 8 * i;
    return number;
}

/* The texts of a pair; -1 if it is no tuple of two that a header can consist of. */
static int view_pair(PyObject *pair, View *texts) {
    if (pair == NULL || pair->ob_type != &PyTuple_Type || PyTuple_Size(pair) != 2) return -1;
    if (header_view(PyTuple_GetItem(pair, 0), &texts[0]) < 0) return -1;
    if (header_view(PyTuple_GetItem(pair, 1), &texts[1]) == 0) return 0;
    release(&texts[0]);
    return -1;
}

static PyObject *serialize(const View *texts, size_t count) {
    size_t size = NUMBER;
    for (size_t i = 0; i < count; i++) size += NUMBER + texts[i].size + 1;
    if (size > MOST_BYTES) return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    char *at = bytes == NULL ? NULL : PyBytes_AsString(bytes);
    if (at == NULL) return NULL;
    write_number(&at, count / 2);
    for (size_t i = 0; i < count; i++) write_number(&at, texts[i].size);
    for (size_t i = 0; i < count; i++) write_text(&at, &texts[i]);
    return bytes;
}

/* A list or tuple of pairs → bytes */
static PyObject *encode_pairs(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    int is_list = nargs == 1 && args[0]->ob_type == &PyList_Type;
    if (!is_list && (nargs != 1 || args[0]->ob_type != &PyTuple_Type)) return Py_NewRef(Py_None);
    size_t count = (size_t)(is_list ? PyList_Size(args[0]) : PyTuple_Size(args[0])), seen = 0;
    View few[32], *texts = 2 * count <= sizeof few / sizeof *few ? few : NULL;
    if (texts == NULL && count <= MOST_PAIRS) texts = malloc(2 * count * sizeof(View));
    PyObject *bytes = NULL;
    if (texts != NULL) {
        for (; seen < count; seen++) {
            PyObject *pair = (is_list ? PyList_GetItem : PyTuple_GetItem)(args[0], (Py_ssize_t)seen);
            if (view_pair(pair, texts + 2 * seen) < 0) break;
        }
        if (seen == count) bytes = serialize(texts, 2 * count);
        release_all(texts, 2 * seen);
        if (texts != few) free(texts);
    }
    PyErr_Clear();
    return bytes == NULL ? Py_NewRef(Py_None) : bytes;
}

static PyObject *text(const char *data, Py_ssize_t size) { return PyUnicode_DecodeUTF8(data, size, "surrogateescape"); }

/* Bytes → a list of pairs, whose halves `make` makes. */
static PyObject *decode(PyObject *data, PyObject *(*make)(const char *, Py_ssize_t)) {
    char *start;
    Py_ssize_t length;
    if (data->ob_type != &PyBytes_Type || PyBytes_AsStringAndSize(data, &start, &length) < 0) return NULL;
    size_t size = (size_t)length, count = size < NUMBER ? 0 : read_number(start);
    if (size != 0 && (size < NUMBER || count > (size - NUMBER) / (2 * NUMBER + 2))) return NULL;
    size_t at = size == 0 ? 0 : NUMBER + 2 * NUMBER * count;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        const char *sizes = start + NUMBER + 2 * NUMBER * i;
        size_t key_size = read_number(sizes), value_size = read_number(sizes + NUMBER), rest = size - at;
        PyObject *pair = NULL;
        if (key_size < rest && value_size < rest - key_size - 1)
            pair = take_pair(make(start + at, (Py_ssize_t)key_size),
                             make(start + at + key_size + 1, (Py_ssize_t)value_size));
        if (pair == NULL || PyList_SetItem(list, (Py_ssize_t)i, pair) < 0) {
            Py_DecRef(list);
            return NULL;
        }
        at += key_size + value_size + 2;
    }
    if (list == NULL || at == size) return list;
    Py_DecRef(list);
    return NULL;
}

static PyObject *decode_or_none(PyObject *const *args, Py_ssize_t nargs, PyObject *(*make)(const char *, Py_ssize_t)) {
    PyObject *list = nargs == 1 ? decode(args[0], make) : NULL;
    if (list != NULL) return list;
    PyErr_Clear();
    return Py_NewRef(Py_None);
}

static PyObject *decode_pairs(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    return decode_or_none(args, nargs, PyBytes_FromStringAndSize);
}

static PyObject *decode_texts(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {
    return decode_or_none(args, nargs, text);
}

PyMethodDef pair_functions[] = {
    {"encode_pairs", encode_pairs, METH_FASTCALL, "encode_pairs(pairs) -> bytes | None"},
    {"decode_pairs", decode_pairs, METH_FASTCALL, "decode_pairs(data) -> list[tuple[bytes, bytes]] | None"},
    {"decode_texts", decode_texts, METH_FASTCALL, "decode_texts(data) -> list[tuple[str, str]] | None"},
    {0},
};
