/* A program that consumes with the library: from the beginning, the end or in between, seeking, pausing, giving partitions
 * back and taking them again; always it must get all records from there on, in order. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/consumer.h"
#include "tests/sim/real_client.h"

#define PARTITIONS_MAX 16
#define FOLLOWS_MAX (CLIENT_TOPICS_MAX * PARTITIONS_MAX)
#define FAR_AWAY (1ll << 40) /* an offset that no log reaches */

struct follow {
    struct oracle_reader reader; /* reader.part NULL: nothing has come since the last seek */
    unsigned topic;
    uint32_t partition;
    bool goes;     /* its topic may be deleted */
    int64_t sought; /* offset, CONSUMER_EARLIEST, CONSUMER_LATEST */
    struct oracle_part *latest_of; /* where CONSUMER_LATEST was sought; NULL: not known */
    int64_t latest_known;          /* ... and this offset was acknowledged then */
    int64_t at;                    /* position at the first look after healing, and after the workload's end; -1: not yet */
};

struct real_consumer {
    struct real_driver *driver;
    struct env *env;
    struct workload *w;
    struct consumer *lib;
    unsigned n;
    struct follow follows[FOLLOWS_MAX];
    bool healed;
    bool stopped;
};

static struct consumer_partition *find(const struct real_consumer *c, const struct follow *f)
{
    char name[16];

    client_topic_name(c->w, f->topic, name);
    return consumer_find(c->lib, name, f->partition);
}

/* NULL: not known. */
static struct oracle_part *part_of(const struct real_consumer *c, const struct consumer_partition *p)
{
    struct uuid id;

    if (p == NULL || p->meta == NULL || p->partition >= p->meta->partition_count) {
        return NULL;
    }
    memcpy(id.bytes, p->meta->id, sizeof id.bytes);
    return oracle_part(c->w->oracle, &id, p->partition, 0);
}

/* ---- going somewhere ------------------------------------------------------------------------------------------------- */

static void sought(struct real_consumer *c, struct follow *f, int64_t offset)
{
    struct oracle_part *part = part_of(c, find(c, f));

    oracle_reader_close(&f->reader);
    f->reader = (struct oracle_reader){.part = NULL};
    f->sought = offset;
    f->latest_of = part;
    f->latest_known = part != NULL ? oracle_known_end(part) : 0;
}

static void assign(struct real_consumer *c, struct follow *f, int64_t offset)
{
    char name[16];
    bool wake;
    int rv;

    client_topic_name(c->w, f->topic, name);
    rv = consumer_assign(c->lib, name, f->partition, offset, &wake);
    assert(rv == 0);
    (void)rv;
    sought(c, f, offset);
}

static void seek(struct real_consumer *c, struct follow *f, int64_t offset)
{
    bool wake;

    oracle_trace(c->w->oracle, "real client: seeks t%u/%u to %" PRId64, f->topic, f->partition, offset);
    oracle_counts(c->w->oracle)->real_seeks++;
    consumer_seek(c->lib, find(c, f), offset, &wake);
    sought(c, f, offset);
}

static int64_t some_offset(struct real_consumer *c, const struct follow *f)
{
    struct oracle_part *part = part_of(c, find(c, f));
    int64_t end = part != NULL ? oracle_known_end(part) : 0;

    switch (real_draw(c->env, 0, 9)) {
    case 0:
        return CONSUMER_EARLIEST;
    case 1:
        return CONSUMER_LATEST;
    case 2:
        return 0;
    case 3:
        return end;
    case 4:
        return FAR_AWAY;
    default:
        return (int64_t)real_draw(c->env, 0, (uint64_t)end);
    }
}

static void act(struct real_consumer *c, struct follow *f)
{
    struct consumer_partition *p = find(c, f);
    bool wake;

    if (p == NULL) {
        assign(c, f, some_offset(c, f));
        return;
    }
    switch (real_draw(c->env, 0, 5)) {
    case 0:
        consumer_pause(c->lib, p, !p->paused, &wake);
        return;
    case 1:
        consumer_unassign(c->lib, p, &wake);
        return;
    default:
        seek(c, f, some_offset(c, f));
    }
}

/* From here on it is to read all. */
static void set_right(struct real_consumer *c, struct follow *f)
{
    struct consumer_partition *p = find(c, f);
    bool wake;

    if (p == NULL) {
        assign(c, f, CONSUMER_EARLIEST);
        return;
    }
    consumer_pause(c->lib, p, false, &wake);
    if (f->sought == FAR_AWAY && f->reader.part == NULL) {
        seek(c, f, CONSUMER_EARLIEST);
    }
}

/* ---- what comes ------------------------------------------------------------------------------------------------------ */

/* The first records since a seek, or of another topic of the same name: where may they begin? */
static void begin(struct real_consumer *c, struct follow *f, struct oracle_part *part, int64_t at)
{
    struct oracle *o = c->w->oracle;
    int64_t from = f->sought;
    bool moved = f->reader.part != NULL;

    if (moved && !f->goes) {
        oracle_violation(o, "real client: t%u/%u became another topic's", f->topic, f->partition);
    }
    if (moved || from == FAR_AWAY || (from >= 0 && from != at && f->goes)) {
        oracle_counts(o)->real_resets++;
        if (c->lib->config.on_out_of_range == POLICY_ERROR) {
            oracle_violation(o, "real client: t%u/%u goes on at offset %" PRId64 " of another topic, and nobody was told",
                             f->topic, f->partition, at);
        }
        from = moved || c->lib->config.on_out_of_range == POLICY_EARLIEST ? CONSUMER_EARLIEST : CONSUMER_LATEST;
    }
    if ((from == CONSUMER_EARLIEST && at != 0) || (from >= 0 && at != from) ||
        (from == CONSUMER_LATEST && part == f->latest_of && at < f->latest_known)) {
        oracle_violation(o, "real client: t%u/%u begins at offset %" PRId64 ", sought was %" PRId64 " (acknowledged then: %" PRId64
                         ")", f->topic, f->partition, at, from, f->latest_known);
    }
    oracle_reader_close(&f->reader);
    oracle_reader_init(&f->reader, part, at == 0);
    f->reader.offset = at;
}

static void take_error(struct real_consumer *c, struct follow *f, const struct consumer_partition *p, int error)
{
    struct oracle_part *part = part_of(c, p);

    oracle_trace(c->w->oracle, "real client: t%u/%u at %" PRId64 ": %s", f->topic, f->partition, p->position, err_name(error));
    if (error == ERR_UNKNOWN_TOPIC) {
        return;
    }
    if (error != ERR_OFFSET_OUT_OF_RANGE || c->lib->config.on_out_of_range != POLICY_ERROR) {
        oracle_violation(c->w->oracle, "real client: t%u/%u at offset %" PRId64 ": told %s", f->topic, f->partition,
                         p->position, err_name(error));
    }
    if (!f->goes && (part == NULL || p->position <= oracle_known_end(part))) {
        oracle_violation(c->w->oracle, "real client: t%u/%u: offset %" PRId64 " was told to be out of range, acknowledged is %"
                         PRId64, f->topic, f->partition, p->position, part != NULL ? oracle_known_end(part) : -1);
    }
    oracle_counts(c->w->oracle)->real_resets++;
    seek(c, f, real_draw(c->env, 0, 1) == 0 ? CONSUMER_EARLIEST : 0);
}

static void take(struct real_consumer *c, struct chunk *chunk)
{
    const struct consumer_partition *p = chunk->partition;
    struct oracle *o = c->w->oracle;
    unsigned topic = (unsigned)atoi(p->topic + 1);
    struct follow *f = &c->follows[topic * c->w->partitions + p->partition];
    struct oracle_part *part = part_of(c, p);

    assert(f->topic == topic && f->partition == p->partition);
    if (p->paused || p->removed) {
        oracle_violation(o, "real client: t%u/%u is paused or given back, and goes on", f->topic, f->partition);
    }
    if (chunk->status != 0) {
        take_error(c, f, p, chunk->status);
        return;
    }
    if (part != f->reader.part) {
        begin(c, f, part, chunk->begin);
    }
    real_reader_got(o, &f->reader, chunk->bytes, chunk->size, chunk->begin, chunk->end);
    if (p->position != chunk->end) {
        oracle_violation(o, "real client: t%u/%u: its position is %" PRId64 " behind what ends at %" PRId64, f->topic,
                         f->partition, p->position, chunk->end);
    }
    if (!f->goes) {
        oracle_check_committed(o, part, p->high_watermark, "high watermark told by the real client");
    }
}

void real_consumer_tick(struct real_consumer *c)
{
    bool healing = c->w->healed_ns != 0 && !c->healed;
    struct chunk *chunk;
    bool wake;

    for (unsigned i = 0; i < c->n; i++) {
        struct follow *f = &c->follows[i];
        if (healing) {
            set_right(c, f);
        } else if (!c->healed && real_draw(c->env, 0, 1500) == 0) {
            act(c, f);
        }
    }
    c->healed |= healing;
    for (uint64_t n = real_draw(c->env, 0, 8); n > 0; n--) {
        chunk = consumer_take(c->lib, &wake);
        if (chunk == NULL) {
            break;
        }
        take(c, chunk);
        chunk_free(chunk);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

struct real_consumer *real_consumer_new(struct real_driver *d, struct workload *w)
{
    static const uint32_t sizes[] = {1000, 20000, 2u << 20};
    struct real_consumer *c = calloc(1, sizeof *c);
    struct consumer_config config;
    int rv;

    assert(c != NULL && w->partitions <= PARTITIONS_MAX);
    c->driver = d;
    c->env = d->env;
    c->w = w;
    consumer_config_init(&config);
    config.on_out_of_range = (enum consumer_policy)real_draw(c->env, POLICY_ERROR, POLICY_LATEST);
    config.fetch_max_bytes = sizes[real_draw(c->env, 0, 2)];
    config.prefetch_max_bytes = config.fetch_max_bytes * real_draw(c->env, 1, 4);
    config.fetch_max_wait_ms = (uint32_t)real_draw(c->env, 0, 500);
    rv = consumer_new(&d->core, NULL, &config, &c->lib);
    assert(rv == 0);
    (void)rv;
    for (unsigned t = 0; t < w->n_topics; t++) {
        for (uint32_t i = 0; i < w->partitions; i++) {
            struct follow *f = &c->follows[c->n++];
            f->topic = t;
            f->partition = i;
            f->at = -1;
            f->goes = w->churn && t == w->n_topics - 1;
            assign(c, f, real_draw(c->env, 0, 2) == 0 ? CONSUMER_LATEST : CONSUMER_EARLIEST);
        }
    }
    return c;
}

void real_consumer_abandon(struct real_consumer *c)
{
    for (unsigned i = 0; i < c->n; i++) {
        oracle_reader_close(&c->follows[i].reader);
    }
    consumer_close(c->lib);
    free(c);
}

/* It has come on since the first look, or has all that is there: one that reads in small bites over slow ways would need longer
 * than a run to catch up. */
static bool moves(const struct real_consumer *c, struct follow *f)
{
    const struct consumer_partition *p = find(c, f);
    struct oracle_part *part = part_of(c, p);

    if (part == NULL || oracle_part_doomed(part)) {
        return false;
    }
    if (f->at < 0) {
        f->at = p->position < 0 ? 0 : p->position;
    }
    return p->position > f->at || p->position >= oracle_known_end(part);
}

bool real_consumer_moves(struct real_consumer *c)
{
    bool all = c->healed;

    if (c->stopped != c->w->stop) {
        c->stopped = c->w->stop;
        for (unsigned i = 0; i < c->n; i++) {
            c->follows[i].at = -1;
        }
    }
    for (unsigned i = 0; i < c->n && all; i++) {
        all = moves(c, &c->follows[i]);
    }
    return all;
}

size_t real_consumer_describe(const struct real_consumer *c, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, " consumer, healed %d:", c->healed);

    for (unsigned i = 0; i < c->n && n < size; i++) {
        const struct consumer_partition *p = find(c, &c->follows[i]);
        const struct oracle_part *part = part_of(c, p);
        n += (size_t)snprintf(out + n, size - n, " t%u/%u: position %" PRId64 " of %" PRId64 " fetch %" PRId64 " state %d asking %d "
                              "paused %d buffered %" PRIu64 ";", c->follows[i].topic, c->follows[i].partition,
                              p != NULL ? p->position : -9, part != NULL ? oracle_known_end(part) : -9,
                              p != NULL ? p->fetch_offset : -9, p != NULL ? (int)p->state : -9, p != NULL && p->asking,
                              p != NULL && p->paused, p != NULL ? p->buffered_bytes : 0);
    }
    return n < size ? n : size;
}
