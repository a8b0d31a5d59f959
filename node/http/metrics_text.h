/* Text in the exposition format that Prometheus and its kin scrape (version 0.0.4): families of samples, one line each.
 *
 * One user at a time. Limits: METRICS_TEXT_MAX_BYTES; what does not fit is left out whole, and metrics_text_end()
 * tells. */
#ifndef CAIRN_METRICS_TEXT_H
#define CAIRN_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_TEXT_MAX_BYTES (16u << 20)
#define METRICS_LABEL_MAX_BYTES 1024 /* of a label's value, escaped; the rest is cut */

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE };

struct metrics_text {
    char *data; /* malloc; NULL while empty */
    size_t size;
    size_t capacity;
    size_t max; /* bytes */
    bool full;  /* something was left out, for the limit or for want of memory: nothing is added any more */
};

struct metrics_label {
    const char *name;
    const char *value; /* any bytes: escaped */
};

void metrics_text_init(struct metrics_text *t, size_t max);
void metrics_text_close(struct metrics_text *t);

/* Begin a family: its samples follow, before any other family. Borrows the strings for the call. */
void metrics_family(struct metrics_text *t, const char *name, enum metrics_type type, const char *help);
void metrics_sample(struct metrics_text *t, const char *name, const struct metrics_label *labels, unsigned n_labels,
                    int64_t value);
/* @value / @per_second seconds. */
void metrics_sample_seconds(struct metrics_text *t, const char *name, const struct metrics_label *labels,
                            unsigned n_labels, uint64_t value, uint64_t per_second);
/* A family with one sample without labels. */
void metrics_value(struct metrics_text *t, const char *name, enum metrics_type type, const char *help, int64_t value);
/* Says whether something was left out. For this there always is room; false: no memory, there is no text. */
bool metrics_text_end(struct metrics_text *t);

#endif
