/* The path of a plain question, compiled: what svcdns.dns.fast_path does, octet for octet, on buffers.
 *
 * `reply_to` at the end has the steps.  svcdns/dns/fast_path.py is the reference; what takes more than one row, or
 * is wrong in any way, is "not plain" here too, and Python decides.  This file may be stricter than the
 * reference, never laxer.  compiled_path.c, which includes it, gives it to Python.
 *
 * Rules:
 *   - every offset that comes from a packet or a row is compared with its end before it is used;
 *   - a reply is written only after it is known that it fits: `limit` is never above the buffer's size;
 *   - no error is answered here: an exception on the way makes a question "not plain", and the exact path meets
 *     the same error and accounts for it;
 *   - Python code that is called on the way finds the Path busy, and takes the other path.
 *
 * Rows are read through the lmdb module, so the read transaction is Python's: it begins after `receive`.
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

/* --- 4. Writing a reply --- */

static void put_head(uint8_t *out, const Question *q, unsigned flags, unsigned answers, unsigned authority,
                     unsigned additional)
{
    memcpy(out, q->packet, (size_t)q->end);
    flags |= QR_AA | (unsigned)q->packet[2] << 8 | (q->packet[3] & CD) | (q->rights & FORWARD ? RA : 0);
    put16(out + 2, flags);
    put16(out + 6, answers);
    put16(out + 8, authority);
    put16(out + 10, additional);
}

static Py_ssize_t put_opt(const Path *self, uint8_t *out, Py_ssize_t at, const Question *q)
{
    if (!q->opt)
        return at;
    uint8_t *opt = out + at;
    memset(opt, 0, OPT_OCTETS);
    opt[2] = 41;
    put16(opt + 3, self->udp_size);
    opt[7] = (uint8_t)(q->do_bit << 7);
    return at + OPT_OCTETS;
}

static int count_reply(Path *self, long slot)
{
    PyObject *one = PyList_GetItem(self->slots, slot);
    long long value = one ? PyLong_AsLongLong(one) : -1;
    if (value == -1 && PyErr_Occurred())
        return 0;
    PyObject *more = PyLong_FromLongLong(value + 1);
    return more && !PyList_SetItem(self->slots, slot, more);
}

/* Find the RRset of a type in a row: 1, 0 for none, ERROR for a row that is none. */
static int find_set(const Row *row, unsigned type, Set *set)
{
    if (row->octets < TYPES_AT)
        return ERROR;
    unsigned types = row->at[1];
    const uint8_t *type_at = row->at + TYPES_AT, *entries = type_at + 2 * types;
    if (TYPES_AT + (Py_ssize_t)types * (2 + ENTRY) > row->octets)
        return ERROR;
    for (unsigned n = 0; n < types; n++) {
        if (get16(type_at + 2 * n) != type)
            continue;
        const uint8_t *entry = entries + ENTRY * n;
        Py_ssize_t start = get32(entry + 8), table = 0;
        set->rrs = get32(entry);
        set->stride = get16(entry + 4);
        set->more_rrs = get16(entry + 6);
        set->octets = get32(entry + 12);
        set->more_octets = get32(entry + 16);
        if (row->at[0] & ROW_PARTS || !set->rrs)
            return ERROR;                                /* not here: somebody else gathers the parts */
        if (!set->stride && set->rrs > 1)
            table = 4 * set->rrs;
        else if (set->rrs > 1 && set->rrs * set->stride != set->octets)
            return ERROR;
        if (start + set->octets + table + set->more_octets > row->octets)
            return ERROR;
        set->answers = row->at + start;
        set->offsets = set->answers + set->octets;
        set->more = set->offsets + table;
        return 1;
    }
    return 0;
}

/* Where the answer with this number begins; -1 for an offset that is none. */
static Py_ssize_t rr_begins(const Set *set, Py_ssize_t number)
{
    Py_ssize_t at = set->stride ? number * set->stride : number ? (Py_ssize_t)get32(set->offsets + 4 * number) : 0;
    return at < set->octets ? at : -1;
}

/* Return a random number below `count`, -1 for an exception: as int(random() * count) in Python. */
static Py_ssize_t random_below(Path *self, Py_ssize_t count)
{
    PyObject *number = PyObject_CallNoArgs(self->random);
    if (!number)
        return -1;
    double value = PyFloat_AsDouble(number);
    Py_DECREF(number);
    if (!(value >= 0.0 && value < 1.0))
        return -1;
    return (Py_ssize_t)(value * (double)count);
}

/* Return how many answers from number `first` on have room, and their octets; -1 for a row that is none. */
static Py_ssize_t answers_that_fit(const Set *set, Py_ssize_t first, Py_ssize_t room, Py_ssize_t *octets)
{
    *octets = 0;
    for (Py_ssize_t taken = 0; taken < set->rrs; taken++) {
        Py_ssize_t number = (first + taken) % set->rrs;
        Py_ssize_t begin = rr_begins(set, number);
        Py_ssize_t end = number + 1 < set->rrs ? rr_begins(set, number + 1) : set->octets;
        if (begin < 0 || end <= begin)
            return -1;
        if (*octets + end - begin > room)
            return taken;
        *octets += end - begin;
    }
    return set->rrs;
}

/* --- 5. Additional RRs where not all have room (svcdns.dns.truncation): owners become pointers, then whole
 * RRsets are left out --- */

typedef struct { const uint8_t *name; Py_ssize_t octets; unsigned place; } Known;

/* Note where the names in the RDATA of the answers stand; return how many, -1 for answers that are none. */
static int names_of_answers(const uint8_t *out, Py_ssize_t at, Py_ssize_t end, unsigned type, Known *known)
{
    Py_ssize_t inside = type == TYPE_SRV ? 6 : type == TYPE_MX ? 2 : type == TYPE_NS ? 0 : -1;
    int count = 0;
    while (inside >= 0 && at < end) {
        if (end - at < POINTED_RR)
            return -1;
        Py_ssize_t rdata = at + POINTED_RR, next = rdata + get16(out + rdata - 2);
        if (next > end || rdata + inside >= next || count == MOST_KNOWN)
            return -1;
        if (rdata + inside <= FARTHEST)
            known[count++] = (Known){out + rdata + inside, next - rdata - inside, (unsigned)(rdata + inside)};
        at = next;
    }
    return count;
}

/* Split the RR at `at` off: its owner in full, and its end; 0 for octets that are none. */
static int split_rr(const uint8_t *at, const uint8_t *end, Py_ssize_t *owner, Py_ssize_t *whole)
{
    const uint8_t *label = at;
    while (label < end && *label) {
        if (*label > MAX_LABEL)
            return 0;
        label += 1 + *label;
    }
    if (end - label < 1 + RR_FIXED)
        return 0;
    *owner = label + 1 - at;
    *whole = *owner + RR_FIXED + get16(label + 1 + 8);
    return *whole <= end - at;
}

static int is_known(const Known *known, int count, const uint8_t *name, Py_ssize_t octets)
{
    for (int n = 0; n < count; n++)
        if (known[n].octets == octets && !memcmp(known[n].name, name, (size_t)octets))
            return n;
    return -1;
}

/* Fill `room` octets behind the answers, which stand from `at` to `end`; return the new end, -1 for a row that
 * is none. */
static Py_ssize_t put_additionals(uint8_t *out, Py_ssize_t at, Py_ssize_t end, Py_ssize_t room, unsigned type,
                                  const Set *set, unsigned *rrs)
{
    Known known[MOST_KNOWN];
    int count = names_of_answers(out, at, end, type, known);
    const uint8_t *from = set->more, *last = set->more + set->more_octets;
    Py_ssize_t room_ends = end + room;
    *rrs = 0;
    while (count >= 0 && from < last) {
        /* An RRset: RRs that follow each other and have one owner and one type. */
        Py_ssize_t owner, whole, octets = 0, sets_owner;
        const uint8_t *next = from;
        unsigned in_set = 0;
        if (!split_rr(from, last, &sets_owner, &whole))
            return -1;
        do {
            if (!split_rr(next, last, &owner, &whole))
                return -1;
            if (in_set && (owner != sets_owner || memcmp(next, from, (size_t)owner + 2)))
                break;
            octets += whole - owner;
            in_set++;
            next += whole;
        } while (next < last);
        /* Its first owner in full where the name is new; all others are pointers. */
        int same = is_known(known, count, from, sets_owner);
        int names_itself = same < 0 && end <= FARTHEST;
        unsigned place = same >= 0 ? known[same].place : (unsigned)end;
        Py_ssize_t head = same >= 0 ? 2 : sets_owner, again = same >= 0 || names_itself ? 2 : sets_owner;
        octets += head + (in_set - 1) * again;
        if (end + octets <= room_ends) {
            if (names_itself) {
                if (count == MOST_KNOWN)
                    return -1;
                known[count++] = (Known){out + end, sets_owner, place};
            }
            for (const uint8_t *rr = from; rr < next; rr += whole) {
                if (!split_rr(rr, next, &owner, &whole))
                    return -1;
                if ((rr == from ? head : again) == 2) {
                    put16(out + end, 0xC000 | place);
                    end += 2;
                } else {
                    memcpy(out + end, rr, (size_t)owner);
                    end += owner;
                }
                memcpy(out + end, rr + owner, (size_t)(whole - owner));
                end += whole - owner;
            }
            *rrs += in_set;
        }
        if (room_ends - end < POINTED_RR + 4)            /* the smallest RR: an A whose owner is a pointer */
            break;
        from = next;
    }
    return count < 0 ? -1 : end;
}

/* --- 6. The two kinds of replies --- */

static Py_ssize_t answer_with(Path *self, const Question *q, const Set *set, long slot, uint8_t *out)
{
    Py_ssize_t room = (Py_ssize_t)q->limit - q->end - (q->opt ? OPT_OCTETS : 0);
    Py_ssize_t first = 0, taken = set->rrs, octets = set->octets, turn = 0;
    if (q->transport && set->octets + set->more_octets > room)
        return NOT_PLAIN;                                /* over TCP a reply says what is missing */
    if (room < 0 || set->rrs > 65535 || set->more_rrs > 65534)
        return NOT_PLAIN;
    /* The answers, rotated at the boundary of a random RR. */
    if (set->rrs > 1) {
        if ((first = random_below(self, set->rrs)) < 0)
            return PyErr_Occurred() ? ERROR : NOT_PLAIN;
        if ((turn = rr_begins(set, first)) < 0)
            return NOT_PLAIN;
    }
    if (octets > room && (taken = answers_that_fit(set, first, room, &octets)) < 0)
        return NOT_PLAIN;
    Py_ssize_t at = q->end, behind = set->octets - turn;
    behind = behind < octets ? behind : octets;
    memcpy(out + at, set->answers + turn, (size_t)behind);
    memcpy(out + at + behind, set->answers, (size_t)(octets - behind));
    at += octets;
    /* The additional RRs: all as they are, or those that have room; none where answers are missing. */
    unsigned more = 0, truncated = taken < set->rrs ? TC : 0;
    if (!truncated && set->more_octets <= room - octets) {
        memcpy(out + at, set->more, (size_t)set->more_octets);
        at += set->more_octets;
        more = (unsigned)set->more_rrs;
    } else if (!truncated) {
        at = put_additionals(out, q->end, at, room - octets, q->type, set, &more);
        if (at < 0)
            return NOT_PLAIN;
    }
    put_head(out, q, truncated, (unsigned)taken, 0, more + (unsigned)q->opt);
    at = put_opt(self, out, at, q);
    return count_reply(self, slot) ? at : ERROR;
}

static int read_soa(Path *self, Zone *zone)
{
    PyObject *soa;
    unsigned octets;
    if (zone->soa_view == self->view_number)
        return 1;
    PyObject *found = PyObject_CallMethod(self->view, "negative_soa", "O", zone->zone);
    if (!found)
        return 0;
    int good = PyArg_ParseTuple(found, "SI", &soa, &octets) && octets == zone->origin_octets;
    if (good) {
        Py_XSETREF(zone->soa, Py_NewRef(soa));
        zone->soa_view = self->view_number;
    }
    Py_DECREF(found);
    return good;
}

static Py_ssize_t answer_without(Path *self, const Question *q, Zone *zone, int exists, long slot, uint8_t *out)
{
    if (!exists && q->opt && zone == self->cluster) {
        PyObject *hand_on = PyObject_GetAttrString(self->view, "may_hand_on");
        if (!hand_on)
            return ERROR;
        Py_DECREF(hand_on);
        if (hand_on != Py_False)
            return NOT_PLAIN;                            /* there may be a reason to give */
    }
    if (!read_soa(self, zone))
        return PyErr_Occurred() ? ERROR : NOT_PLAIN;
    Py_ssize_t octets = PyBytes_GET_SIZE(zone->soa), at = q->end;
    if (HEADER + (Py_ssize_t)zone->origin_octets > q->root_at + 1)
        return NOT_PLAIN;
    if (at + 2 + octets + (q->opt ? OPT_OCTETS : 0) > (Py_ssize_t)q->limit)
        return NOT_PLAIN;
    /* Its owner is a pointer to where the origin begins within the question's name. */
    put16(out + at, 0xC000 | (unsigned)(q->root_at + 1 - zone->origin_octets));
    memcpy(out + at + 2, PyBytes_AS_STRING(zone->soa), (size_t)octets);
    put_head(out, q, exists ? 0 : RCODE_NXDOMAIN, 0, 1, (unsigned)q->opt);
    at = put_opt(self, out, at + 2 + octets, q);
    return count_reply(self, slot + (exists ? self->nodata_slot : self->nxdomain_slot)) ? at : ERROR;
}

static Py_ssize_t answer_from_row(Path *self, const Question *q, Zone *zone, const Row *row, long slot, uint8_t *out)
{
    Set set;
    int there = find_set(row, q->type, &set);
    if (there == 1)
        return answer_with(self, q, &set, slot, out);
    /* No such RRset.  Where a CNAME leads is not plain. */
    if (there < 0 || find_set(row, TYPE_CNAME, &set))
        return NOT_PLAIN;
    return answer_without(self, q, zone, 1, slot, out);
}

/* Write the reply to a plain question; return its octets, NOT_PLAIN, or ERROR with an exception. */
static Py_ssize_t reply_to(Path *self, Question *q, Py_ssize_t size, uint8_t *out)
{
    if (!read_question(self, q, size))
        return NOT_PLAIN;
    Zone *zone;
    if (begins_with(q->key, q->key_octets, self->cluster_key)) {
        zone = self->cluster;
        to_standard(self, q);
    } else {
        zone = zone_of(self, q);
    }
    if (!zone)
        return NOT_PLAIN;
    PyObject *key = stored_key(zone, q);
    if (!key)
        return ERROR;
    long slot = (q->transport ? self->protocol_stride : 0) + zone->slot + self->type_slots[q->type];
    Row row;
    Py_ssize_t octets = look_up(self, zone, key, &row);
    if (octets == 1) {
        octets = answer_from_row(self, q, zone, &row, slot, out);
        Py_DECREF(row.object);
    } else if (octets == 0) {
        octets = has_below(self, zone, key);
        int insecure = zone->flags & INSECURE_PODS && begins_with(q->key, q->key_octets, self->pod_key);
        if (octets == 0 && (zone->flags & NO_NXDOMAIN || insecure))
            octets = NOT_PLAIN;
        else if (octets >= 0)
            octets = answer_without(self, q, zone, (int)octets, slot, out);
    }
    Py_DECREF(key);
    return octets;
}
