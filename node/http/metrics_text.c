#include "node/http/metrics_text.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_FIRST_BYTES 16384
#define TEXT_END_BYTES 256 /* kept free for metrics_text_end() */

void metrics_text_init(struct metrics_text *t, size_t max)
{
    *t = (struct metrics_text){.max = max};
}

void metrics_text_close(struct metrics_text *t)
{
    free(t->data);
    t->data = NULL;
    t->size = 0;
    t->capacity = 0;
}

static bool grow(struct metrics_text *t, size_t more)
{
    size_t wanted = t->size + more + TEXT_END_BYTES;
    size_t capacity = t->capacity == 0 ? TEXT_FIRST_BYTES : t->capacity;
    char *data;
    if (wanted > t->max) {
        return false;
    }
    while (capacity < wanted) {
        capacity *= 2;
    }
    if (capacity == t->capacity) {
        return true;
    }
    data = realloc(t->data, capacity);
    if (data == NULL) {
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

static void put(struct metrics_text *t, const char *bytes, size_t n)
{
    if (t->full || !grow(t, n)) {
        t->full = true;
        return;
    }
    memcpy(t->data + t->size, bytes, n);
    t->size += n;
}

static void put_text(struct metrics_text *t, const char *text)
{
    put(t, text, strlen(text));
}

/* A label's value: backslash, quote and line feed are escaped; other control bytes would only garble a terminal, and
 * what is not UTF-8 makes scrapers refuse the whole: both become '?'. */
static void put_escaped(struct metrics_text *t, const char *value)
{
    char out[METRICS_LABEL_MAX_BYTES];
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0' && n + 2 <= sizeof out; c++) {
        if (*c == '\\' || *c == '"' || *c == '\n') {
            out[n++] = '\\';
            out[n++] = *c == '\n' ? 'n' : (char)*c;
        } else {
            out[n++] = *c < 0x20 || *c >= 0x7f ? '?' : (char)*c;
        }
    }
    put(t, out, n);
}

/* What stands before a sample's value. A sample that does not fit is taken back by its caller. */
static void put_series(struct metrics_text *t, const char *name, const struct metrics_label *labels, unsigned n_labels)
{
    put_text(t, name);
    for (unsigned i = 0; i < n_labels; i++) {
        put_text(t, i == 0 ? "{" : ",");
        put_text(t, labels[i].name);
        put_text(t, "=\"");
        put_escaped(t, labels[i].value);
        put_text(t, "\"");
    }
    put_text(t, n_labels > 0 ? "} " : " ");
}

static void put_line(struct metrics_text *t, size_t begin, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put_line(struct metrics_text *t, size_t begin, const char *format, ...)
{
    char text[96];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(t, text, (size_t)n);
    if (t->full) {
        t->size = begin;
    }
}

void metrics_family(struct metrics_text *t, const char *name, enum metrics_type type, const char *help)
{
    size_t begin = t->size;
    put_text(t, "# HELP ");
    put_text(t, name);
    put_text(t, " ");
    put_text(t, help);
    put_text(t, "\n# TYPE ");
    put_text(t, name);
    put_line(t, begin, "%s", type == METRICS_COUNTER ? " counter\n" : " gauge\n");
}

void metrics_sample(struct metrics_text *t, const char *name, const struct metrics_label *labels, unsigned n_labels,
                    int64_t value)
{
    size_t begin = t->size;
    put_series(t, name, labels, n_labels);
    put_line(t, begin, "%" PRId64 "\n", value);
}

void metrics_sample_seconds(struct metrics_text *t, const char *name, const struct metrics_label *labels,
                            unsigned n_labels, uint64_t value, uint64_t per_second)
{
    size_t begin = t->size;
    uint64_t whole = value / per_second;
    uint64_t micros = value % per_second * 1000000 / per_second;
    put_series(t, name, labels, n_labels);
    put_line(t, begin, "%" PRIu64 ".%06" PRIu64 "\n", whole, micros);
}

void metrics_value(struct metrics_text *t, const char *name, enum metrics_type type, const char *help, int64_t value)
{
    metrics_family(t, name, type, help);
    metrics_sample(t, name, NULL, 0, value);
}

bool metrics_text_end(struct metrics_text *t)
{
    static const char end[] = "# HELP cairn_metrics_truncated 1 if this text had no room for everything.\n"
                              "# TYPE cairn_metrics_truncated gauge\n"
                              "cairn_metrics_truncated %d\n";
    static_assert(sizeof end + 8 < TEXT_END_BYTES, "the end always has room");
    if (t->data == NULL) {
        t->data = malloc(TEXT_END_BYTES);
        if (t->data == NULL) {
            return false;
        }
        t->capacity = TEXT_END_BYTES;
    }
    t->size += (size_t)snprintf(t->data + t->size, t->capacity - t->size, end, t->full ? 1 : 0);
    return true;
}
