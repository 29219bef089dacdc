/* Of the compiled plain path: the RRset in a row (svcdns.names.packed), and what of it has room.
 *
 * svcdns/dns/truncation.py is the reference.  Rules: no offset of a row is used before it has been compared with the
 * row's end; a row that is wrong in any way is left to Python, whatever octets have been written by then.
 */

#include "compiled_lookup.h"

typedef struct {
    const uint8_t *answers, *offsets, *more;            /* offsets: where each answer begins; more: additional RRs */
    Py_ssize_t rrs, stride, octets, more_rrs, more_octets;
} RRset;

/* --- 4. The RRset in a row, and which of its answers have room --- */

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

/* --- 5. Additional RRs where not all have room (svcdns.dns.truncation): owners become pointers, then whole
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
