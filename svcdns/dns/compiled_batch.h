/* The datagrams of one UDP socket, for the compiled path: received, answered and sent together.
 *
 *     receive   one recvmmsg of up to 64 datagrams into buffers of its own
 *     answer    a reply for each plain question; the others are returned for Python to decide
 *     recorded  some of the questions and their replies, as the tap keeps them; only while somebody wants to know
 *     send      sendmmsg of all replies, from the addresses that were asked
 *
 * These are steps, so that the read transaction can begin between the first and the second: what was received before it
 * began is answered from a state that has all that was acknowledged by then.
 *
 * Rules: only the first `received` places of an array mean something; lengths are the kernel's, and no larger than
 * the buffers that it was given; what the kernel does not take is dropped and counted, never waited for;
 * `octets` and `kept` of a place change together; Python code that is called by `answer` may not use the Batch.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "compiled_record.h"

enum { BATCH = 64, QUESTION_OCTETS = 4096, ANCILLARY = 64, CLIENTS = 1024 };
/* Buffers of 4,096 octets would all begin in the same sets of the processor's cache. */
enum { STEP = QUESTION_OCTETS + 192 };

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Address;

typedef struct {                        /* of whom the rights are known */
    sa_family_t family;
    uint8_t address[16];
    long rights;
} Client;

typedef struct {
    PyObject_HEAD
    Path *path;
    PyObject *rights;
    int descriptor, wildcard;
    int received;                       /* messages; what stands behind them in the arrays means nothing */
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_vectors[BATCH], out_vectors[BATCH];
    Address from[BATCH];
    _Alignas(struct cmsghdr) uint8_t ancillary[BATCH][ANCILLARY];
    Py_ssize_t octets[BATCH];           /* of each reply, 0 for none */
    PyObject *kept[BATCH];              /* a reply that Python has made, NULL for one in `replies` */
    Client clients[CLIENTS];
    uint8_t questions[BATCH][STEP], replies[BATCH][STEP];
    int answering;                      /* `answer` is at work, and may have called Python code */
    char texts[CLIENTS][INET6_ADDRSTRLEN];  /* of the clients' addresses; what each question reads is not among them */
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

/* Say whether a method may begin; 0 with an exception. */
static int is_free(const Batch *self)
{
    if (self->answering)
        PyErr_SetString(PyExc_RuntimeError, "the batch is being answered");
    return !self->answering;
}

static PyObject *batch_receive(PyObject *object, PyObject *Py_UNUSED(nothing))
{
    Batch *self = (Batch *)object;
    if (!is_free(self))
        return NULL;
    forget_replies(self);
    for (int n = 0; n < BATCH; n++) {
        self->in_vectors[n] = (struct iovec){self->questions[n], QUESTION_OCTETS};
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

/* Return the octets of an address; the kernel gives no other families on such sockets. */
static const void *octets_of(const Address *from, size_t *octets)
{
    int is_v6 = from->any.sa_family == AF_INET6;
    *octets = is_v6 ? sizeof from->v6.sin6_addr : sizeof from->v4.sin_addr;
    return is_v6 ? (const void *)&from->v6.sin6_addr : (const void *)&from->v4.sin_addr;
}

static int port_of(const Address *from)
{
    return ntohs(from->any.sa_family == AF_INET6 ? from->v6.sin6_port : from->v4.sin_port);
}

static void write_address(const Address *from, char text[INET6_ADDRSTRLEN])
{
    size_t octets;
    *text = 0;
    inet_ntop(from->any.sa_family, octets_of(from, &octets), text, INET6_ADDRSTRLEN);
}

static PyObject *address_text(const Address *from)
{
    char text[INET6_ADDRSTRLEN];
    write_address(from, text);
    return PyUnicode_FromString(text);
}

/* Say whether a client is known, and where it stands, or would. */
static int is_known(const Batch *self, const Address *from, size_t *place)
{
    size_t octets, sum = 0;
    const uint8_t *address = octets_of(from, &octets);
    for (size_t n = 0; n < octets; n++)
        sum = sum * 31 + address[n];
    *place = sum % CLIENTS;
    const Client *client = self->clients + *place;
    return client->family == from->any.sa_family && !memcmp(client->address, address, octets);
}

/* Return the rights of a client, negative for an exception; the text of its address is made only for a new one. */
static long rights_of(Batch *self, const Address *from)
{
    size_t octets, place;
    if (is_known(self, from, &place))
        return self->clients[place].rights;
    char address_in_text[INET6_ADDRSTRLEN];
    write_address(from, address_in_text);
    PyObject *text = PyUnicode_FromString(address_in_text);
    PyObject *found = text ? PyObject_GetItem(self->rights, text) : NULL;
    long rights = found ? PyLong_AsLong(found) : -1;
    Py_XDECREF(text);
    Py_XDECREF(found);
    if (rights >= 0) {
        Client *client = self->clients + place;
        client->family = from->any.sa_family;
        const void *address = octets_of(from, &octets);
        memcpy(client->address, address, octets);
        client->rights = rights;
        strcpy(self->texts[place], address_in_text);
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "rights are not negative");
    }
    return rights;
}

/* Make the ancillary data of a question that of its reply, which is to leave from the address that was asked.
 * The interface is left to routing, but for link-local addresses, which mean nothing without one. */
static void from_there(struct msghdr *message)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        struct in_pktinfo v4;
        struct in6_pktinfo v6;
        size_t octets = 0;
        if (head->cmsg_level == IPPROTO_IP && head->cmsg_type == IP_PKTINFO && head->cmsg_len >= CMSG_LEN(sizeof v4)) {
            octets = sizeof v4;
            memcpy(&v4, CMSG_DATA(head), octets);
            v4.ipi_ifindex = 0;
            v4.ipi_addr.s_addr = 0;
            memcpy(CMSG_DATA(head), &v4, octets);
        } else if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_PKTINFO &&
                   head->cmsg_len >= CMSG_LEN(sizeof v6)) {
            octets = sizeof v6;
            memcpy(&v6, CMSG_DATA(head), octets);
            if (v6.ipi6_addr.s6_addr[0] != 0xFE || v6.ipi6_addr.s6_addr[1] != 0x80)
                v6.ipi6_ifindex = 0;
            memcpy(CMSG_DATA(head), &v6, octets);
        }
        if (octets) {
            head->cmsg_len = CMSG_LEN(octets);
            message->msg_control = head;
            message->msg_controllen = CMSG_SPACE(octets);
            return;
        }
    }
    message->msg_control = NULL;
    message->msg_controllen = 0;
}

/* Return (number, packet, client, rights, ancillary) of a question that is not plain, as Python's sockets say it. */
static PyObject *for_python(Batch *self, int n, long rights)
{
    const Address *from = self->from + n;
    const struct cmsghdr *head = self->in[n].msg_hdr.msg_control;
    PyObject *text = address_text(from), *client, *ancillary;
    if (!text)
        return NULL;
    if (from->any.sa_family == AF_INET6)
        client = Py_BuildValue("NiII", text, port_of(from), ntohl(from->v6.sin6_flowinfo),
                               from->v6.sin6_scope_id);
    else
        client = Py_BuildValue("Ni", text, port_of(from));
    if (head)
        ancillary = Py_BuildValue("[(iiy#)]", head->cmsg_level, head->cmsg_type, CMSG_DATA(head),
                                  (Py_ssize_t)(head->cmsg_len - CMSG_LEN(0)));
    else
        ancillary = PyList_New(0);
    /* "N" takes these over, and is an exception where one of them is NULL. */
    return Py_BuildValue("iy#NlN", n, self->questions[n], (Py_ssize_t)self->in[n].msg_len, client, rights, ancillary);
}

static PyObject *batch_answer(PyObject *object, PyObject *view)
{
    Batch *self = (Batch *)object;
    if (!is_free(self))
        return NULL;
    PyObject *rest = PyList_New(0);
    self->answering = 1;
    for (int n = 0; rest && n < self->received; n++) {
        Question q = {.packet = self->questions[n]};
        from_there(&self->in[n].msg_hdr);
        q.rights = rights_of(self, self->from + n);
        Py_ssize_t octets = q.rights < 0 ? ERROR : NOT_PLAIN;
        if (q.rights >= 0 && view != Py_None)
            octets = plain_reply(self->path, view, &q, self->in[n].msg_len, self->replies[n]);
        /* A reply of an earlier call is none any more, whoever made it. */
        Py_CLEAR(self->kept[n]);
        self->octets[n] = octets > 0 ? octets : 0;
        if (octets > 0)
            continue;
        PyObject *one = octets == ERROR ? NULL : for_python(self, n, q.rights);
        if (!one || PyList_Append(rest, one))
            Py_CLEAR(rest);
        Py_XDECREF(one);
    }
    self->answering = 0;
    return rest;
}

static PyObject *batch_put(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Batch *self = (Batch *)object;
    if (!is_free(self))
        return NULL;
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

static void *reply_of(Batch *self, int n)
{
    return self->kept[n] ? (void *)PyBytes_AS_STRING(self->kept[n]) : self->replies[n];
}

/* Return the text of a client's address, which may be written into `text`. */
static const char *text_of(const Batch *self, const Address *from, char text[INET6_ADDRSTRLEN])
{
    size_t place;
    if (is_known(self, from, &place))
        return self->texts[place];
    write_address(from, text);
    return text;
}

/* Return how many were chosen, and their array of [question, client] and of [reply, nil]. */
static PyObject *batch_recorded(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Batch *self = (Batch *)object;
    int chosen[BATCH], items = 0;
    char text[INET6_ADDRSTRLEN];
    Py_ssize_t most = 2 * ARRAY_HEAD;
    long skip = count == 2 ? PyLong_AsLong(arguments[0]) : -1, step = skip < 0 ? -1 : PyLong_AsLong(arguments[1]);
    if (!is_free(self))
        return NULL;
    if (skip < 0 || step < 1) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "recorded(number of the first reply, step)");
        return NULL;
    }
    for (int n = 0; n < self->received; n++) {
        if (!self->octets[n] || skip-- > 0)
            continue;
        skip = step - 1;
        chosen[items++] = n;
        most += 2 * MESSAGE_HEAD + MOST_CLIENT + 1 + (Py_ssize_t)self->in[n].msg_len + self->octets[n];
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, most);
    if (!made)
        return NULL;
    uint8_t *start = (uint8_t *)PyBytes_AS_STRING(made), *at = put_array(start, items);
    for (int n = 0; n < items; n++) {
        at = put_message(at, self->questions[chosen[n]], self->in[chosen[n]].msg_len);
        at = put_client(at, text_of(self, self->from + chosen[n], text), port_of(self->from + chosen[n]));
    }
    at = put_array(at, items);
    for (int n = 0; n < items; n++) {
        at = put_message(at, reply_of(self, chosen[n]), self->octets[chosen[n]]);
        *at++ = NIL;
    }
    return _PyBytes_Resize(&made, at - start) ? NULL : Py_BuildValue("iN", items, made);
}

static PyObject *batch_send(PyObject *object, PyObject *Py_UNUSED(nothing))
{
    Batch *self = (Batch *)object;
    if (!is_free(self))
        return NULL;
    unsigned count = 0, sent = 0, dropped = 0;
    for (int n = 0; n < self->received; n++) {
        if (!self->octets[n])
            continue;
        self->out_vectors[count] = (struct iovec){reply_of(self, n), (size_t)self->octets[n]};
        self->out[count].msg_hdr = self->in[n].msg_hdr;
        self->out[count].msg_hdr.msg_iov = self->out_vectors + count;
        self->out[count].msg_hdr.msg_flags = 0;
        count++;
    }
    while (sent < count) {
        int done = sendmmsg(self->descriptor, self->out + sent, count - sent, MSG_DONTWAIT);
        if (done < 0 && errno == EINTR)
            continue;
        /* Fewer than all: the next one comes first then, and shows what is wrong.  That one is dropped. */
        sent += done > 0 ? (unsigned)done : 1;
        dropped += done <= 0;
    }
    forget_replies(self);
    return PyLong_FromUnsignedLong(dropped);
}

static void batch_free(PyObject *object)
{
    Batch *self = (Batch *)object;
    forget_replies(self);
    Py_XDECREF(self->path);
    Py_XDECREF(self->rights);
    Py_TYPE(object)->tp_free(object);
}

/* By calloc: a page of the buffers is in memory only once something has been read into it. */
static PyObject *batch_alloc(PyTypeObject *kind, Py_ssize_t items)
{
    PyObject *made = PyObject_Calloc(1, (size_t)kind->tp_basicsize);
    (void)items;
    return made ? PyObject_Init(made, kind) : PyErr_NoMemory();
}

static PyObject *batch_new(PyTypeObject *kind, PyObject *arguments, PyObject *words)
{
    static char *names[] = {"path", "descriptor", "rights", "wildcard", NULL};
    Batch *self = (Batch *)kind->tp_alloc(kind, 0);
    if (!self)
        return NULL;
    int good = PyArg_ParseTupleAndKeywords(arguments, words, "O!iOp", names, &PathType, &self->path,
                                           &self->descriptor, &self->rights, &self->wildcard);
    /* Borrowed so far; those that were not given are NULL. */
    Py_XINCREF(self->path);
    Py_XINCREF(self->rights);
    if (!good)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyMethodDef batch_methods[] = {
    {"receive", batch_receive, METH_NOARGS, NULL},
    {"answer", batch_answer, METH_O, NULL},
    {"put", (PyCFunction)(void (*)(void))batch_put, METH_FASTCALL, NULL},
    {"recorded", (PyCFunction)(void (*)(void))batch_recorded, METH_FASTCALL, NULL},
    {"send", batch_send, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject BatchType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "svcdns.dns.compiled_path.Batch",
    .tp_basicsize = sizeof(Batch),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_alloc = batch_alloc,
    .tp_new = batch_new,
    .tp_dealloc = batch_free,
    .tp_methods = batch_methods,
};
