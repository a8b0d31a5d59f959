/* What a record of the checker carries: enough to know, whoever reads it back, which record it is and that every byte of
 * it is as it was sent. */
#ifndef CAIRN_CHECKER_VALUE_H
#define CAIRN_CHECKER_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define VALUE_SIZE_MIN 48
#define VALUE_SIZE_MAX (64u << 10)

enum value_kind {
    VALUE_LOAD = 1,   /* one of a lane's dense sequence */
    VALUE_DIRECT = 2, /* sent by hand to one node; @sequence is its token */
};

struct value {
    uint32_t kind;     /* enum value_kind */
    uint64_t run;      /* random, of the run that sent it */
    uint32_t producer; /* stream */
    uint32_t partition;
    uint64_t sequence; /* dense from 0 for each (producer, partition) */
    uint64_t time_us;  /* wall clock, when it was offered */
};

/* Fill @out, @size bytes: the fields, bytes that follow from them, and a checksum over all. */
void value_encode(const struct value *v, uint8_t *out, size_t size);
/* Errors: ERR_MALFORMED (not a value of ours), ERR_CORRUPT (its checksum does not fit). */
int value_decode(const uint8_t *bytes, size_t size, struct value *out) MUST_USE;

#endif
