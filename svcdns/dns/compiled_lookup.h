/* Of the compiled plain path: reading a question, the zones, and the snapshot that answers it.
 *
 * compiled_reply.h has the steps and the rules.  What holds here:
 *   - offsets into a question are compared with its size before an octet is read;
 *   - the tuples that Python gives (`described`, `opened`) are kept as long as what points into them;
 *   - a row is a bytes object of its own, never memory of LMDB's: the end of the transaction does not touch it.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

_Static_assert(sizeof(Py_ssize_t) == 8, "sums of numbers of 32 bits have room");

/* The protocol's numbers (svcdns.wire.header, svcdns.wire.codes), the layout of rows (svcdns.names.packed), and
 * the sizes of buffers. */
enum { HEADER = 12, TYPE_CLASS = 4, RR_FIXED = 10, POINTED_RR = 12, OPT_OCTETS = 11, OPTION = 4, MIN_UDP = 512 };
enum { MAX_LABEL = 63, MAX_NAME = 255, MAX_LABELS = 128, MOST_LINKS = 8, POINTER = 0xC000, FARTHEST = 0x3FFF };
enum { QR = 0x8000, AA = 0x0400, TC = 0x0200, RA = 0x0080, CD = 0x0010, RCODE_NXDOMAIN = 3 };
enum { TYPE_NS = 2, TYPE_CNAME = 5, TYPE_MX = 15, TYPE_SRV = 33, TYPE_OPT = 41, CLASS_IN = 1, TYPES = 256 };
enum { NAMES = 1, FORWARD = 2 };                        /* rights (svcdns.dns.access) */
enum { ROW_PARTS = 8, TYPES_AT = 2, ENTRY = 20 };
enum { MOST_UDP = 4096, MOST_TCP = 65535, MOST_KEY = 512, MOST_KNOWN = 512 };

/* What a zone needs that is more than a row (svcdns.dns.path_choice). */
enum { OF_FILE = 1, NEVER = 2, NO_NXDOMAIN = 4, SIGNED = 8, INSECURE_PODS = 16, WILDCARDS = 32 };

/* Instead of the octets of a reply; FOLLOWED: to go on at the target of a CNAME. */
enum { FOLLOWED = -2, ERROR = -1, NOT_PLAIN = 0 };

static inline unsigned get16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }
static inline uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static inline void put16(uint8_t *at, unsigned value) { at[0] = (uint8_t)(value >> 8); at[1] = (uint8_t)value; }

typedef struct {
    PyObject *zone, *key, *prefix;      /* of `described`: the Zone, its key, what is in front of its rows' keys */
    int flags, above;                   /* `above`: the number of the closest zone that this one lies in, or -1 */
    long slot;                          /* of its counters */
    unsigned origin_octets;             /* of the origin on the wire */
    PyObject *soa;                      /* the negative SOA without its owner, as the view `soa_view` had it */
    uint64_t soa_view;
} Zone;

typedef struct {
    PyObject_HEAD
    PyObject *slots, *describe, *open_view, *random, *not_plain, *or_else, *cache, *now;
    long protocol_stride, nodata_slot, nxdomain_slot, forward_slot, hits_slot;
    int udp_size;
    short type_slots[TYPES];            /* -1: a type that is not plain */
    /* The zones, as they were described last; what is borrowed belongs to `described`. */
    PyObject *table, *described;
    Zone *zones, *cluster;
    Py_ssize_t zone_count;
    PyObject *cluster_key, *svc_key, *pod_key;
    int short_names;
    /* The view, as it was opened last; what is borrowed belongs to `opened`. */
    PyObject *view, *opened, *get, *answers, *zone_rows, *cursors[2];
    uint64_t view_number;
    int handed_on;                      /* a question of this view was left to Python for a reason to be given */
    int busy;
    uint8_t reply[MOST_TCP];
} Path;

typedef struct {
    const uint8_t *packet;
    Py_ssize_t end;                     /* of the question */
    /* The name that is looked up: the question's, then the target of each CNAME.  Where it and its root stand in the
     * reply; where the next RR goes; how many CNAMEs are in front of that. */
    Py_ssize_t name, root_at, at;
    unsigned links;
    unsigned type;
    int limit;                          /* octets of the whole reply */
    int opt, do_bit;
    long transport, rights;             /* transport: 0 is UDP, whose replies are `limit`ed */
    Py_ssize_t key_octets;
    uint8_t key[MOST_KEY];
} Question;

/* --- 1. Reading the question --- */

/* Walk the labels of the name at octet `at` up to the root and write its key (svcdns.wire.key): from the root down,
 * lower case, each label ended by NUL.  A label that holds an octet which keys escape is not plain. */
static int read_name(Question *q, const uint8_t *octets, Py_ssize_t at, Py_ssize_t size)
{
    uint16_t labels[MAX_LABELS];
    int count = 0;
    Py_ssize_t most = at + MAX_NAME - 1, to = 0;
    q->name = at;
    while (at < size && octets[at]) {
        if (octets[at] > MAX_LABEL || at > most || count == MAX_LABELS)
            return 0;
        labels[count++] = (uint16_t)at;
        at += 1 + octets[at];
    }
    if (at > most || at >= size)
        return 0;
    q->root_at = at;
    while (count--) {
        const uint8_t *label = octets + labels[count];
        for (int n = *label++; n; n--, label++) {
            if (*label < 2)
                return 0;
            q->key[to++] = *label >= 'A' && *label <= 'Z' ? *label | 0x20 : *label;
        }
        q->key[to++] = 0;
    }
    q->key_octets = to;
    return 1;
}

/* Read the OPT that is to be all that stands behind the question: version 0, and whole options, which nobody
 * heeds (svcdns.wire.edns). */
static int read_opt(const Path *self, Question *q, Py_ssize_t size)
{
    const uint8_t *opt = q->packet + q->end;
    Py_ssize_t at = q->end + OPT_OCTETS;
    if (at > size || opt[0] || get16(opt + 1) != TYPE_OPT || opt[6] || get16(opt + 9) != size - at)
        return 0;
    while (size - at >= OPTION)
        at += OPTION + get16(q->packet + at + 2);
    int asked = (int)get16(opt + 3);
    asked = asked < MIN_UDP ? MIN_UDP : asked;
    q->limit = asked < self->udp_size ? asked : self->udp_size;
    q->opt = 1;
    q->do_bit = opt[7] >> 7;
    return at == size;
}

static int read_question(const Path *self, Question *q, Py_ssize_t size)
{
    static const uint8_t one_question[] = {0, 1, 0, 0, 0, 0, 0};
    const uint8_t *packet = q->packet;
    /* QR, opcode, AA and TC must be 0; RA, Z, AD and the rcode of a question mean nothing. */
    if (size < HEADER || memcmp(packet + 4, one_question, sizeof one_question) || packet[2] > 1 || packet[11] > 1)
        return 0;
    if (!(q->rights & NAMES) || !read_name(q, packet, HEADER, size))
        return 0;
    q->at = q->end = q->root_at + 1 + TYPE_CLASS;
    if (q->end > size)
        return 0;
    q->type = get16(packet + q->root_at + 1);
    if (q->type >= TYPES || self->type_slots[q->type] < 0 || get16(packet + q->root_at + 3) != CLASS_IN)
        return 0;
    q->limit = self->udp_size < MIN_UDP ? self->udp_size : MIN_UDP;
    if (packet[11] ? !read_opt(self, q, size) : size != q->end)
        return 0;
    if (q->transport)
        q->limit = MOST_TCP;
    return 1;
}

/* --- 2. The zones, and which one a name is in --- */

static int begins_with(const uint8_t *key, Py_ssize_t octets, PyObject *prefix)
{
    Py_ssize_t size = PyBytes_GET_SIZE(prefix);
    return octets >= size && !memcmp(key, PyBytes_AS_STRING(prefix), (size_t)size);
}

static int is_behind(PyObject *key, const Question *q)
{
    Py_ssize_t size = PyBytes_GET_SIZE(key);
    int order = memcmp(PyBytes_AS_STRING(key), q->key, (size_t)(size < q->key_octets ? size : q->key_octets));
    return order > 0 || (order == 0 && size > q->key_octets);
}

static int is_below(PyObject *key, const Question *q)
{
    return PyBytes_GET_SIZE(key) >= q->key_octets && !memcmp(PyBytes_AS_STRING(key), q->key, (size_t)q->key_octets);
}

/* Return the closest zone at or above a name; NULL where a row is not enough, or where none is.  The name is
 * `outside` where none is below it either.
 *
 * A zone's key is a prefix of the keys of all names in it, and zones come in the order of keys.  So the last zone
 * that is not behind a name is its closest one, or lies in that. */
static Zone *zone_of(const Path *self, const Question *q, int *outside)
{
    Py_ssize_t low = 0, high = self->zone_count;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (is_behind(self->zones[middle].key, q))
            high = middle;
        else
            low = middle + 1;
    }
    Py_ssize_t n = low - 1;
    while (n >= 0 && !begins_with(q->key, q->key_octets, self->zones[n].key))
        n = self->zones[n].above;
    *outside = n < 0 && (low == self->zone_count || !is_below(self->zones[low].key, q));
    if (n < 0 || self->zones[n].flags & NEVER || (q->do_bit && self->zones[n].flags & SIGNED))
        return NULL;
    return self->zones + n;
}

/* Short names: put `svc` behind the cluster domain unless a label stands there that is no namespace. */
static void to_standard(const Path *self, Question *q)
{
    static const char *const standard[] = {"svc", "pod", "dns", "dns-version"};
    Py_ssize_t origin = PyBytes_GET_SIZE(self->cluster_key), added = PyBytes_GET_SIZE(self->svc_key) - origin;
    if (!self->short_names || q->key_octets == origin)
        return;
    const char *label = (const char *)q->key + origin;
    for (int n = 0; n < 4; n++)
        if (!strcmp(label, standard[n]))                /* labels end in NUL, and hold none */
            return;
    memmove(q->key + origin + added, q->key + origin, (size_t)(q->key_octets - origin));
    memcpy(q->key + origin, PyBytes_AS_STRING(self->svc_key) + origin, (size_t)added);
    q->key_octets += added;
}

static void forget_table(Path *self)
{
    for (Py_ssize_t n = 0; n < self->zone_count; n++)
        Py_XDECREF(self->zones[n].soa);
    self->zone_count = 0;
    PyMem_Free(self->zones);
    self->zones = self->cluster = NULL;
    Py_CLEAR(self->table);
    Py_CLEAR(self->described);
}

static int take_table(Path *self, PyObject *table)
{
    PyObject *zones;
    Py_ssize_t cluster;
    forget_table(self);
    self->described = PyObject_CallOneArg(self->describe, table);
    if (!self->described || !PyArg_ParseTuple(self->described, "O!nSSSp", &PyTuple_Type, &zones, &cluster,
                                              &self->cluster_key, &self->svc_key, &self->pod_key,
                                              &self->short_names))
        return 0;
    Py_ssize_t count = PyTuple_GET_SIZE(zones);
    self->zones = PyMem_Calloc((size_t)count, sizeof(Zone));
    if (!self->zones) {
        PyErr_NoMemory();
        return 0;
    }
    Py_ssize_t added = PyBytes_GET_SIZE(self->svc_key) - PyBytes_GET_SIZE(self->cluster_key);
    int good = cluster < count && added > 0 && added < 9;   /* a key of a name has 255 octets: that much has room */
    for (Py_ssize_t n = 0; good && n < count; n++) {
        Zone *zone = self->zones + n;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(zones, n), "OSiilSI", &zone->zone, &zone->key, &zone->flags,
                              &zone->above, &zone->slot, &zone->prefix, &zone->origin_octets))
            return 0;
        good = zone->above < n && PyBytes_GET_SIZE(zone->prefix) <= 4;
    }
    if (!good) {
        PyErr_SetString(PyExc_ValueError, "zones that are none");
        return 0;
    }
    self->zone_count = count;
    self->cluster = cluster < 0 ? NULL : self->zones + cluster;
    self->table = Py_NewRef(table);
    return 1;
}

/* --- 3. The view: one read transaction --- */

static void forget_view(Path *self)
{
    Py_CLEAR(self->view);
    Py_CLEAR(self->opened);
    Py_CLEAR(self->cursors[0]);
    Py_CLEAR(self->cursors[1]);
}

static int take_view(Path *self, PyObject *view)
{
    PyObject *table;
    if (view == self->view)
        return 1;
    forget_view(self);
    self->opened = PyObject_CallOneArg(self->open_view, view);
    if (!self->opened ||
        !PyArg_ParseTuple(self->opened, "OOOO", &table, &self->get, &self->answers, &self->zone_rows))
        return 0;
    if (table != self->table && !take_table(self, table))
        return 0;
    self->view = Py_NewRef(view);
    self->view_number++;
    self->handed_on = 0;
    return 1;
}

static PyObject *stored_key(const Zone *zone, const Question *q)
{
    size_t prefix = (size_t)PyBytes_GET_SIZE(zone->prefix);
    PyObject *key = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)prefix + q->key_octets);
    if (key) {
        memcpy(PyBytes_AS_STRING(key), PyBytes_AS_STRING(zone->prefix), prefix);
        memcpy(PyBytes_AS_STRING(key) + prefix, q->key, (size_t)q->key_octets);
    }
    return key;
}

/* Look a key up; return a new reference to the row, or to None, and NULL for an exception. */
static PyObject *look_up(Path *self, const Zone *zone, PyObject *key)
{
    PyObject *arguments[] = {key, Py_None, zone->flags & OF_FILE ? self->zone_rows : self->answers};
    PyObject *row = PyObject_Vectorcall(self->get, arguments, 3, NULL);
    if (row && row != Py_None && !PyBytes_Check(row)) {
        Py_DECREF(row);
        PyErr_SetString(PyExc_TypeError, "a row is bytes");
        return NULL;
    }
    return row;
}

/* Of a cursor's methods; made with the module. */
static PyObject *set_range_name, *key_name, *prev_name, *last_name;

/* Return the key that a cursor is at, empty where that is none; NULL for an exception. */
static PyObject *key_at(PyObject *cursor)
{
    PyObject *key = PyObject_CallMethodNoArgs(cursor, key_name);
    if (key && !PyBytes_Check(key)) {
        Py_CLEAR(key);
        PyErr_SetString(PyExc_TypeError, "a key is bytes");
    }
    return key;
}

/* Say whether a row stands at or below a key (RFC 8020: then the name exists): 1, 0, ERROR. */
static int has_below(Path *self, const Zone *zone, PyObject *key)
{
    int of_file = zone->flags & OF_FILE;
    PyObject **cursor = self->cursors + of_file;
    if (!*cursor && !(*cursor = PyObject_CallMethod(self->view, "cursor", "O", of_file ? Py_True : Py_False)))
        return ERROR;
    PyObject *there = PyObject_CallMethodOneArg(*cursor, set_range_name, key);
    int is = there ? PyObject_IsTrue(there) : ERROR;
    Py_XDECREF(there);
    if (is <= 0)
        return is;
    PyObject *found = key_at(*cursor);
    if (!found)
        return ERROR;
    is = begins_with((const uint8_t *)PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found), key);
    Py_DECREF(found);
    return is;
}

/* Return how many octets of a key are those of an ancestor of it that another key is at or below. */
static Py_ssize_t shared_octets(PyObject *key, PyObject *other)
{
    const char *octets = PyBytes_AS_STRING(key), *others = PyBytes_AS_STRING(other);
    Py_ssize_t shared = 0, size = PyBytes_GET_SIZE(other);
    size = size < PyBytes_GET_SIZE(key) ? size : PyBytes_GET_SIZE(key);
    while (shared < size && octets[shared] == others[shared])
        shared++;
    while (shared && octets[shared - 1])
        shared--;
    return shared;
}

/* Return the key of the wildcard that would stand for a name (RFC 4592 section 3.3.1), of which `has_below` has just
 * found nothing; NULL for an exception.
 *
 * In the order of keys, no row has more labels in common with a name than the one behind it, where the cursor is, or
 * the one in front of it.  So these two tell the closest encloser, however many labels there are. */
static PyObject *wildcard_of(Path *self, const Zone *zone, PyObject *key)
{
    PyObject *cursor = self->cursors[zone->flags & OF_FILE], *moved = NULL, *before = NULL, *made = NULL;
    PyObject *behind = key_at(cursor);                  /* empty behind the last row */
    if (behind)
        moved = PyObject_CallMethodNoArgs(cursor, PyBytes_GET_SIZE(behind) ? prev_name : last_name);
    if (moved)
        before = key_at(cursor);
    if (before) {
        Py_ssize_t least = PyBytes_GET_SIZE(zone->prefix) + PyBytes_GET_SIZE(zone->key);
        Py_ssize_t one = shared_octets(key, behind), other = shared_octets(key, before);
        Py_ssize_t encloser = one > other ? one : other;
        encloser = encloser > least ? encloser : least;
        if ((made = PyBytes_FromStringAndSize(NULL, encloser + 2))) {
            memcpy(PyBytes_AS_STRING(made), PyBytes_AS_STRING(key), (size_t)encloser);
            memcpy(PyBytes_AS_STRING(made) + encloser, "*", 2);
        }
    }
    Py_XDECREF(behind);
    Py_XDECREF(moved);
    Py_XDECREF(before);
    return made;
}
