/* The path of a plain question, compiled: what svcdns.dns.fast_path does, octet for octet, on buffers.
 *
 * `reply_to` at the end has the steps; 1 to 3 stand in compiled_lookup.h, 4 and 5 in compiled_rrset.h.  The reference is
 * svcdns/dns/fast_path.py; for where CNAMEs lead among names of ours it is lookup.py, as this follows them and the fast
 * path in Python does not.  What is wrong in any way, leads elsewhere or takes more is "not plain", and Python decides.
 * This may be stricter than the reference, never laxer.  compiled_path.c gives it to Python.
 *
 * Rules:
 *   - every offset that comes from a packet or a row is compared with its end before it is used;
 *   - a reply is written only after it is known that it fits: `limit` is never above the buffer's size;
 *   - no error is answered here: an exception on the way makes a question "not plain", and the exact path meets
 *     the same error and accounts for it;
 *   - a reply is counted last, so a question that is left to Python is counted once, there;
 *   - Python code that is called on the way finds the Path busy, and takes the other path.
 */

#include "compiled_rrset.h"

/* --- 6. What every reply has --- */

static void put_head(uint8_t *out, const Question *q, unsigned flags, unsigned answers, unsigned authority,
                     unsigned additional)
{
    memcpy(out, q->packet, (size_t)q->end);
    flags |= QR | (unsigned)q->packet[2] << 8 | (q->packet[3] & CD) | (q->rights & FORWARD ? RA : 0);
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

/* Return a random number below `count`, -1 for an exception: as int(random() * count) in Python. */
static Py_ssize_t random_below(Path *self, Py_ssize_t count)
{
    PyObject *number = PyObject_CallNoArgs(self->random);
    double value = number ? PyFloat_AsDouble(number) : -1.0;
    Py_XDECREF(number);
    return value >= 0.0 && value < 1.0 ? (Py_ssize_t)(value * (double)count) : -1;
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
    unsigned more = 0, flags = AA;
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
        flags |= TC;
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
    put_head(out, q, exists ? AA : AA | RCODE_NXDOMAIN, 0, 1, 0);
    Py_ssize_t end = put_opt(self, out, q->at + 2 + octets, q);
    slot += exists ? (q->links ? 0 : self->nodata_slot) : self->nxdomain_slot;
    return count_reply(self, slot) ? end : ERROR;
}

/* Say a CNAME, and make its target the name that is looked up; 0 where that is not plain. */
static int follow(Question *q, const RRset *set, uint8_t *out)
{
    Py_ssize_t target = q->at + POINTED_RR, octets = set->octets;
    if (q->links == MOST_LINKS || set->rrs != 1 || octets > room_of(q))
        return 0;
    memcpy(out + q->at, set->answers, (size_t)octets);
    put16(out + q->at, POINTER | (unsigned)q->name);
    q->at += octets;
    q->links++;
    return read_name(q, out, target, q->at) && q->root_at + 1 == q->at;
}

#include "compiled_cached.h"

/* --- 8. A name of ours, and where its CNAMEs lead --- */

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
        int outside = 0;
        Zone *zone = self->cluster;
        if (begins_with(q->key, q->key_octets, self->cluster_key))
            to_standard(self, q);
        else
            zone = zone_of(self, q, &outside);
        if (!zone)
            return outside ? answer_outside(self, q, out) : NOT_PLAIN;
        PyObject *key = stored_key(zone, q);
        if (!key)
            return ERROR;
        /* A reply counts for the zone of the name that was asked for. */
        if (!q->links)
            slot = (q->transport ? self->protocol_stride : 0) + zone->slot + self->type_slots[q->type];
        octets = answer_of(self, q, zone, key, slot, out);
    }
    return octets;
}
