/* Tables, colours, numbers for people, the progress line. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/cli.h"

#define COLUMNS_MAX 16
#define PROGRESS_EVERY_NS 100000000ull

struct table {
    const char *const *titles;
    const char *alignment;
    size_t columns;
    char **cells;
    size_t count;
    size_t capacity;
};

struct table *table_new(const char *const *titles, const char *alignment)
{
    struct table *t = calloc(1, sizeof *t);

    if (t != NULL) {
        t->titles = titles;
        t->alignment = alignment;
        t->columns = strlen(alignment);
    }
    return t;
}

void table_add(struct table *t, ...)
{
    va_list args;

    if (t == NULL) {
        return;
    }
    if (t->count + t->columns > t->capacity) {
        size_t capacity = t->capacity * 2 + 16 * t->columns;
        char **cells = realloc(t->cells, capacity * sizeof *cells);
        if (cells == NULL) {
            return;
        }
        t->cells = cells;
        t->capacity = capacity;
    }
    va_start(args, t);
    for (size_t i = 0; i < t->columns; i++) {
        t->cells[t->count++] = strdup(va_arg(args, const char *));
    }
    va_end(args);
}

/* Width on the screen: escape sequences take none, of UTF-8 only the first byte counts. */
static size_t width(const char *text)
{
    size_t n = 0;

    while (*text != '\0') {
        if (*text == '\033') {
            text += strcspn(text, "m");
            text += *text != '\0';
            continue;
        }
        n += ((unsigned char)*text & 0xc0) != 0x80;
        text++;
    }
    return n;
}

static void cell_print(const struct table *t, size_t column, const char *text, size_t wide)
{
    size_t pad = wide - width(text);
    bool last = column + 1 == t->columns;

    if (t->alignment[column] == 'r') {
        printf("%*s%s%s", (int)pad, "", text, last ? "" : "  ");
    } else {
        printf("%s%*s%s", text, last ? 0 : (int)pad, "", last ? "" : "  ");
    }
}

void table_print(struct table *t, const struct cli *cli)
{
    size_t wide[COLUMNS_MAX] = {0};
    char cell[128];

    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->columns; i++) {
        wide[i] = width(t->titles[i]);
        for (size_t k = i; k < t->count; k += t->columns) {
            size_t w = width(t->cells[k]);
            wide[i] = w > wide[i] ? w : wide[i];
        }
    }
    for (size_t i = 0; i < t->columns; i++) {
        cell_print(t, i, coloured(cli, COLOUR_BOLD, t->titles[i], cell), wide[i]);
    }
    printf("\n");
    for (size_t k = 0; k < t->count; k++) {
        cell_print(t, k % t->columns, t->cells[k], wide[k % t->columns]);
        if (k % t->columns == t->columns - 1) {
            printf("\n");
        }
    }
}

void table_free(struct table *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    free(t);
}

const char *coloured(const struct cli *cli, enum colour colour, const char *text, char out[128])
{
    static const char *const codes[] = {"32", "31", "2", "1"};

    if (!cli->colour_out) {
        return text;
    }
    snprintf(out, 128, "\033[%sm%s\033[0m", codes[colour], text);
    return out;
}

static const char *human(double n, const char *unit, char out[HUMAN_SIZE])
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P"};
    size_t i = 0;

    while (n >= 1000 && i < sizeof prefixes / sizeof prefixes[0] - 1) {
        n /= 1000;
        i++;
    }
    snprintf(out, HUMAN_SIZE, i == 0 || n >= 100 ? "%.0f%s%s%s" : "%.1f%s%s%s", n,
             prefixes[i][0] != '\0' || unit[0] != '\0' ? " " : "", prefixes[i], unit);
    return out;
}

const char *human_bytes(double bytes, char out[HUMAN_SIZE])
{
    return human(bytes, "B", out);
}

const char *human_count(double count, char out[HUMAN_SIZE])
{
    return human(count, "", out);
}

const char *human_time(double seconds, char out[HUMAN_SIZE])
{
    unsigned s = seconds < 0 ? 0 : seconds > 359999 ? 359999 : (unsigned)(seconds + 0.5);

    if (s >= 3600) {
        snprintf(out, HUMAN_SIZE, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(out, HUMAN_SIZE, "%u:%02u", s / 60, s % 60);
    }
    return out;
}

void id_text(const uint8_t id[CAIRN_ID_SIZE], char out[37])
{
    size_t at = 0;

    for (int i = 0; i < CAIRN_ID_SIZE; i++) {
        at += (size_t)snprintf(out + at, 37 - at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
    }
}

uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int64_t wall_clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void progress_begin(struct progress *p, const struct cli *cli, uint64_t total, bool bytes)
{
    *p = (struct progress){.cli = cli, .begin_ns = clock_ns(), .total = total, .bytes = bytes};
}

static void bar(double part, char out[64])
{
    int full = (int)(part * 20);

    out[0] = '\0';
    for (int i = 0; i < 20; i++) {
        strcat(out, i < full ? "=" : i == full ? ">" : " ");
    }
}

void progress_draw(struct progress *p, uint64_t done, uint64_t records, uint64_t acknowledged)
{
    uint64_t now_ns;
    double seconds;
    double rate;
    char text[4][HUMAN_SIZE];
    char line[64];

    if (!p->cli->terminal_err || p->cli->json) {
        return;
    }
    now_ns = clock_ns();
    if (now_ns - p->drawn_ns < PROGRESS_EVERY_NS) {
        return;
    }
    p->drawn_ns = now_ns;
    seconds = (double)(now_ns - p->begin_ns) / 1e9 + 1e-9;
    rate = (double)done / seconds;
    if (p->total > 0) {
        double part = done >= p->total ? 1 : (double)done / (double)p->total;
        bar(part, line);
        fprintf(stderr, "\r\033[K[%s] %3.0f %%  %s left  ", line, part * 100,
                human_time(((double)p->total - (double)done) / (rate + 1e-9), text[0]));
    } else {
        fprintf(stderr, "\r\033[K%s  ", human_time(seconds, text[0]));
    }
    if (p->bytes) {
        fprintf(stderr, "%s/s  ", human_bytes(rate, text[1]));
    }
    fprintf(stderr, "%s records/s  %s acknowledged", human_count((double)records / seconds, text[2]),
            human_count((double)acknowledged, text[3]));
    fflush(stderr);
}

void progress_end(struct progress *p)
{
    if (p->drawn_ns != 0) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
}
