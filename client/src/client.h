/* What the files of the public API share. */
#ifndef CAIRN_CLIENT_SRC_CLIENT_H
#define CAIRN_CLIENT_SRC_CLIENT_H

#include <cairn/cairn.h>

#include "client/src/driver_uv.h"

struct cairn_client {
    struct driver driver;
    uint32_t request_timeout_ms;
};

/* Fill @error (NULL allowed) and return @code, a code of proto/base/err.h, whose numbers the public ones repeat. */
int error_set(struct cairn_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Which of the options' owners is asking. */
enum option_scope { SCOPE_CLIENT = 1, SCOPE_PRODUCER = 2, SCOPE_CONSUMER = 4 };

struct option_values; /* options.c */

/* Where the options of one scope go. */
struct option_field {
    const char *name;
    enum { OPTION_U32, OPTION_U64, OPTION_CHOICE, OPTION_TEXT } kind;
    void *target; /* uint32_t, uint64_t, int (index of the choice), const char * (borrowed from the options) */
    uint64_t min;
    uint64_t max;
    const char *choices; /* "none|zstd" */
};

/* Write the values of @options (NULL allowed) to @fields. Errors: ERR_CONFIG. */
int options_apply(const struct cairn_options *options, const struct option_field *fields, size_t count,
                  struct cairn_error *error) MUST_USE;

#endif
