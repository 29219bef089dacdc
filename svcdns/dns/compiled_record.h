/* What a Batch records, as svcdns.tap.recorder.Recorded has it: MessagePack, written without objects of Python.
 *
 *     questions = array of [octets, [address, port]]
 *     replies   = array of [octets, nil], in the same order
 *
 * Rules: each function writes one thing and returns where it ends; who calls has made room for it, by the sizes that
 * stand here.
 *
 * Source: github.com/msgpack/msgpack/blob/master/spec.md
 */

enum { ARRAY_OF_2 = 0x92, NIL = 0xC0, BIN_32 = 0xC6, UINT_16 = 0xCD, STR_8 = 0xD9, ARRAY_16 = 0xDC };
enum { ARRAY_HEAD = 3, MESSAGE_HEAD = 1 + 5, MOST_CLIENT = 1 + 2 + INET6_ADDRSTRLEN + 3 };

/* Begin an array of up to 65,535 items: ARRAY_HEAD octets. */
static uint8_t *put_array(uint8_t *at, int items)
{
    *at = ARRAY_16;
    put16(at + 1, (unsigned)items);
    return at + ARRAY_HEAD;
}

/* Begin an array of two, and write the first of them: MESSAGE_HEAD octets and those of the message. */
static uint8_t *put_message(uint8_t *at, const void *octets, Py_ssize_t size)
{
    at[0] = ARRAY_OF_2;
    at[1] = BIN_32;
    put16(at + 2, (unsigned)(size >> 16));
    put16(at + 4, (unsigned)size);
    memcpy(at + MESSAGE_HEAD, octets, (size_t)size);
    return at + MESSAGE_HEAD + size;
}

/* Write [address, port]: MOST_CLIENT octets at most. */
static uint8_t *put_client(uint8_t *at, const char *address, int port)
{
    size_t octets = strlen(address);
    at[0] = ARRAY_OF_2;
    at[1] = STR_8;
    at[2] = (uint8_t)octets;
    memcpy(at + 3, address, octets);
    at += 3 + octets;
    at[0] = UINT_16;
    put16(at + 1, (unsigned)port);
    return at + 3;
}
