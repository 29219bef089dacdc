/* Of the compiled plain path: a name that is not ours, from the cache of forwarded answers.
 *
 * svcdns/cache/entry.py has the layout of an entry, and `plain_reply` there is the reference.  What is not fresh, has an
 * rcode or an Extended DNS Error to say, or has no room is Python's.  Rules: offsets of an entry are compared with its
 * end; an entry is a bytes object of its own, no memory of LMDB's.
 */

enum { FRESH_UNTIL = 4, RCODE_AT = 12, EDE_AT = 14, COUNTS_AT = 16, ROTATED_AT = 26, ROTATED_OCTETS = 28 };
enum { STRIDE_AT = 30, MARKS_AT = 31, ENTRY_HEAD = 32, NO_EDE = 0xFFFF };
enum { IS_NODATA = 1, KEEPS_TTL = 4, TRUNCATED = 8, FAILURE = 32 };

/* Write the RRs of an entry, which have room: addresses from a random one on, TTLs counted down to `ttl`, or as they
 * are where that is negative.  Return their octets, NOT_PLAIN for an entry that is none, or ERROR. */
static Py_ssize_t put_cached(Path *self, const uint8_t *entry, Py_ssize_t rrs, const uint8_t *body, Py_ssize_t octets,
                             long long ttl, uint8_t *out)
{
    Py_ssize_t start = get16(entry + ROTATED_AT), rotated = get16(entry + ROTATED_OCTETS), stride = entry[STRIDE_AT];
    memcpy(out, body, (size_t)octets);
    if (stride) {
        Py_ssize_t turn = random_below(self, rotated / stride) * stride;
        if (turn < 0 || start + rotated > octets)
            return PyErr_Occurred() ? ERROR : NOT_PLAIN;
        memcpy(out + start, body + start + turn, (size_t)(rotated - turn));
        memcpy(out + start + rotated - turn, body + start, (size_t)turn);
    }
    /* All addresses that were moved have one size, so TTLs stand where they stood. */
    for (Py_ssize_t n = 0; ttl >= 0 && n < rrs; n++) {
        Py_ssize_t at = get16(entry + ENTRY_HEAD + 2 * n);
        if (at + 4 > octets)
            return NOT_PLAIN;
        put16(out + at, (unsigned)(ttl >> 16));
        put16(out + at + 2, (unsigned)ttl);
    }
    return octets;
}

static Py_ssize_t answer_with_entry(Path *self, const Question *q, PyObject *object, long long time, uint8_t *out)
{
    const uint8_t *entry = (const uint8_t *)PyBytes_AS_STRING(object), *counts = entry + COUNTS_AT;
    unsigned rcode = get16(entry + RCODE_AT), marks = entry[MARKS_AT];
    Py_ssize_t rrs = get16(counts) + get16(counts + 2) + get16(counts + 4), start = ENTRY_HEAD + 2 * rrs;
    Py_ssize_t octets = PyBytes_GET_SIZE(object) - start;
    /* a. What Python decides. */
    if (time >= get32(entry + FRESH_UNTIL) || (rcode && rcode != RCODE_NXDOMAIN) || marks & (TRUNCATED | FAILURE))
        return NOT_PLAIN;
    if ((q->opt && get16(entry + EDE_AT) != NO_EDE) || octets < 0 || octets > room_of(q))
        return NOT_PLAIN;
    /* b. The records. */
    long long ttl = marks & KEEPS_TTL ? -1 : get32(entry + FRESH_UNTIL) - time;
    octets = put_cached(self, entry, rrs, entry + start, octets, ttl, out + q->at);
    if (octets <= 0)
        return octets;
    /* c. What goes around them. */
    put_head(out, q, rcode, get16(counts), get16(counts + 2), get16(counts + 4));
    Py_ssize_t end = put_opt(self, out, q->at + octets, q);
    long slot = self->forward_slot + (q->transport ? self->protocol_stride : 0) + self->type_slots[q->type];
    slot += rcode ? self->nxdomain_slot : marks & IS_NODATA ? self->nodata_slot : 0;
    return count_reply(self, slot) && count_reply(self, self->hits_slot) ? end : ERROR;
}

/* Answer what is in the cache for a client who may and wants to have names resolved that are not ours. */
static Py_ssize_t answer_outside(Path *self, const Question *q, uint8_t *out)
{
    if (!self->cache || !self->now || !(q->rights & FORWARD) || !q->packet[2] || q->links)
        return NOT_PLAIN;
    /* The key of an entry: that of the name, the type, and which of DO and CD are set. */
    PyObject *key = PyBytes_FromStringAndSize(NULL, q->key_octets + 3), *entry = NULL, *now = NULL;
    if (key) {
        uint8_t *at = (uint8_t *)PyBytes_AS_STRING(key);
        memcpy(at, q->key, (size_t)q->key_octets);
        put16(at + q->key_octets, q->type);
        at[q->key_octets + 2] = (uint8_t)(q->do_bit | (q->packet[3] & CD ? 2 : 0));
        entry = PyObject_CallOneArg(self->cache, key);
    }
    Py_ssize_t octets = entry ? NOT_PLAIN : ERROR;
    if (entry && PyBytes_Check(entry) && PyBytes_GET_SIZE(entry) >= ENTRY_HEAD) {
        now = PyObject_CallNoArgs(self->now);
        long long time = now ? PyLong_AsLongLong(now) : -1;
        octets = PyErr_Occurred() ? ERROR : answer_with_entry(self, q, entry, time, out);
    }
    Py_XDECREF(key);
    Py_XDECREF(entry);
    Py_XDECREF(now);
    return octets;
}
