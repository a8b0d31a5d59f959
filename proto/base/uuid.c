#include "proto/base/uuid.h"

#include <string.h>

struct uuid uuid_from_random(uint64_t high, uint64_t low)
{
    struct uuid u;

    for (unsigned i = 0; i < 8; i++) {
        u.bytes[i] = (uint8_t)(high >> (56 - 8 * i));
        u.bytes[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    /* RFC 9562: version 4, variant 10. Also keeps it from ever being nil. */
    u.bytes[6] = (uint8_t)((u.bytes[6] & 0x0f) | 0x40);
    u.bytes[8] = (uint8_t)((u.bytes[8] & 0x3f) | 0x80);
    return u;
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool uuid_is_nil(const struct uuid *u)
{
    static const struct uuid nil = {{0}};

    return uuid_equal(u, &nil);
}

/* A dash stands before these bytes: 8-4-4-4-12. */
static bool dash_before(unsigned byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

const char *uuid_format(const struct uuid *u, char out[UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;

    for (unsigned i = 0; i < 16; i++) {
        if (dash_before(i)) {
            *p++ = '-';
        }
        *p++ = digits[u->bytes[i] >> 4];
        *p++ = digits[u->bytes[i] & 0x0f];
    }
    *p = '\0';
    return out;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

int uuid_parse(const char *text, struct uuid *out)
{
    struct uuid u;

    for (unsigned i = 0; i < 16; i++) {
        int high;
        int low;
        if (dash_before(i) && *text++ != '-') {
            return ERR_MALFORMED;
        }
        /* A NUL is no hex digit, so nothing past the end of a short text is read. */
        high = hex_value(text[0]);
        if (high < 0) {
            return ERR_MALFORMED;
        }
        low = hex_value(text[1]);
        if (low < 0) {
            return ERR_MALFORMED;
        }
        u.bytes[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    if (*text != '\0') {
        return ERR_MALFORMED;
    }
    *out = u;
    return 0;
}
