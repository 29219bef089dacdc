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
 *   - Python code that is called on the way finds the Path busy, and takes the other path.
 *
 * Rows are read through the lmdb module, so the read transaction is Python's: it begins after `receive`.
 */

#include "compiled_lookup.h"

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
