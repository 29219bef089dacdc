/* Of the compiled plain path: reading a question, the zones, and the snapshot that answers it.  compiled_reply.h has
 * the rules.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

_Static_assert(sizeof(Py_ssize_t) == 8, "sums of numbers of 32 bits have room");

/* --- The protocol's numbers (svcdns.wire.header, svcdns.wire.codes) and the layout of rows (names.packed) --- */

enum { HEADER = 12, TYPE_CLASS = 4, RR_FIXED = 10, POINTED_RR = 12, OPT_OCTETS = 11 };
enum { MAX_LABEL = 63, MAX_ROOT_AT = 12 + 255 - 1, MAX_LABELS = 128, FARTHEST = 0x3FFF };
enum { QR_AA = 0x8400, TC = 0x0200, RA = 0x0080, CD = 0x0010, RCODE_NXDOMAIN = 3 };
enum { TYPE_NS = 2, TYPE_CNAME = 5, TYPE_MX = 15, TYPE_SRV = 33 };
enum { NAMES = 1, FORWARD = 2 };                       /* rights, svcdns.dns.access */
enum { ROW_PARTS = 8, TYPES_AT = 2, ENTRY = 20 };
enum { MOST_UDP = 4096, MOST_TCP = 65535, MOST_KEY = 512, MOST_KNOWN = 512 };

/* What a zone forbids, as svcdns.dns.path_choice says it. */
enum { OF_FILE = 1, NEVER = 2, NO_NXDOMAIN = 4, SIGNED = 8, INSECURE_PODS = 16 };

static inline unsigned get16(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }
static inline uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static inline void put16(uint8_t *at, unsigned value) { at[0] = (uint8_t)(value >> 8); at[1] = (uint8_t)value; }

typedef struct {
    PyObject *zone;                     /* the Zone; its key is `key` */
    PyObject *key_object;
    const uint8_t *key;
    Py_ssize_t octets;
    int flags;
    long slot;                          /* of its counters */
    uint8_t prefix[4];                  /* in front of the keys of a zone file's rows */
    unsigned origin_octets;             /* of the origin on the wire */
    PyObject *soa;                      /* negative SOA without its owner, as `soa_view` had it */
    uint64_t soa_view;
} Zone;

typedef struct {
    PyObject_HEAD
    PyObject *slots, *describe, *open_view, *random, *not_plain, *or_else;
    long protocol_stride, nodata_slot, nxdomain_slot;
    unsigned udp_size;
    short type_slots[256];              /* -1: a type that is not plain */
    /* The table of zones, as it was described last. */
    PyObject *table;
    Zone *zones;
    Py_ssize_t zone_count;
    Py_ssize_t *buckets, bucket_mask;   /* zones by the hash of their keys: open addressing, -1 is empty */
    Zone *cluster;
    PyObject *cluster_key, *svc_key, *pod_key;
    int short_names;
    /* The view, as it was opened last. */
    PyObject *view, *get, *answers, *zone_rows, *cursors[2];
    uint64_t view_number;
    int busy;
    uint8_t reply[MOST_TCP];
} Path;

typedef struct {
    const uint8_t *packet;
    Py_ssize_t root_at, end;            /* where the name's root stands; where the question ends */
    unsigned type;
    unsigned limit;                     /* octets of the whole reply */
    int opt, do_bit;
    int transport;
    long rights;
    uint8_t key[MOST_KEY];
    Py_ssize_t key_octets;
} Question;

typedef struct {
    const uint8_t *at;
    Py_ssize_t octets;
    PyObject *object;
} Row;

typedef struct {
    const uint8_t *answers, *offsets, *more;
    Py_ssize_t rrs, stride, octets, more_rrs, more_octets;
} Set;

enum { ERROR = -1, NOT_PLAIN = 0 };     /* instead of the octets of a reply */

/* --- 1. Reading the question --- */

/* Walk the labels up to the root and write the key (svcdns.wire.key): from the root down, lower case, each label
 * ended by NUL.  A label that holds an octet which keys escape is not plain. */
static int read_name(Question *q, Py_ssize_t size)
{
    const uint8_t *packet = q->packet;
    uint16_t labels[MAX_LABELS];
    int count = 0;
    Py_ssize_t at = HEADER, to = 0;
    while (at < size && packet[at]) {
        if (packet[at] > MAX_LABEL || at > MAX_ROOT_AT || count == MAX_LABELS)
            return 0;
        labels[count++] = (uint16_t)at;
        at += 1 + packet[at];
    }
    if (at > MAX_ROOT_AT || at + 1 + TYPE_CLASS > size)
        return 0;
    q->root_at = at;
    q->end = at + 1 + TYPE_CLASS;
    while (count--) {
        const uint8_t *label = packet + labels[count];
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

static int read_question(const Path *self, Question *q, Py_ssize_t size)
{
    static const uint8_t one_question[7] = {0, 1};
    static const uint8_t opt_begins[3] = {0, 0, 41};
    const uint8_t *packet = q->packet;
    /* QR, opcode, AA and TC must be 0; RA, Z, AD and the rcode of a question mean nothing. */
    if (size < HEADER || memcmp(packet + 4, one_question, 7) || packet[2] > 1 || !(q->rights & NAMES))
        return 0;
    if (!read_name(q, size))
        return 0;
    const uint8_t *behind = packet + q->root_at + 1;
    q->type = get16(behind);
    if (q->type > 255 || self->type_slots[q->type] < 0 || get16(behind + 2) != 1)
        return 0;
    /* Behind the question nothing, or an OPT of version 0 without options. */
    unsigned most = self->udp_size;
    q->limit = most < 512 ? most : 512;
    q->opt = q->do_bit = 0;
    if (packet[11] || size != q->end) {
        const uint8_t *opt = packet + q->end;
        if (packet[11] != 1 || size - q->end != OPT_OCTETS || memcmp(opt, opt_begins, 3))
            return 0;
        if (opt[6] || opt[9] || opt[10])
            return 0;
        unsigned asked = get16(opt + 3);
        q->limit = asked < 512 ? 512 : asked;
        q->limit = q->limit < most ? q->limit : most;
        q->opt = 1;
        q->do_bit = opt[7] >> 7;
    }
    if (q->transport)
        q->limit = MOST_TCP;
    return 1;
}

/* --- 2. The zones, and which one a name is in --- */

static uint64_t hash_on(uint64_t hash, const uint8_t *octets, Py_ssize_t count)
{
    while (count--)
        hash = (hash ^ *octets++) * 0x100000001b3u;      /* FNV-1a */
    return hash;
}

static const uint64_t HASH_BASIS = 0xcbf29ce484222325u;

static Py_ssize_t *bucket_of(const Path *self, uint64_t hash, const uint8_t *key, Py_ssize_t octets, int flags)
{
    Py_ssize_t at = (Py_ssize_t)(hash ^ hash >> 32) & self->bucket_mask;
    for (;; at = (at + 1) & self->bucket_mask) {
        Py_ssize_t *bucket = self->buckets + at;
        if (*bucket < 0)
            return bucket;
        const Zone *zone = self->zones + *bucket;
        if (zone->octets == octets && (zone->flags & OF_FILE) == flags && !memcmp(zone->key, key, (size_t)octets))
            return bucket;
    }
}

static int begins_with(const uint8_t *key, Py_ssize_t octets, PyObject *prefix)
{
    Py_ssize_t size = PyBytes_GET_SIZE(prefix);
    return octets >= size && !memcmp(key, PyBytes_AS_STRING(prefix), (size_t)size);
}

/* The closest zone at or above a name; NULL where none is, or a zone of the registry and a file both are. */
static Zone *zone_of(const Path *self, const Question *q)
{
    Zone *found[2] = {NULL, NULL};
    uint64_t hash = HASH_BASIS;
    Py_ssize_t start = 0, end = 0;
    while (1) {
        for (int of_file = 0; of_file < 2; of_file++) {
            Py_ssize_t zone = *bucket_of(self, hash, q->key, end, of_file);
            if (zone >= 0)
                found[of_file] = self->zones + zone;
        }
        if (end == q->key_octets)
            break;
        start = end;
        end = (const uint8_t *)memchr(q->key + start, 0, (size_t)(q->key_octets - start)) - q->key + 1;
        hash = hash_on(hash, q->key + start, end - start);
    }
    Zone *zone = found[0] ? found[0] : found[1];
    if (!zone || (found[0] && found[1]) || zone->flags & NEVER || (q->do_bit && zone->flags & SIGNED))
        return NULL;
    return zone;
}

/* Short names: put `svc` behind the cluster domain unless a label stands there that is no namespace. */
static void to_standard(const Path *self, Question *q)
{
    static const char *const standard[] = {"svc", "pod", "dns", "dns-version"};
    Py_ssize_t origin = PyBytes_GET_SIZE(self->cluster_key), added = PyBytes_GET_SIZE(self->svc_key) - origin;
    if (!self->short_names || q->key_octets == origin || q->key_octets + added > MOST_KEY)
        return;
    const char *label = (const char *)q->key + origin;
    for (int n = 0; n < 4; n++)
        if (!strcmp(label, standard[n]))                 /* labels end in NUL, and hold none */
            return;
    memmove(q->key + origin + added, q->key + origin, (size_t)(q->key_octets - origin));
    memcpy(q->key + origin, PyBytes_AS_STRING(self->svc_key) + origin, (size_t)added);
    q->key_octets += added;
}

static void forget_table(Path *self)
{
    for (Py_ssize_t n = 0; n < self->zone_count; n++) {
        Py_XDECREF(self->zones[n].zone);
        Py_XDECREF(self->zones[n].key_object);
        Py_XDECREF(self->zones[n].soa);
    }
    PyMem_Free(self->zones);
    PyMem_Free(self->buckets);
    self->zones = NULL;
    self->buckets = NULL;
    self->zone_count = 0;
    self->cluster = NULL;
    Py_CLEAR(self->table);
    Py_CLEAR(self->cluster_key);
    Py_CLEAR(self->svc_key);
    Py_CLEAR(self->pod_key);
}

static int take_zone(Zone *zone, PyObject *described)
{
    PyObject *key, *prefix;
    if (!PyArg_ParseTuple(described, "OSilSI", &zone->zone, &key, &zone->flags, &zone->slot, &prefix,
                          &zone->origin_octets)) {
        zone->zone = NULL;
        return 0;
    }
    Py_INCREF(zone->zone);
    zone->key_object = Py_NewRef(key);
    zone->key = (const uint8_t *)PyBytes_AS_STRING(key);
    zone->octets = PyBytes_GET_SIZE(key);
    if (PyBytes_GET_SIZE(prefix) != (zone->flags & OF_FILE ? 4 : 0) || zone->origin_octets > 255) {
        PyErr_SetString(PyExc_ValueError, "a zone that is none");
        return 0;
    }
    memcpy(zone->prefix, PyBytes_AS_STRING(prefix), (size_t)PyBytes_GET_SIZE(prefix));
    return 1;
}

static int take_table(Path *self, PyObject *table)
{
    PyObject *zones;
    Py_ssize_t cluster;
    forget_table(self);
    PyObject *described = PyObject_CallOneArg(self->describe, table);
    if (!described)
        return 0;
    int good = PyArg_ParseTuple(described, "O!nSSSp", &PyTuple_Type, &zones, &cluster, &self->cluster_key,
                                &self->svc_key, &self->pod_key, &self->short_names);
    if (!good) {
        self->cluster_key = self->svc_key = self->pod_key = NULL;
        Py_DECREF(described);
        return 0;
    }
    Py_INCREF(self->cluster_key);
    Py_INCREF(self->svc_key);
    Py_INCREF(self->pod_key);
    Py_ssize_t count = PyTuple_GET_SIZE(zones), buckets = 8;
    while (buckets < 2 * count)
        buckets *= 2;
    self->zones = PyMem_Calloc((size_t)count + 1, sizeof(Zone));
    self->buckets = PyMem_New(Py_ssize_t, buckets);
    good = self->zones && self->buckets && cluster < count;
    if (!good && !PyErr_Occurred())
        PyErr_NoMemory();
    self->bucket_mask = buckets - 1;
    for (Py_ssize_t n = 0; good && n < buckets; n++)
        self->buckets[n] = -1;
    for (Py_ssize_t n = 0; good && n < count; n++) {
        Zone *zone = self->zones + n;
        self->zone_count = n + 1;
        good = take_zone(zone, PyTuple_GET_ITEM(zones, n));
        if (good)
            *bucket_of(self, hash_on(HASH_BASIS, zone->key, zone->octets), zone->key, zone->octets,
                       zone->flags & OF_FILE) = n;
    }
    if (good) {
        self->cluster = cluster < 0 ? NULL : self->zones + cluster;
        self->table = Py_NewRef(table);
    }
    Py_DECREF(described);
    return good;
}

/* --- 3. The view: one read transaction --- */

static void forget_view(Path *self)
{
    Py_CLEAR(self->view);
    Py_CLEAR(self->get);
    Py_CLEAR(self->answers);
    Py_CLEAR(self->zone_rows);
    Py_CLEAR(self->cursors[0]);
    Py_CLEAR(self->cursors[1]);
}

static int take_view(Path *self, PyObject *view)
{
    PyObject *table;
    if (view == self->view)
        return 1;
    forget_view(self);
    PyObject *opened = PyObject_CallOneArg(self->open_view, view);
    if (!opened)
        return 0;
    int good = PyArg_ParseTuple(opened, "OOOO", &table, &self->get, &self->answers, &self->zone_rows);
    if (good) {
        Py_INCREF(self->get);
        Py_INCREF(self->answers);
        Py_INCREF(self->zone_rows);
        good = table == self->table || take_table(self, table);
    } else {
        self->get = self->answers = self->zone_rows = NULL;
    }
    Py_DECREF(opened);
    if (!good)
        return 0;
    self->view = Py_NewRef(view);
    self->view_number++;
    return 1;
}

static PyObject *stored_key(const Zone *zone, const Question *q)
{
    Py_ssize_t prefix = zone->flags & OF_FILE ? 4 : 0;
    PyObject *key = PyBytes_FromStringAndSize(NULL, prefix + q->key_octets);
    if (key) {
        memcpy(PyBytes_AS_STRING(key), zone->prefix, (size_t)prefix);
        memcpy(PyBytes_AS_STRING(key) + prefix, q->key, (size_t)q->key_octets);
    }
    return key;
}

/* Look a key up: 1 and the row, 0 where there is none, ERROR. */
static int look_up(Path *self, const Zone *zone, PyObject *key, Row *row)
{
    PyObject *arguments[] = {key, Py_None, zone->flags & OF_FILE ? self->zone_rows : self->answers};
    PyObject *found = PyObject_Vectorcall(self->get, arguments, 3, NULL);
    if (!found)
        return ERROR;
    if (!PyBytes_Check(found)) {
        Py_DECREF(found);
        return 0;
    }
    row->object = found;
    row->at = (const uint8_t *)PyBytes_AS_STRING(found);
    row->octets = PyBytes_GET_SIZE(found);
    return 1;
}

/* Say whether a row stands at or below a key (RFC 8020: then the name exists): 1, 0, ERROR. */
static int has_below(Path *self, const Zone *zone, PyObject *key)
{
    int of_file = zone->flags & OF_FILE;
    PyObject *cursor = self->cursors[of_file];
    if (!cursor) {
        PyObject *flag = of_file ? Py_True : Py_False;
        cursor = self->cursors[of_file] = PyObject_CallMethod(self->view, "cursor", "O", flag);
        if (!cursor)
            return ERROR;
    }
    static PyObject *set_range, *key_name;
    if (!set_range && !(set_range = PyUnicode_InternFromString("set_range")))
        return ERROR;
    if (!key_name && !(key_name = PyUnicode_InternFromString("key")))
        return ERROR;
    PyObject *there = PyObject_CallMethodOneArg(cursor, set_range, key);
    if (!there)
        return ERROR;
    int is = PyObject_IsTrue(there);
    Py_DECREF(there);
    if (is <= 0)
        return is;
    PyObject *found = PyObject_CallMethodNoArgs(cursor, key_name);
    if (!found)
        return ERROR;
    is = PyBytes_Check(found) &&
         begins_with((const uint8_t *)PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found), key);
    Py_DECREF(found);
    return is;
}
