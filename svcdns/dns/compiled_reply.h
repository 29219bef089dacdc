/* The path of a plain question, compiled: what svcdns.dns.fast_path does, octet for octet, on buffers.
 *
 * `reply_to` at the end has the steps, the first three of which stand in compiled_lookup.h.  svcdns/dns/fast_path.py
 * is the reference; what takes more than one row, or is wrong in any way, is "not plain" here too, and Python
 * decides.  This may be stricter than the reference, never laxer.  compiled_path.c gives it to Python.
 *
 * Rules:
 *   - every offset that comes from a packet or a row is compared with its end before it is used;
 *   - a reply is written only after it is known that it fits: `limit` is never above the buffer's size;
 *   - no error is answered here: an exception on the way makes a question "not plain", and the exact path meets
 *     the same error and accounts for it;
 *   - a reply is counted last, so a question that is left to Python is counted once, there;
 *   - Python code that is called on the way finds the Path busy, and takes the other path.
 */

#include "compiled_lookup.h"

typedef struct {
    const uint8_t *answers, *offsets, *more;            /* offsets: where each answer begins; more: additional RRs */
    Py_ssize_t rrs, stride, octets, more_rrs, more_octets;
} RRset;

/* --- 4. What every reply has --- */

static void put_head(uint8_t *out, const Question *q, unsigned flags, unsigned answers, unsigned authority,
                     unsigned additional)
{
    memcpy(out, q->packet, (size_t)q->end);
    flags |= QR_AA | (unsigned)q->packet[2] << 8 | (q->packet[3] & CD) | (q->rights & FORWARD ? RA : 0);
    put16(out + 2, flags);
    put16(out + 6, answers + q->links);
    put16(out + 8, authority);
    put16(out + 10, additional + (unsigned)q->opt);
}

/* Write our OPT, if the question has one; return the new end. */
static Py_ssize_t put_opt(const Path *self, uint8_t *out, Py_ssize_t at, const Question *q)
{
    if (!q->opt)
        return at;
    memset(out + at, 0, OPT_OCTETS);
    put16(out + at + 1, TYPE_OPT);
    put16(out + at + 3, (unsigned)self->udp_size);
    out[at + 7] = (uint8_t)(q->do_bit << 7);
    return at + OPT_OCTETS;
}

/* Octets that the question, CNAMEs and our OPT leave for RRs; negative where not even these have room. */
static Py_ssize_t room_of(const Question *q) { return q->limit - q->at - (q->opt ? OPT_OCTETS : 0); }

static int count_reply(Path *self, long slot)
{
    PyObject *one = PyList_GetItem(self->slots, slot);
    long long value = one ? PyLong_AsLongLong(one) : -1;
    if (value == -1 && PyErr_Occurred())
        return 0;
    PyObject *more = PyLong_FromLongLong(value + 1);
    return more && !PyList_SetItem(self->slots, slot, more);
}

/* --- 5. The RRset in a row, and which of its answers have room --- */

enum { NO_RRSET = 0, FOUND = 1, NO_ROW = -1 };          /* NO_ROW: octets that are none, or a row in parts */

static int find_rrset(PyObject *row, unsigned type, RRset *set)
{
    const uint8_t *octets = (const uint8_t *)PyBytes_AS_STRING(row);
    Py_ssize_t size = PyBytes_GET_SIZE(row), types = size < TYPES_AT ? 0 : octets[1], n = 0;
    if (size < TYPES_AT + types * (2 + ENTRY))
        return NO_ROW;
    while (n < types && get16(octets + TYPES_AT + 2 * n) != type)
        n++;
    if (n == types)
        return NO_RRSET;
    const uint8_t *entry = octets + TYPES_AT + 2 * types + ENTRY * n;
    Py_ssize_t start = get32(entry + 8), table;
    set->rrs = get32(entry);
    set->stride = get16(entry + 4);
    set->more_rrs = get16(entry + 6);
    set->octets = get32(entry + 12);
    set->more_octets = get32(entry + 16);
    table = set->rrs > 1 && !set->stride ? 4 * set->rrs : 0;
    if (octets[0] & ROW_PARTS || !set->rrs || start + set->octets + table + set->more_octets > size)
        return NO_ROW;
    if (set->rrs > 1 && set->stride && set->rrs * set->stride != set->octets)
        return NO_ROW;
    set->answers = octets + start;
    set->offsets = set->answers + set->octets;
    set->more = set->offsets + table;
    return FOUND;
}

/* Where the answer with this number begins; -1 for an offset that is none. */
static Py_ssize_t rr_begins(const RRset *set, Py_ssize_t number)
{
    Py_ssize_t at = set->stride ? number * set->stride : number ? (Py_ssize_t)get32(set->offsets + 4 * number) : 0;
    return at < set->octets ? at : -1;
}

/* Return how many answers from number `first` on have room, and their octets; -1 for a row that is none.  The
 * answers counted stand one behind the other, but for one step from the last to the first. */
static Py_ssize_t answers_that_fit(const RRset *set, Py_ssize_t first, Py_ssize_t room, Py_ssize_t *octets)
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

/* Return a random number below `count`, -1 for an exception: as int(random() * count) in Python. */
static Py_ssize_t random_below(Path *self, Py_ssize_t count)
{
    PyObject *number = PyObject_CallNoArgs(self->random);
    double value = number ? PyFloat_AsDouble(number) : -1.0;
    Py_XDECREF(number);
    return value >= 0.0 && value < 1.0 ? (Py_ssize_t)(value * (double)count) : -1;
}

/* --- 6. Additional RRs where not all have room (svcdns.dns.truncation): owners become pointers, then whole
 * RRsets are left out --- */

typedef struct { const uint8_t *name; Py_ssize_t octets; unsigned place; } Known;
typedef struct { Known names[MOST_KNOWN]; int count; } KnownNames;

/* Note a name at this place of the reply, if a pointer can lead there; 0 where there are too many. */
static int learn(KnownNames *known, const uint8_t *out, Py_ssize_t place, Py_ssize_t octets)
{
    if (place > FARTHEST)
        return 1;
    if (known->count == MOST_KNOWN)
        return 0;
    known->names[known->count++] = (Known){out + place, octets, (unsigned)place};
    return 1;
}

/* Return the octets of a pointer to this name, 0 where it is not known. */
static unsigned pointer_to(const KnownNames *known, const uint8_t *name, Py_ssize_t octets)
{
    for (const Known *one = known->names; one < known->names + known->count; one++)
        if (one->octets == octets && !memcmp(one->name, name, (size_t)octets))
            return POINTER | one->place;
    return 0;
}

/* Learn the names in the RDATA of the answers, which stand from `at` to `end`; 0 for answers that are none. */
static int learn_targets(KnownNames *known, const uint8_t *out, Py_ssize_t at, Py_ssize_t end, unsigned type)
{
    Py_ssize_t inside = type == TYPE_SRV ? 6 : type == TYPE_MX ? 2 : type == TYPE_NS ? 0 : -1;
    while (inside >= 0 && at < end) {
        if (end - at < POINTED_RR)
            return 0;
        Py_ssize_t name = at + POINTED_RR + inside, next = at + POINTED_RR + get16(out + at + POINTED_RR - 2);
        if (next > end || name >= next || !learn(known, out, name, next - name))
            return 0;
        at = next;
    }
    return 1;
}

/* Split the RR at `at` off: the octets of its owner, spelt in full, and of all; 0 for octets that are none. */
static int split_rr(const uint8_t *at, const uint8_t *end, Py_ssize_t *owner, Py_ssize_t *whole)
{
    Py_ssize_t size = end - at, label = 0;
    while (label < size && at[label]) {
        if (at[label] > MAX_LABEL)
            return 0;
        label += 1 + at[label];
    }
    if (size - label < 1 + RR_FIXED)
        return 0;
    *owner = label + 1;
    *whole = *owner + RR_FIXED + get16(at + *owner + 8);
    return *whole <= size;
}

/* Fill `room` octets behind the answers, which stand from `at` to `end`; return the new end, -1 for a row that
 * is none. */
static Py_ssize_t put_additionals(uint8_t *out, Py_ssize_t at, Py_ssize_t end, Py_ssize_t room, unsigned type,
                                  const RRset *set, unsigned *rrs)
{
    KnownNames known;
    const uint8_t *from = set->more, *last = set->more + set->more_octets, *next;
    Py_ssize_t room_ends = end + room, owner, first_owner, whole;
    known.count = 0;
    *rrs = 0;
    if (!learn_targets(&known, out, at, end, type))
        return -1;
    /* Until not even an A whose owner is a pointer has room; the first RRset is looked at in any case. */
    for (; from < last && (from == set->more || room_ends - end >= POINTED_RR + 4); from = next) {
        /* a. An RRset is RRs that follow each other and have one owner and one type. */
        Py_ssize_t tails = 0, in_set = 0;
        if (!split_rr(from, last, &first_owner, &whole))
            return -1;
        for (next = from; next < last; next += whole, in_set++) {
            if (!split_rr(next, last, &owner, &whole))
                return -1;
            if (owner != first_owner || memcmp(next, from, (size_t)owner + 2))
                break;
            tails += whole - owner;
        }
        /* b. The owner is spelt once where it is new, and a pointer from then on, if one leads so far. */
        unsigned pointer = pointer_to(&known, from, first_owner);
        int is_new = !pointer;
        if (is_new && end <= FARTHEST)
            pointer = POINTER | (unsigned)end;
        Py_ssize_t again = pointer ? 2 : first_owner;
        if (end + tails + (is_new ? first_owner : 2) + (in_set - 1) * again > room_ends)
            continue;
        if (is_new && !learn(&known, out, end, first_owner))
            return -1;
        /* c. It has room. */
        for (const uint8_t *rr = from; rr < next; rr += whole) {
            if (!split_rr(rr, next, &owner, &whole))
                return -1;
            if (pointer && !(is_new && rr == from)) {
                put16(out + end, pointer);
                end += 2;
            } else {
                memcpy(out + end, rr, (size_t)owner);
                end += owner;
            }
            memcpy(out + end, rr + owner, (size_t)(whole - owner));
            end += whole - owner;
        }
        *rrs += (unsigned)in_set;
    }
    return end;
}

/* --- 7. The two kinds of replies --- */

/* Make the name that is looked up the owner of the answers up to `end`; 0 for answers that are none. */
static int put_owners(uint8_t *out, const Question *q, Py_ssize_t end)
{
    for (Py_ssize_t at = q->at; at < end; at += POINTED_RR + get16(out + at + POINTED_RR - 2)) {
        if (end - at < POINTED_RR)
            return 0;
        put16(out + at, POINTER | (unsigned)q->name);
    }
    return 1;
}

static Py_ssize_t answer_with(Path *self, const Question *q, const RRset *set, long slot, uint8_t *out)
{
    Py_ssize_t room = room_of(q), first = 0, turn = 0, taken = set->rrs, octets = set->octets;
    unsigned more = 0, flags = 0;
    if (q->transport && set->octets + set->more_octets > room)
        return NOT_PLAIN;                               /* over TCP a reply says what is missing */
    if (room < 0 || set->rrs > 65535 || set->more_rrs > 65534)
        return NOT_PLAIN;
    /* a. The answers, rotated at the boundary of a random RR. */
    if (set->rrs > 1 && (first = random_below(self, set->rrs)) < 0)
        return PyErr_Occurred() ? ERROR : NOT_PLAIN;
    if (set->rrs > 1 && (turn = rr_begins(set, first)) < 0)
        return NOT_PLAIN;
    if (octets > room && (taken = answers_that_fit(set, first, room, &octets)) < 0)
        return NOT_PLAIN;
    Py_ssize_t at = q->at, behind = set->octets - turn < octets ? set->octets - turn : octets;
    memcpy(out + at, set->answers + turn, (size_t)behind);
    memcpy(out + at + behind, set->answers, (size_t)(octets - behind));
    at += octets;
    if (q->links && !put_owners(out, q, at))
        return NOT_PLAIN;
    /* b. The additional RRs: none where answers are missing; all as they are, or those that have room. */
    if (taken < set->rrs) {
        flags = TC;
    } else if (set->more_octets <= room - octets) {
        memcpy(out + at, set->more, (size_t)set->more_octets);
        at += set->more_octets;
        more = (unsigned)set->more_rrs;
    } else if ((at = put_additionals(out, q->at, at, room - octets, q->type, set, &more)) < 0) {
        return NOT_PLAIN;
    }
    /* c. What goes around them. */
    put_head(out, q, flags, (unsigned)taken, 0, more);
    at = put_opt(self, out, at, q);
    return count_reply(self, slot) ? at : ERROR;
}

/* See to it that a zone has the SOA of this view: 1, or 0 with or without an exception. */
static int read_soa(Path *self, Zone *zone)
{
    PyObject *soa;
    unsigned octets;
    if (zone->soa_view == self->view_number)
        return 1;
    PyObject *found = PyObject_CallMethod(self->view, "negative_soa", "O", zone->zone);
    int good = found && PyArg_ParseTuple(found, "SI", &soa, &octets) && octets == zone->origin_octets;
    if (good) {
        Py_XSETREF(zone->soa, Py_NewRef(soa));
        zone->soa_view = self->view_number;
    }
    Py_XDECREF(found);
    return good;
}

/* Say whether Python is to answer an NXDOMAIN, as it may have a reason to give: the first one of a view at most
 * (svcdns.dns.empty_answers).  1, 0, ERROR. */
static int may_have_reason(Path *self, const Question *q, const Zone *zone)
{
    if (!q->opt || q->links || zone != self->cluster || self->handed_on)
        return 0;
    PyObject *may = PyObject_GetAttrString(self->view, "may_hand_on");
    int is = may ? PyObject_IsTrue(may) : ERROR;
    Py_XDECREF(may);
    self->handed_on = 1;
    return is;
}

static Py_ssize_t answer_without(Path *self, const Question *q, Zone *zone, int exists, long slot, uint8_t *out)
{
    int reason = exists ? 0 : may_have_reason(self, q, zone);
    if (reason)
        return reason < 0 ? ERROR : NOT_PLAIN;
    if (!read_soa(self, zone))
        return PyErr_Occurred() ? ERROR : NOT_PLAIN;
    Py_ssize_t octets = PyBytes_GET_SIZE(zone->soa), origin_at = q->root_at + 1 - (Py_ssize_t)zone->origin_octets;
    if (origin_at < q->name || 2 + octets > room_of(q))
        return NOT_PLAIN;
    /* Its owner is a pointer to where the origin begins within the name. */
    put16(out + q->at, POINTER | (unsigned)origin_at);
    memcpy(out + q->at + 2, PyBytes_AS_STRING(zone->soa), (size_t)octets);
    put_head(out, q, exists ? 0 : RCODE_NXDOMAIN, 0, 1, 0);
    Py_ssize_t end = put_opt(self, out, q->at + 2 + octets, q);
    slot += exists ? (q->links ? 0 : self->nodata_slot) : self->nxdomain_slot;
    return count_reply(self, slot) ? end : ERROR;
}

/* Say a CNAME, and make its target the name that is looked up; 0 where that is not plain. */
static int follow(Question *q, const RRset *set, uint8_t *out)
{
    Py_ssize_t target = q->at + POINTED_RR, octets = set->octets;
    if (q->links == MOST_LINKS || set->rrs != 1 || octets <= POINTED_RR || octets > room_of(q))
        return 0;
    memcpy(out + q->at, set->answers, (size_t)octets);
    put16(out + q->at, POINTER | (unsigned)q->name);
    q->at += octets;
    q->links++;
    return read_name(q, out, target, q->at) && q->root_at + 1 == q->at;
}

static Py_ssize_t answer_from(Path *self, Question *q, Zone *zone, PyObject *row, long slot, uint8_t *out)
{
    RRset set;
    int there = find_rrset(row, q->type, &set);
    if (there == FOUND)
        return answer_with(self, q, &set, slot, out);
    if (there == NO_RRSET)
        there = find_rrset(row, TYPE_CNAME, &set);
    if (there == NO_ROW)
        return NOT_PLAIN;
    /* The SRV of an ExternalName is not that of its target (svcdns.dns.registry_zone). */
    if (there == FOUND && (q->type != TYPE_SRV || zone != self->cluster))
        return follow(q, &set, out) ? FOLLOWED : NOT_PLAIN;
    return answer_without(self, q, zone, 1, slot, out);
}

/* Answer what a zone says of the name that is looked up, whose row has this key; FOLLOWED where that is to go on at
 * the target of a CNAME.  Takes `key` over. */
static Py_ssize_t answer_of(Path *self, Question *q, Zone *zone, PyObject *key, long slot, uint8_t *out)
{
    PyObject *row = look_up(self, zone, key);
    int exists = 1;
    if (row == Py_None && !(exists = has_below(self, zone, key)) && zone->flags & WILDCARDS) {
        /* No such name: that of the wildcard in its place, which may be one above others too. */
        Py_XSETREF(key, wildcard_of(self, zone, key));
        Py_XSETREF(row, key ? look_up(self, zone, key) : NULL);
        if (row == Py_None)
            exists = has_below(self, zone, key);
    }
    Py_ssize_t octets = ERROR;
    if (row == Py_None) {
        /* No row: a name above others, or none, unless it is made at question time or somebody else may know it. */
        int made = zone->flags & INSECURE_PODS && begins_with(q->key, q->key_octets, self->pod_key);
        if (!exists && (zone->flags & NO_NXDOMAIN || made))
            octets = NOT_PLAIN;
        else if (exists >= 0)
            octets = answer_without(self, q, zone, exists, slot, out);
    } else if (row && exists >= 0) {
        octets = answer_from(self, q, zone, row, slot, out);
    }
    Py_XDECREF(row);
    Py_XDECREF(key);
    return octets;
}

/* Write the reply to a plain question; return its octets, NOT_PLAIN, or ERROR with an exception. */
static Py_ssize_t reply_to(Path *self, Question *q, Py_ssize_t size, uint8_t *out)
{
    Py_ssize_t octets = FOLLOWED;
    long slot = 0;
    if (!read_question(self, q, size))
        return NOT_PLAIN;
    while (octets == FOLLOWED) {
        Zone *zone = self->cluster;
        if (begins_with(q->key, q->key_octets, self->cluster_key))
            to_standard(self, q);
        else
            zone = zone_of(self, q);
        PyObject *key = zone ? stored_key(zone, q) : NULL;
        if (!key)
            return zone ? ERROR : NOT_PLAIN;
        /* A reply counts for the zone of the name that was asked for. */
        if (!q->links)
            slot = (q->transport ? self->protocol_stride : 0) + zone->slot + self->type_slots[q->type];
        octets = answer_of(self, q, zone, key, slot, out);
    }
    return octets;
}
