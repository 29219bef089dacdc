/* The compiled plain path as Python sees it: compiled_path.pyi says what each thing does.
 *
 * `Path` answers one message (TCP, tests), `Batch` (compiled_batch.h) all that wait in a UDP socket.  compiled_reply.h
 * has the steps of an answer.
 *
 * Rules: nothing here waits, so the GIL is kept; an object is whole once it is made (tp_new), and belongs to one
 * thread; neither kind is seen by the garbage collector, so nothing that they refer to may refer to them.
 */

#include "compiled_reply.h"

/* --- Path --- */

/* Answer one message into `out`; an exception is left to the exact path, which meets it again. */
static Py_ssize_t plain_reply(Path *self, PyObject *view, Question *q, Py_ssize_t size, uint8_t *out)
{
    if (self->busy)
        return NOT_PLAIN;
    self->busy = 1;
    Py_ssize_t octets = take_view(self, view) ? reply_to(self, q, size, out) : ERROR;
    self->busy = 0;
    if (octets == ERROR && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
        return NOT_PLAIN;
    }
    return octets;
}

static PyObject *path_answer(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Path *self = (Path *)object;
    if (count < 3 || count > 4 || !PyBytes_Check(arguments[0])) {
        PyErr_SetString(PyExc_TypeError, "answer(packet, view, transport, rights=NAMES)");
        return NULL;
    }
    Question q = {.packet = (const uint8_t *)PyBytes_AS_STRING(arguments[0])};
    q.transport = PyLong_AsLong(arguments[2]);
    q.rights = count == 4 ? PyLong_AsLong(arguments[3]) : NAMES;
    if (PyErr_Occurred())
        return NULL;
    Py_ssize_t octets = plain_reply(self, arguments[1], &q, PyBytes_GET_SIZE(arguments[0]), self->reply);
    if (octets > 0)
        return PyBytes_FromStringAndSize((const char *)self->reply, octets);
    if (octets == ERROR)
        return NULL;
    if (self->or_else == Py_None)
        return Py_NewRef(self->not_plain);
    return PyObject_Vectorcall(self->or_else, arguments, (size_t)count, NULL);
}

static void path_free(PyObject *object)
{
    Path *self = (Path *)object;
    PyObject **const references[] = {&self->slots,     &self->describe, &self->open_view, &self->random,
                                     &self->not_plain, &self->or_else,  &self->cache,     &self->now};
    forget_view(self);
    forget_table(self);
    for (size_t n = 0; n < sizeof references / sizeof *references; n++)
        Py_CLEAR(*references[n]);
    Py_TYPE(object)->tp_free(object);
}

/* Note the slots of the types that are plain; 0 with an exception. */
static int take_types(Path *self, PyObject *types)
{
    Py_ssize_t at = 0;
    PyObject *type, *slot;
    memset(self->type_slots, 0xFF, sizeof self->type_slots);
    while (PyDict_Next(types, &at, &type, &slot)) {
        long number = PyLong_AsLong(type), its_slot = PyLong_AsLong(slot);
        if (PyErr_Occurred())
            return 0;
        if (number > 0 && number < TYPES && its_slot >= 0 && its_slot <= INT16_MAX)
            self->type_slots[number] = (short)its_slot;
    }
    return 1;
}

static PyObject *path_new(PyTypeObject *kind, PyObject *arguments, PyObject *words)
{
    static char *names[] = {"slots",       "udp_size",        "types",       "describe",      "open_view",
                            "random",      "protocol_stride", "nodata_slot", "nxdomain_slot", "not_plain",
                            "or_else",     "cache",           "now",         "forward_slot",  "hits_slot",
                            NULL};
    PyObject *types;
    Path *self = (Path *)kind->tp_alloc(kind, 0);
    if (!self)
        return NULL;
    int good = PyArg_ParseTupleAndKeywords(
        arguments, words, "O!iO!OOOlllOO|OOll", names, &PyList_Type, &self->slots, &self->udp_size, &PyDict_Type,
        &types, &self->describe, &self->open_view, &self->random, &self->protocol_stride, &self->nodata_slot,
        &self->nxdomain_slot, &self->not_plain, &self->or_else, &self->cache, &self->now, &self->forward_slot,
        &self->hits_slot);
    /* Borrowed so far; those that were not given are NULL. */
    Py_XINCREF(self->slots);
    Py_XINCREF(self->describe);
    Py_XINCREF(self->open_view);
    Py_XINCREF(self->random);
    Py_XINCREF(self->not_plain);
    Py_XINCREF(self->or_else);
    Py_XINCREF(self->cache);
    Py_XINCREF(self->now);
    if (good && (self->udp_size < 0 || self->udp_size > MOST_UDP)) {
        PyErr_SetString(PyExc_ValueError, "udp_size is more than a buffer has");
        good = 0;
    }
    if (!good || !take_types(self, types)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyMethodDef path_methods[] = {
    {"answer", (PyCFunction)(void (*)(void))path_answer, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject PathType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "svcdns.dns.compiled_path.Path",
    .tp_basicsize = sizeof(Path),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = path_new,
    .tp_dealloc = path_free,
    .tp_methods = path_methods,
};

#include "compiled_batch.h"

/* --- The module --- */

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "compiled_path",
    .m_doc = "The path of a plain question, compiled.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit_compiled_path(void)
{
    set_range_name = PyUnicode_InternFromString("set_range");
    key_name = PyUnicode_InternFromString("key");
    prev_name = PyUnicode_InternFromString("prev");
    last_name = PyUnicode_InternFromString("last");
    int named = set_range_name && key_name && prev_name && last_name;
    PyObject *made = named ? PyModule_Create(&module) : NULL;
    if (!made || PyModule_AddType(made, &PathType) || PyModule_AddType(made, &BatchType))
        Py_CLEAR(made);
    return made;
}
