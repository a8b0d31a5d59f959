/* Consumers: they follow every partition with long polls, and now and then begin again at 0. The verifier reads everything
 * once, strictly, when nothing is written any more. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/client.h"

#define TICK_MS 10
#define BACKOFF_MS 50
#define VERIFIER_BYTES (256u << 10)
#define VERIFIER_WAIT_MS 5000 /* such an answer may take so long on a slow way */
#define FOUND_MANY 100
#define MISSED_MAX 8
#define LATEST (-1) /* as the protocol has it */
#define EARLIEST (-2)
#define TIMES_BACK_MS 30000 /* about as long as a run takes */
#define PARTS_MAX (CLIENT_TOPICS_MAX * 16)

struct consumer;

struct follow {
    struct oracle_reader reader; /* reader.part NULL: nothing to follow */
    struct uuid topic_id;
    unsigned topic;
    unsigned partition;
    bool under_way;
    uint64_t wait_ns;
    int64_t end;         /* the verifier's: latest offset; -1: not known */
    int64_t known_before; /* when list offsets was asked */
    int64_t asked_ms;     /* ... for the first offset of that time; LATEST, EARLIEST */
};

struct fetch {
    struct list link; /* of consumer.fetches */
    struct consumer *consumer;
    unsigned node;
    unsigned n;
    bool listing;
    uint64_t asked_ns;
    uint32_t wait_ms;
    uint32_t max_bytes[PARTS_MAX];
    unsigned parts[PARTS_MAX];
    struct oracle_part *asked[PARTS_MAX]; /* it may have been replaced meanwhile */
    uint32_t life[PARTS_MAX];
};

struct consumer {
    struct env *env;
    struct workload *w;
    struct client_net *net;
    struct client_tick tick;
    bool verifier;
    struct follow follows[PARTS_MAX];
    uint32_t lives[PARTS_MAX]; /* a reader that begins again is another one */
    unsigned busy[ORACLE_NODES_MAX]; /* fetches under way */
    struct list fetches;
    unsigned missed; /* answers without the records that were there */
    unsigned found;  /* ... with records; FOUND_MANY make up for one without */
    bool verified;
};

static void begin(struct consumer *c, unsigned i, struct oracle_part *part)
{
    struct follow *f = &c->follows[i];
    oracle_reader_close(&f->reader);
    oracle_reader_init(&f->reader, part, c->verifier);
    f->end = -1;
    f->under_way = false;
    c->lives[i]++;
}

/* Match the readers to what exists. */
static void look(struct consumer *c)
{
    for (unsigned t = 0; t < c->w->n_topics; t++) {
        const struct client_topic *topic = client_topic(c->net, t);
        for (unsigned p = 0; p < c->w->partitions; p++) {
            unsigned i = t * 16 + p;
            struct follow *f = &c->follows[i];
            struct oracle_part *part = topic->exists && p < topic->n ? topic->partitions[p].part : NULL;
            if (f->reader.part != part) {
                begin(c, i, part);
                f->topic = t;
                f->partition = p;
                f->topic_id = topic->id;
            }
        }
    }
}

static void part_failed(struct consumer *c, struct follow *f, int error, const char *what)
{
    if (!err_retriable(error) && error != ERR_UNKNOWN_TOPIC) {
        oracle_violation(c->w->oracle, "topic %u partition %u: %s from offset %" PRId64 " failed: %s", f->topic, f->partition,
                         what, f->reader.offset, err_name(error));
    }
    oracle_counts(c->w->oracle)->not_leader += error == ERR_NOT_LEADER;
    f->wait_ns = env_now_ns(c->env) + (BACKOFF_MS + client_random(c->net, BACKOFF_MS)) * SIM_MS;
    client_refresh(c->net);
}

/* The reader that asked, if it still is the same. */
static struct follow *asker(struct fetch *fetch, unsigned k)
{
    struct consumer *c = fetch->consumer;
    unsigned i = fetch->parts[k];
    return c->lives[i] == fetch->life[k] ? &c->follows[i] : NULL;
}

/* Whole batches up to what was asked for, but one in any case; nothing only where there is nothing, and then in time. */
static void check_measure(struct fetch *fetch, const Cairn__Native__FetchResponse *m, uint32_t payload)
{
    struct consumer *c = fetch->consumer;
    uint64_t waited_ms = (env_now_ns(c->env) - fetch->asked_ns) / SIM_MS;
    bool failed = false;
    bool missed = false;

    for (unsigned k = 0; k < fetch->n; k++) {
        const struct follow *f = asker(fetch, k);
        const Cairn__Native__FetchPartitionResult *r = m->partitions[k];
        failed |= r->error != 0;
        missed |= f != NULL && r->error == 0 && payload == 0 && r->high_watermark > f->reader.offset;
    }
    /* Once it may be that the time was over in the very turn that brought the first record. */
    c->missed += missed && !failed;
    c->found += payload > 0;
    if (c->found == FOUND_MANY) {
        c->found = 0;
        c->missed -= c->missed > 0;
    }
    if (c->missed == MISSED_MAX) {
        oracle_violation(c->w->oracle, "%d times there was nothing to read below the high watermark that was told with it, by node %u "
                         "now", MISSED_MAX, fetch->node);
    }
    /* Both clocks drift, and timers are rounded. */
    if (!failed && payload == 0 && waited_ms + 3 + fetch->wait_ms / 30 < fetch->wait_ms) {
        oracle_violation(c->w->oracle, "node %u was to wait %u ms for records, it says that there are none after %" PRIu64 " ms",
                         fetch->node, fetch->wait_ms, waited_ms);
    }
}

static void take_fetched(struct fetch *fetch, const struct frame *frame)
{
    struct consumer *c = fetch->consumer;
    struct oracle *o = c->w->oracle;
    Cairn__Native__FetchResponse *m =
        cairn__native__fetch_response__unpack(NULL, frame->header.message_length, frame->message);
    size_t position = 0;

    if (m == NULL || m->n_partitions != fetch->n) {
        oracle_violation(o, "a fetch answer that cannot be read");
    }
    check_measure(fetch, m, frame->header.payload_length);
    for (unsigned k = 0; k < fetch->n; k++) {
        const Cairn__Native__FetchPartitionResult *r = m->partitions[k];
        struct follow *f = asker(fetch, k);
        if (r->size > frame->header.payload_length - position) {
            oracle_violation(o, "a fetch answer whose payload is too short");
        }
        if (f != NULL && r->error == ERR_NOT_LEADER) {
            oracle_hinted(o, f->reader.part, r->leader_node, r->leader_epoch);
        }
        if (f != NULL && r->error != 0) {
            part_failed(c, f, (int)r->error, "a fetch");
        } else if (f != NULL) {
            oracle_trace(o, "client: n%u fetched topic %u/%u from %" PRId64 ": %u bytes, high watermark %" PRId64 " epoch %" PRIu64,
                         fetch->node, f->topic, f->partition, f->reader.offset, r->size, r->high_watermark, r->leader_epoch);
            oracle_answered(o, f->reader.part, fetch->node, r->leader_epoch);
            if (oracle_fetched(o, &f->reader, r->leader_epoch, r->high_watermark, r->log_start_offset,
                               frame->payload + position, r->size) > 1 && r->size > fetch->max_bytes[k]) {
                oracle_violation(o, "topic %u partition %u: %u bytes, no more than %u were asked for", f->topic, f->partition,
                                 r->size, fetch->max_bytes[k]);
            }
        }
        position += r->size;
    }
    if (position != frame->header.payload_length) {
        oracle_violation(o, "a fetch answer whose payload is too long");
    }
    cairn__native__fetch_response__free_unpacked(m, NULL);
}

static void take_listed(struct fetch *fetch, const struct frame *frame)
{
    struct consumer *c = fetch->consumer;
    Cairn__Native__ListOffsetsResponse *m =
        cairn__native__list_offsets_response__unpack(NULL, frame->header.message_length, frame->message);

    if (m == NULL || m->n_partitions != fetch->n) {
        oracle_violation(c->w->oracle, "a list offsets answer that cannot be read");
    }
    for (unsigned k = 0; k < fetch->n; k++) {
        const Cairn__Native__ListOffsetsResult *r = m->partitions[k];
        struct follow *f = asker(fetch, k);
        if (f != NULL && r->error == 0) {
            oracle_answered(c->w->oracle, f->reader.part, fetch->node, r->leader_epoch);
        }
        if (f != NULL && r->error != 0) {
            part_failed(c, f, (int)r->error, "list offsets");
        } else if (f != NULL && f->asked_ms == LATEST) {
            oracle_listed_end(c->w->oracle, f->reader.part, f->known_before, r->offset);
            f->end = r->offset;
        } else if (f != NULL && f->asked_ms == EARLIEST) {
            if (r->offset != 0) {
                oracle_violation(c->w->oracle, "topic %u partition %u: it begins at offset %" PRId64 ", nothing was to expire",
                                 f->topic, f->partition, r->offset);
            }
        } else if (f != NULL) {
            oracle_listed_time(c->w->oracle, f->reader.part, f->known_before, f->asked_ms, r->offset, r->timestamp_ms);
        }
    }
    cairn__native__list_offsets_response__free_unpacked(m, NULL);
}

static void on_answer(void *data, int status, const struct frame *frame)
{
    struct fetch *fetch = data;
    struct consumer *c = fetch->consumer;

    c->busy[fetch->node - 1]--;
    if (status == 0) {
        status = frame->header.status;
    }
    for (unsigned k = 0; k < fetch->n; k++) {
        struct follow *f = asker(fetch, k);
        if (f != NULL) {
            f->under_way = false;
            if (status != 0) {
                part_failed(c, f, status, fetch->listing ? "list offsets" : "a fetch");
            }
        }
    }
    if (status == 0 && fetch->listing) {
        take_listed(fetch, frame);
    } else if (status == 0) {
        take_fetched(fetch, frame);
    }
    list_remove(&fetch->link);
    free(fetch);
}

static int send_fetch(struct consumer *c, struct fetch *fetch)
{
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition parts[PARTS_MAX];
    Cairn__Native__FetchPartition *pointers[PARTS_MAX];

    for (unsigned k = 0; k < fetch->n; k++) {
        struct follow *f = &c->follows[fetch->parts[k]];
        cairn__native__fetch_partition__init(&parts[k]);
        parts[k].topic_id = (ProtobufCBinaryData){sizeof f->topic_id.bytes, f->topic_id.bytes};
        parts[k].partition = f->partition;
        parts[k].offset = f->reader.offset;
        oracle_reader_asks(&f->reader);
        parts[k].max_bytes = c->verifier ? VERIFIER_BYTES : 1 + (uint32_t)client_random(c->net, c->w->fetch_max_bytes);
        fetch->max_bytes[k] = parts[k].max_bytes;
        pointers[k] = &parts[k];
    }
    m.n_partitions = fetch->n;
    m.partitions = pointers;
    m.max_wait_ms = (uint32_t)client_random(c->net, 500);
    fetch->wait_ms = m.max_wait_ms;
    fetch->asked_ns = env_now_ns(c->env);
    m.min_bytes = 1;
    m.max_bytes = c->verifier ? 4 * VERIFIER_BYTES : 4 * c->w->fetch_max_bytes;
    return client_request(c->net, fetch->node, CALL_FETCH, &m.base, NULL, 0,
                          m.max_wait_ms + c->w->request_timeout_ms + (c->verifier ? VERIFIER_WAIT_MS : 0), on_answer, fetch);
}

static int64_t draw_time(struct consumer *c)
{
    uint64_t dice = c->verifier ? 0 : client_random(c->net, 10);
    return dice < 7 ? LATEST : dice == 7 ? EARLIEST : env_wall_ms(c->env) - (int64_t)client_random(c->net, TIMES_BACK_MS);
}

static int send_list(struct consumer *c, struct fetch *fetch)
{
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition parts[PARTS_MAX];
    Cairn__Native__ListOffsetsPartition *pointers[PARTS_MAX];

    for (unsigned k = 0; k < fetch->n; k++) {
        struct follow *f = &c->follows[fetch->parts[k]];
        cairn__native__list_offsets_partition__init(&parts[k]);
        parts[k].topic_id = (ProtobufCBinaryData){sizeof f->topic_id.bytes, f->topic_id.bytes};
        parts[k].partition = f->partition;
        f->asked_ms = draw_time(c);
        parts[k].timestamp_ms = f->asked_ms;
        f->known_before = oracle_known_end(f->reader.part);
        pointers[k] = &parts[k];
    }
    m.n_partitions = fetch->n;
    m.partitions = pointers;
    return client_request(c->net, fetch->node, CALL_LIST_OFFSETS, &m.base, NULL, 0, c->w->request_timeout_ms, on_answer,
                          fetch);
}

static bool wants(const struct consumer *c, const struct follow *f, bool listing)
{
    if (f->reader.part == NULL || f->under_way || env_now_ns(c->env) < f->wait_ns) {
        return false;
    }
    if (c->verifier) {
        return listing ? f->end < 0 : f->end >= 0 && f->reader.offset < f->end;
    }
    return true;
}

/* @astray: whatever its metadata says; who does not lead must say so, and who led once may only tell what is committed. */
static void ask(struct consumer *c, unsigned node, bool listing, bool astray)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);

    assert(fetch != NULL);
    fetch->consumer = c;
    fetch->node = node;
    fetch->listing = listing;
    for (unsigned i = 0; i < PARTS_MAX; i++) {
        struct follow *f = &c->follows[i];
        const struct client_topic *topic = client_topic(c->net, f->topic);
        if (wants(c, f, listing) && (astray || topic->partitions[f->partition].leader == node)) {
            fetch->life[fetch->n] = c->lives[i];
            fetch->parts[fetch->n++] = i;
        }
    }
    if (fetch->n == 0 || (listing ? send_list(c, fetch) : send_fetch(c, fetch)) != 0) {
        free(fetch);
        return;
    }
    c->busy[node - 1]++;
    list_push_back(&c->fetches, &fetch->link);
    for (unsigned k = 0; k < fetch->n; k++) {
        c->follows[fetch->parts[k]].under_way = true;
    }
}

static void consumer_tick(void *data)
{
    struct consumer *c = data;

    look(c);
    for (unsigned i = 0; i < PARTS_MAX && !c->verifier; i++) {
        if (c->follows[i].reader.part != NULL && client_random(c->net, 1000) == 0) {
            oracle_counts(c->w->oracle)->rereads++;
            begin(c, i, c->follows[i].reader.part);
        }
    }
    for (unsigned i = 0; i < PARTS_MAX; i++) {
        const struct follow *f = &c->follows[i];
        if (f->reader.part != NULL && client_topic(c->net, f->topic)->partitions[f->partition].leader == 0) {
            client_refresh(c->net);
        }
    }
    for (unsigned node = 1; node <= c->w->n_nodes; node++) {
        if (client_connected(c->net, node)) {
            /* A barrier entry each: without an end of them no two logs would ever be seen level. */
            if (c->verifier || (client_random(c->net, 15) == 0 && !c->w->stop)) {
                ask(c, node, true, !c->verifier && client_random(c->net, 2) == 0);
            }
            ask(c, node, false, !c->verifier && client_random(c->net, 12) == 0);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void *start(struct env *env, struct workload *w, bool verifier)
{
    struct consumer *c = calloc(1, sizeof *c);

    assert(c != NULL && w->partitions <= 16);
    c->env = env;
    c->w = w;
    c->verifier = verifier;
    list_init(&c->fetches);
    c->net = client_net_new(env, w);
    client_tick_start(&c->tick, env, TICK_MS, consumer_tick, c);
    return c;
}

static void *start_consumer(struct env *env, struct workload *w)
{
    return start(env, w, false);
}

static void *start_verifier(struct env *env, struct workload *w)
{
    return start(env, w, true);
}

static void consumer_abandon(void *client)
{
    struct consumer *c = client;
    struct list *pos;

    while ((pos = list_pop_front(&c->fetches)) != NULL) {
        free(list_entry(pos, struct fetch, link));
    }
    for (unsigned i = 0; i < PARTS_MAX; i++) {
        oracle_reader_close(&c->follows[i].reader);
    }
    client_net_abandon(c->net);
    free(c);
}

static bool consumer_fresh(const void *client)
{
    return true;
}

struct final {
    const struct consumer *consumer;
    bool all;
};

static void find_final(void *data, struct oracle_part *part, const struct uuid *topic, uint32_t partition)
{
    struct final *final = data;

    if (oracle_part_doomed(part)) {
        return;
    }
    for (unsigned i = 0; i < PARTS_MAX; i++) {
        const struct follow *f = &final->consumer->follows[i];
        if (f->reader.part == part && f->end >= 0 && f->reader.offset >= f->end) {
            return;
        }
    }
    final->all = false;
}

static bool verifier_fresh(const void *client)
{
    const struct consumer *c = client;
    struct final final = {c, true};

    if (client_metadata_age_ns(c->net) == UINT64_MAX) {
        return false;
    }
    oracle_each_part(c->w->oracle, find_final, &final);
    return final.all;
}

void client_verifier_conclude(const void *client)
{
    const struct consumer *c = client;
    for (unsigned i = 0; i < PARTS_MAX; i++) {
        const struct follow *f = &c->follows[i];
        if (f->reader.part != NULL) {
            oracle_final_part(c->w->oracle, f->reader.part, &f->reader, f->end);
        }
    }
}

static bool consumer_idle(const void *client)
{
    return true;
}

static void consumer_describe(const void *client, char *out, size_t size)
{
    const struct consumer *c = client;
    size_t n = (size_t)snprintf(out, size, "consumer:");
    for (unsigned i = 0; i < PARTS_MAX && n < size; i++) {
        const struct follow *f = &c->follows[i];
        if (f->reader.part != NULL) {
            n += (size_t)snprintf(out + n, size - n, " t%u/%u: at %" PRId64 " of %" PRId64 ", under way %d;", f->topic,
                                  f->partition, f->reader.offset, f->end, f->under_way);
        }
    }
}

const struct client_kind client_consumer = {
    "consumer", start_consumer, consumer_abandon, consumer_fresh, consumer_idle, consumer_describe};
const struct client_kind client_verifier = {
    "verifier", start_verifier, consumer_abandon, verifier_fresh, consumer_idle, consumer_describe};
