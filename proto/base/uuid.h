/* 128-bit identifiers. Made from env's random source by their owner; this file only holds and prints them. */
#ifndef CAIRN_BASE_UUID_H
#define CAIRN_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/err.h"

struct uuid {
    uint8_t bytes[16];
};

#define UUID_TEXT_SIZE 37 /* 36 characters and the NUL */

/* A random (version 4) uuid from two random words. */
struct uuid uuid_from_random(uint64_t high, uint64_t low);
bool uuid_equal(const struct uuid *a, const struct uuid *b);
int uuid_compare(const struct uuid *a, const struct uuid *b);
bool uuid_is_nil(const struct uuid *u);
const char *uuid_format(const struct uuid *u, char out[UUID_TEXT_SIZE]); /* returns @out */
int uuid_parse(const char *text, struct uuid *out) MUST_USE;             /* Errors: ERR_MALFORMED */

#endif
