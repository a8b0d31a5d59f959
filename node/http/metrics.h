/* What one node tells of itself: the counters of its shards, logs, groups and links, and the lag of the consumer groups
 * that it coordinates, gathered where they are kept and written as text.
 *
 * Hub thread. Memory: the collection is the caller's and stays until @done; so does its text after it. */
#ifndef CAIRN_METRICS_H
#define CAIRN_METRICS_H

#include "node/http/metrics_text.h"
#include "node/service/service_group.h"

struct metrics;

/* A shard's numbers, filled on its thread. */
struct metrics_shard {
    struct shard_stats_op stats;
    struct wal_stats wal;
    struct group_host_stats host;
    struct metrics *metrics;
};

struct metrics {
    struct service *service;
    /* More families, from rooms that this one does not know; may be NULL. */
    void (*more)(void *data, struct metrics_text *text);
    void *more_data;
    void (*done)(struct metrics *m); /* may run inside metrics_collect() */
    struct metrics_text text;        /* the answer; the caller closes it */
    bool complete;                   /* false: no memory for any text */
    /* inside */
    bool cancelled;
    struct request_context ctx;
    struct service_lag lag;
    uint32_t n;
    uint32_t pending;
    struct metrics_shard shards[SHARDS_MAX];
};

/* @service, @more, @more_data and @done are set by the caller. */
void metrics_collect(struct metrics *m);
/* The node ends: no text is wanted any more, and from here on nothing of the node is looked at for it. @done will run.
 */
void metrics_cancel(struct metrics *m);

/* ---- the tables: one row a number that something counts -------------------------------------------------------------
 */

enum metrics_unit { METRICS_NUMBER_U32, METRICS_NUMBER_U64, METRICS_NANOSECONDS_U64 };

struct metrics_row {
    const char *name; /* with its unit, as Prometheus has it: ..._bytes, ..._seconds_total */
    enum metrics_type type;
    enum metrics_unit unit; /* of the field; time is told in seconds */
    size_t offset;          /* of the field */
    const char *help;
};

extern const struct metrics_row metrics_shard_rows[];
extern const size_t metrics_shard_rows_count;
extern const struct metrics_row metrics_wal_rows[];
extern const size_t metrics_wal_rows_count;
extern const struct metrics_row metrics_host_rows[];
extern const size_t metrics_host_rows_count;
extern const struct metrics_row metrics_transport_rows[];
extern const size_t metrics_transport_rows_count;

/* One sample of @row from the struct at @base. */
void metrics_row_sample(struct metrics_text *t, const struct metrics_row *row, const void *base,
                        const struct metrics_label *labels, unsigned n_labels);
/* A family a row, each with one sample without labels. */
void metrics_rows(struct metrics_text *t, const struct metrics_row *rows, size_t n, const void *base);

#endif
