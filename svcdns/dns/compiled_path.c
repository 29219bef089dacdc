/* The compiled plain path as Python sees it: compiled_path.pyi says what each thing does.
 *
 * `Path` answers one message (TCP, tests), `Batch` all that wait in a UDP socket, in three steps, so that the read
 * transaction can begin between the first and the second:
 *
 *     receive   one recvmmsg of up to 64 datagrams into buffers of its own
 *     answer    a reply for each plain question; the others are returned for Python to decide
 *     send      sendmmsg of all replies, from the addresses that were asked
 */

#include "compiled_reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* --- Path --- */

/* Answer one message into `out`; an exception is left to the exact path, which meets it again. */
static Py_ssize_t plain_reply(Path *self, PyObject *view, const uint8_t *packet, Py_ssize_t size, int transport,
                              long rights, uint8_t *out)
{
    Question q = {.packet = packet, .transport = transport, .rights = rights};
    if (self->busy)
        return NOT_PLAIN;
    self->busy = 1;
    Py_ssize_t octets = take_view(self, view) ? reply_to(self, &q, size, out) : ERROR;
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
    long transport = PyLong_AsLong(arguments[2]), rights = count == 4 ? PyLong_AsLong(arguments[3]) : NAMES;
    if ((transport == -1 || rights == -1) && PyErr_Occurred())
        return NULL;
    Py_ssize_t octets =
        plain_reply(self, arguments[1], (const uint8_t *)PyBytes_AS_STRING(arguments[0]),
                    PyBytes_GET_SIZE(arguments[0]), transport != 0, rights, self->reply);
    if (octets > 0)
        return PyBytes_FromStringAndSize((const char *)self->reply, octets);
    if (octets == ERROR)
        return NULL;
    if (self->or_else == Py_None)
        return Py_NewRef(self->not_plain);
    return PyObject_Vectorcall(self->or_else, arguments, (size_t)count, NULL);
}

static int path_init(PyObject *object, PyObject *arguments, PyObject *words)
{
    static char *names[] = {"slots",           "udp_size",    "types",        "describe", "open_view", "random",
                            "protocol_stride", "nodata_slot", "nxdomain_slot", "not_plain", "or_else",  NULL};
    Path *self = (Path *)object;
    PyObject *slots, *types, *describe, *open_view, *random, *not_plain, *or_else;
    if (self->slots) {
        PyErr_SetString(PyExc_TypeError, "made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, words, "O!IO!OOOlllOO", names, &PyList_Type, &slots,
                                     &self->udp_size, &PyDict_Type, &types, &describe, &open_view, &random,
                                     &self->protocol_stride, &self->nodata_slot, &self->nxdomain_slot, &not_plain,
                                     &or_else))
        return -1;
    if (self->udp_size > MOST_UDP) {
        PyErr_SetString(PyExc_ValueError, "udp_size is more than a buffer has");
        return -1;
    }
    memset(self->type_slots, 0xFF, sizeof self->type_slots);
    Py_ssize_t at = 0;
    PyObject *type, *slot;
    while (PyDict_Next(types, &at, &type, &slot)) {
        long number = PyLong_AsLong(type), its_slot = PyLong_AsLong(slot);
        if (PyErr_Occurred())
            return -1;
        if (number > 0 && number < 256)
            self->type_slots[number] = (short)its_slot;
    }
    self->slots = Py_NewRef(slots);
    self->describe = Py_NewRef(describe);
    self->open_view = Py_NewRef(open_view);
    self->random = Py_NewRef(random);
    self->not_plain = Py_NewRef(not_plain);
    self->or_else = Py_NewRef(or_else);
    return 0;
}

static void path_free(PyObject *object)
{
    Path *self = (Path *)object;
    forget_view(self);
    forget_table(self);
    Py_CLEAR(self->slots);
    Py_CLEAR(self->describe);
    Py_CLEAR(self->open_view);
    Py_CLEAR(self->random);
    Py_CLEAR(self->not_plain);
    Py_CLEAR(self->or_else);
    Py_TYPE(object)->tp_free(object);
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
    .tp_new = PyType_GenericNew,
    .tp_init = path_init,
    .tp_dealloc = path_free,
    .tp_methods = path_methods,
};

/* --- Batch --- */

enum { BATCH = 64, QUESTION_OCTETS = 4096, ANCILLARY = 64, CLIENTS = 1024 };
/* Buffers of 4,096 octets would all begin in the same sets of the processor's cache. */
enum { STEP = QUESTION_OCTETS + 192 };

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Address;

typedef struct {                        /* of whom the rights are known */
    uint8_t address[16];
    sa_family_t family;
    long rights;
} Client;

typedef struct {
    PyObject_HEAD
    Path *path;
    PyObject *rights;
    int descriptor, wildcard, busy;
    int received;
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_vectors[BATCH], out_vectors[BATCH];
    Address from[BATCH];
    _Alignas(struct cmsghdr) uint8_t ancillary[BATCH][ANCILLARY];
    Py_ssize_t octets[BATCH];           /* of each reply, 0 for none */
    PyObject *kept[BATCH];              /* a reply that Python has made, NULL for one in `replies` */
    Client clients[CLIENTS];
    uint8_t questions[BATCH * STEP], replies[BATCH * STEP];
} Batch;

_Static_assert((int)MOST_UDP <= (int)STEP, "a reply has room in its buffer");

static void forget_replies(Batch *self)
{
    for (int n = 0; n < self->received; n++) {
        Py_CLEAR(self->kept[n]);
        self->octets[n] = 0;
    }
    self->received = 0;
}

static PyObject *batch_receive(PyObject *object, PyObject *Py_UNUSED(nothing))
{
    Batch *self = (Batch *)object;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "a batch is one thread's");
        return NULL;
    }
    forget_replies(self);
    for (int n = 0; n < BATCH; n++) {
        self->in_vectors[n] = (struct iovec){self->questions + n * STEP, QUESTION_OCTETS};
        self->in[n].msg_hdr = (struct msghdr){
            .msg_name = self->from + n,
            .msg_namelen = sizeof(Address),
            .msg_iov = self->in_vectors + n,
            .msg_iovlen = 1,
            .msg_control = self->wildcard ? self->ancillary[n] : NULL,
            .msg_controllen = self->wildcard ? ANCILLARY : 0,
        };
    }
    int count = recvmmsg(self->descriptor, self->in, BATCH, MSG_DONTWAIT, NULL);
    /* Nothing there; or an error of an earlier send, which the next event gets past. */
    self->received = count > 0 ? count : 0;
    return PyLong_FromLong(self->received);
}

static PyObject *address_text(const Address *from)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (from->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &from->v4.sin_addr, text, sizeof text);
    else if (from->any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &from->v6.sin6_addr, text, sizeof text);
    return PyUnicode_FromString(text);
}

/* Return the rights of a client, -1 for an exception; the text of its address is made only for a new one. */
static long rights_of(Batch *self, const Address *from)
{
    uint8_t address[16] = {0};
    if (from->any.sa_family == AF_INET)
        memcpy(address, &from->v4.sin_addr, 4);
    else if (from->any.sa_family == AF_INET6)
        memcpy(address, &from->v6.sin6_addr, 16);
    Client *client = self->clients + hash_on(HASH_BASIS, address, 16) % CLIENTS;
    if (client->family == from->any.sa_family && !memcmp(client->address, address, 16))
        return client->rights;
    PyObject *text = address_text(from);
    PyObject *found = text ? PyObject_GetItem(self->rights, text) : NULL;
    long rights = found ? PyLong_AsLong(found) : -1;
    Py_XDECREF(text);
    Py_XDECREF(found);
    if (rights < 0)
        return -1;
    client->family = from->any.sa_family;
    memcpy(client->address, address, 16);
    client->rights = rights;
    return rights;
}

/* Make the ancillary data of a question that of its reply, which is to leave from the address that was asked.
 * The interface is left to routing, but for link-local addresses, which mean nothing without one.  Returns the
 * one header there is, NULL for none. */
static struct cmsghdr *from_there(struct msghdr *message)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        size_t octets = 0;
        if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO &&
            head->cmsg_len >= CMSG_LEN(sizeof(struct in_pktinfo))) {
            struct in_pktinfo info;
            octets = sizeof info;
            memcpy(&info, CMSG_DATA(head), octets);
            info.ipi_ifindex = 0;
            info.ipi_addr.s_addr = 0;
            memcpy(CMSG_DATA(head), &info, octets);
        } else if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_PKTINFO &&
                   head->cmsg_len >= CMSG_LEN(sizeof(struct in6_pktinfo))) {
            struct in6_pktinfo info;
            octets = sizeof info;
            memcpy(&info, CMSG_DATA(head), octets);
            if (info.ipi6_addr.s6_addr[0] != 0xFE || info.ipi6_addr.s6_addr[1] != 0x80)
                info.ipi6_ifindex = 0;
            memcpy(CMSG_DATA(head), &info, octets);
        }
        if (octets) {
            message->msg_control = head;
            message->msg_controllen = CMSG_SPACE(octets);
            return head;
        }
    }
    message->msg_control = NULL;
    message->msg_controllen = 0;
    return NULL;
}

/* Return (number, packet, client, rights, ancillary) of a question that is not plain, as Python's sockets say it. */
static PyObject *for_python(Batch *self, int n, long rights)
{
    const Address *from = self->from + n;
    PyObject *text = address_text(from), *client;
    if (!text)
        return NULL;
    if (from->any.sa_family == AF_INET6)
        client = Py_BuildValue("NiII", text, (int)ntohs(from->v6.sin6_port), ntohl(from->v6.sin6_flowinfo),
                               from->v6.sin6_scope_id);
    else
        client = Py_BuildValue("Ni", text, (int)ntohs(from->v4.sin_port));
    const struct msghdr *message = &self->in[n].msg_hdr;
    struct cmsghdr *head = message->msg_controllen ? message->msg_control : NULL;
    PyObject *ancillary =
        head ? Py_BuildValue("[(iiy#)]", head->cmsg_level, head->cmsg_type, CMSG_DATA(head),
                             (Py_ssize_t)(head->cmsg_len - CMSG_LEN(0)))
             : PyList_New(0);
    if (!client || !ancillary) {
        Py_XDECREF(client);
        Py_XDECREF(ancillary);
        return NULL;
    }
    return Py_BuildValue("iy#NlN", n, self->questions + n * STEP, (Py_ssize_t)self->in[n].msg_len, client, rights,
                         ancillary);
}

static PyObject *batch_answer(PyObject *object, PyObject *view)
{
    Batch *self = (Batch *)object;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "a batch is one thread's");
        return NULL;
    }
    PyObject *rest = PyList_New(0);
    self->busy = 1;
    for (int n = 0; rest && n < self->received; n++) {
        from_there(&self->in[n].msg_hdr);
        long rights = rights_of(self, self->from + n);
        Py_ssize_t octets = rights < 0 ? ERROR : NOT_PLAIN;
        if (rights >= 0 && view != Py_None)
            octets = plain_reply(self->path, view, self->questions + n * STEP, self->in[n].msg_len, 0, rights,
                                 self->replies + n * STEP);
        if (octets > 0) {
            self->octets[n] = octets;
            continue;
        }
        PyObject *one = octets == ERROR ? NULL : for_python(self, n, rights);
        if (!one || PyList_Append(rest, one))
            Py_CLEAR(rest);
        Py_XDECREF(one);
    }
    self->busy = 0;
    return rest;
}

static PyObject *batch_put(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Batch *self = (Batch *)object;
    long n = count == 2 ? PyLong_AsLong(arguments[0]) : -1;
    if (n < 0 || n >= self->received || !PyBytes_Check(arguments[1])) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "put(number of a question, reply)");
        return NULL;
    }
    Py_XSETREF(self->kept[n], Py_NewRef(arguments[1]));
    self->octets[n] = PyBytes_GET_SIZE(arguments[1]);
    Py_RETURN_NONE;
}

static PyObject *batch_send(PyObject *object, PyObject *Py_UNUSED(nothing))
{
    Batch *self = (Batch *)object;
    unsigned count = 0, sent = 0, dropped = 0;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "a batch is one thread's");
        return NULL;
    }
    for (int n = 0; n < self->received; n++) {
        if (!self->octets[n])
            continue;
        void *reply = self->kept[n] ? (void *)PyBytes_AS_STRING(self->kept[n]) : self->replies + n * STEP;
        self->out_vectors[count] = (struct iovec){reply, (size_t)self->octets[n]};
        self->out[count].msg_hdr = self->in[n].msg_hdr;
        self->out[count].msg_hdr.msg_iov = self->out_vectors + count;
        self->out[count].msg_hdr.msg_flags = 0;
        count++;
    }
    while (sent < count) {
        int done = sendmmsg(self->descriptor, self->out + sent, count - sent, MSG_DONTWAIT);
        if (done > 0) {
            sent += (unsigned)done;
        } else if (errno != EINTR) {                     /* the kernel would not take this one */
            dropped++;
            sent++;
        }
    }
    forget_replies(self);
    return PyLong_FromUnsignedLong(dropped);
}

static int batch_init(PyObject *object, PyObject *arguments, PyObject *words)
{
    static char *names[] = {"path", "descriptor", "rights", "wildcard", NULL};
    Batch *self = (Batch *)object;
    PyObject *path, *rights;
    if (self->path) {
        PyErr_SetString(PyExc_TypeError, "made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, words, "O!iOp", names, &PathType, &path, &self->descriptor, &rights,
                                     &self->wildcard))
        return -1;
    self->path = (Path *)Py_NewRef(path);
    self->rights = Py_NewRef(rights);
    return 0;
}

static void batch_free(PyObject *object)
{
    Batch *self = (Batch *)object;
    forget_replies(self);
    Py_CLEAR(self->path);
    Py_CLEAR(self->rights);
    Py_TYPE(object)->tp_free(object);
}

static PyMethodDef batch_methods[] = {
    {"receive", batch_receive, METH_NOARGS, NULL},
    {"answer", batch_answer, METH_O, NULL},
    {"put", (PyCFunction)(void (*)(void))batch_put, METH_FASTCALL, NULL},
    {"send", batch_send, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject BatchType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "svcdns.dns.compiled_path.Batch",
    .tp_basicsize = sizeof(Batch),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = batch_init,
    .tp_dealloc = batch_free,
    .tp_methods = batch_methods,
};

/* --- The module --- */

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "compiled_path",
    .m_doc = "The path of a plain question, compiled.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit_compiled_path(void)
{
    PyObject *made = PyModule_Create(&module);
    if (!made || PyModule_AddType(made, &PathType) || PyModule_AddType(made, &BatchType)) {
        Py_XDECREF(made);
        return NULL;
    }
    return made;
}
