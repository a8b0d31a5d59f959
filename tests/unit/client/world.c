#include "tests/unit/client/world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/conn.h"
#include "proto/native/native.pb-c.h"
#include "proto/record/record_batch.h"
#include "proto/record/record_builder.h"

enum event_kind { EVENT_UP, EVENT_DOWN, EVENT_TO_SERVER, EVENT_TO_CLIENT, EVENT_SENT, EVENT_APPLY };

struct world_link {
    struct list link;
    struct conn *conn; /* NULL: the core dropped it */
    uint32_t node;
    bool up;
    bool closing; /* EVENT_DOWN is on its way */
    struct frame_reader reader;
    uint64_t sent_ns;      /* the last EVENT_SENT */
    uint64_t to_server_ns; /* nothing arrives before what was sent earlier */
    uint64_t to_client_ns;
    unsigned events; /* that name it */
    bool dead;       /* the core was told */
    bool lost;       /* bytes to the server vanished */
};

struct world_event {
    uint64_t at_ns;
    uint64_t number;
    enum event_kind kind;
    struct world_link *link;
    uint8_t *bytes;
    size_t size;
    struct frame_header header; /* EVENT_APPLY */
    struct iovec *iov;          /* EVENT_SENT: read only then, as a socket that was full would */
    unsigned iov_count;
};

static const struct frame_limits limits = {.message_max = FRAME_MESSAGE_MAX, .payload_max = FRAME_PAYLOAD_MAX};
static const uint8_t cluster_id[16] = "0123456789abcde";

static bool chance(struct world *w, unsigned in_thousand)
{
    return in_thousand > 0 && rng_below(&w->rng, 1000) < in_thousand;
}

static bool event_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->number < b->number;
}

static struct world_event *event_push(struct world *w, enum event_kind kind, struct world_link *link, uint64_t at_ns)
{
    struct world_event *e = calloc(1, sizeof *e);
    size_t i;

    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity > 0 ? 2 * w->heap_capacity : 64;
        w->heap = realloc(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    e->at_ns = at_ns;
    e->number = w->event_next++;
    e->kind = kind;
    e->link = link;
    link->events++;
    for (i = w->heap_count++; i > 0 && event_before(e, w->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        w->heap[i] = w->heap[(i - 1) / 2];
    }
    w->heap[i] = e;
    return e;
}

static struct world_event *event_pop(struct world *w)
{
    struct world_event *top = w->heap[0];
    struct world_event *last = w->heap[--w->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_count) {
            break;
        }
        if (child + 1 < w->heap_count && event_before(w->heap[child + 1], w->heap[child])) {
            child++;
        }
        if (!event_before(w->heap[child], last)) {
            break;
        }
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

static void link_down(struct world *w, struct world_link *l, uint64_t delay_ns)
{
    if (!l->closing) {
        l->closing = true;
        event_push(w, EVENT_DOWN, l, w->now_ns + delay_ns);
    }
}

static int io_connect(struct client_io *io, struct conn *conn, const char *address)
{
    struct world *w = container_of(io, struct world, io);
    struct world_link *l = calloc(1, sizeof *l);
    unsigned node = 0;

    (void)sscanf(address, "node%u:7400", &node);
    assert(node >= 1 && node <= WORLD_NODES);
    l->conn = conn;
    l->node = node;
    list_push_back(&w->links, &l->link);
    frame_reader_init(&l->reader, NULL, &limits, 0);
    core_conn_set_driver(conn, l);
    if (w->node_down[node] || chance(w, w->faults.fail_connect)) {
        link_down(w, l, w->latency_ns);
    } else {
        event_push(w, EVENT_UP, l, w->now_ns + w->latency_ns);
    }
    return 0;
}

static void io_send(struct client_io *io, struct conn *conn, const struct iovec *iov, unsigned count)
{
    struct world *w = container_of(io, struct world, io);
    struct world_link *l = core_conn_driver(conn);
    struct world_event *e;

    assert(count <= CONN_IOV_MAX);
    l->sent_ns = l->sent_ns > w->now_ns ? l->sent_ns : w->now_ns;
    l->sent_ns += rng_below(&w->rng, w->latency_ns);
    e = event_push(w, EVENT_SENT, l, l->sent_ns);
    e->iov = malloc(count * sizeof *iov);
    e->iov_count = count;
    memcpy(e->iov, iov, count * sizeof *iov);
}

/* The bytes leave: from here on they are the network's. */
static void link_sent(struct world *w, struct world_link *l, const struct world_event *sent)
{
    struct world_event *e;
    size_t size = 0;

    for (unsigned i = 0; i < sent->iov_count; i++) {
        size += sent->iov[i].iov_len;
    }
    l->to_server_ns = w->now_ns + w->latency_ns > l->to_server_ns ? w->now_ns + w->latency_ns : l->to_server_ns;
    e = event_push(w, EVENT_TO_SERVER, l, l->to_server_ns);
    e->bytes = malloc(size);
    for (unsigned i = 0; i < sent->iov_count; i++) {
        memcpy(e->bytes + e->size, sent->iov[i].iov_base, sent->iov[i].iov_len);
        e->size += sent->iov[i].iov_len;
    }
    core_conn_sent(l->conn);
}

static void io_close(struct client_io *io, struct conn *conn)
{
    struct world *w = container_of(io, struct world, io);

    link_down(w, core_conn_driver(conn), 1000);
}

static void io_timer(struct client_io *io, uint64_t deadline_ns)
{
    container_of(io, struct world, io)->timer_ns = deadline_ns;
}

void world_init(struct world *w, uint32_t partitions, uint64_t seed)
{
    char bootstrap[2][CLIENT_ADDRESS_SIZE] = {"node1:7400", "node2:7400"};
    struct core_config config;
    int rv;

    memset(w, 0, sizeof *w);
    w->io = (struct client_io){.connect = io_connect, .send = io_send, .close = io_close, .timer = io_timer};
    rng_init(&w->rng, seed * 2654435761u + 1);
    w->now_ns = 1000 * NS_PER_S;
    w->timer_ns = UINT64_MAX;
    w->tick_ns = UINT64_MAX;
    w->fetch_wait_ms = 5;
    w->payload = malloc(WORLD_PAYLOAD_MAX);
    w->latency_ns = 200000;
    w->partition_count = partitions;
    w->producer_id_next = 100;
    memcpy(w->topic_id, "topic 0 by name", sizeof w->topic_id);
    w->topic_group = 17;
    list_init(&w->links);
    for (uint32_t n = 1; n <= WORLD_NODES; n++) {
        snprintf(w->addresses[n], sizeof w->addresses[n], "node%u:7400", n);
    }
    for (uint32_t i = 0; i < partitions; i++) {
        w->partitions[i].leader = 1 + i % WORLD_NODES;
        w->partitions[i].epoch = 1;
    }
    core_config_init(&config);
    config.bootstrap = bootstrap;
    config.bootstrap_count = 2;
    rv = core_init(&w->core, &w->io, &config, seed);
    assert(rv == 0);
    w->core.now_ns = w->now_ns;
    (void)rv;
}

/* Over a narrow way, from @at on: when its last byte is there. Takes @bytes. */
static uint64_t to_client_in_pieces(struct world *w, struct world_link *l, uint8_t *bytes, size_t size, uint64_t at)
{
    for (size_t done = 0; done < size;) {
        size_t n = size - done < w->piece_bytes ? size - done : w->piece_bytes;
        struct world_event *e;

        at += w->piece_ns;
        e = event_push(w, EVENT_TO_CLIENT, l, at);
        e->size = n;
        e->bytes = malloc(n);
        memcpy(e->bytes, bytes + done, n);
        done += n;
    }
    free(bytes);
    return at;
}

static void to_client(struct world *w, struct world_link *l, const struct frame_header *request, int status,
                      const uint8_t *message, size_t message_size, const uint8_t *payload, size_t payload_size,
                      uint64_t delay_ns)
{
    struct frame_header h = {.kind = FRAME_RESPONSE,
                             .call = request->call,
                             .call_version = 1,
                             .status = (uint16_t)status,
                             .correlation = request->correlation,
                             .message_length = (uint32_t)message_size,
                             .payload_length = (uint32_t)payload_size};
    uint64_t at = w->now_ns + w->latency_ns + delay_ns;
    struct world_event *e;
    uint8_t *bytes;

    if (l->closing || w->node_deaf[l->node] || w->node_mute[l->node]) {
        return;
    }
    at = at > l->to_client_ns ? at : l->to_client_ns;
    if (delay_ns == 0) {
        l->to_client_ns = at; /* slow answers may be overtaken: they are matched by number */
    }
    bytes = malloc(frame_size(&h));
    frame_encode_header(&h, bytes);
    if (message_size > 0) {
        memcpy(bytes + FRAME_HEADER_SIZE, message, message_size);
    }
    if (payload_size > 0) {
        memcpy(bytes + FRAME_HEADER_SIZE + message_size, payload, payload_size);
    }
    if (w->reply != NULL) {
        w->reply(w, l, bytes, frame_size(&h));
        free(bytes);
        return;
    }
    if (w->piece_bytes > 0) {
        at = to_client_in_pieces(w, l, bytes, frame_size(&h), at);
        l->to_client_ns = at;
        return;
    }
    e = event_push(w, EVENT_TO_CLIENT, l, at);
    e->size = frame_size(&h);
    e->bytes = bytes;
}

static void to_client_pb(struct world *w, struct world_link *l, const struct frame_header *request,
                         const ProtobufCMessage *m, const uint8_t *payload, size_t payload_size, uint64_t delay_ns)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    uint8_t *message = malloc(size + 1);

    protobuf_c_message_pack(m, message);
    to_client(w, l, request, 0, message, size, payload, payload_size, delay_ns);
    free(message);
}

void world_answer(struct world *w, struct world_link *link, const struct frame_header *request,
                  const ProtobufCMessage *m)
{
    to_client_pb(w, link, request, m, NULL, 0, 0);
}

void world_fail(struct world *w, struct world_link *link, const struct frame_header *request, int err,
                const ProtobufCMessage *failure)
{
    size_t size = protobuf_c_message_get_packed_size(failure);
    uint8_t *message = malloc(size + 1);

    protobuf_c_message_pack(failure, message);
    to_client(w, link, request, err, message, size, NULL, 0, 0);
    free(message);
}

uint32_t world_link_node(const struct world_link *link)
{
    return link->node;
}

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static const char *node_address(struct world *w, uint32_t node)
{
    return w->addresses[node];
}

static void topic_fill(struct world *w, Cairn__Native__TopicInfo *t, Cairn__Native__PartitionInfo *parts,
                       Cairn__Native__PartitionInfo **pointers)
{
    cairn__native__topic_info__init(t);
    t->name = text(WORLD_TOPIC);
    t->topic_id.data = w->topic_id;
    t->topic_id.len = 16;
    t->replication = 3;
    for (uint32_t i = 0; i < w->partition_count; i++) {
        cairn__native__partition_info__init(&parts[i]);
        parts[i].partition = i;
        parts[i].group = w->topic_group + i;
        parts[i].leader_node = w->partitions[i].leader;
        parts[i].leader_epoch = w->partitions[i].epoch;
        pointers[i] = &parts[i];
    }
    t->n_partitions = w->partition_count;
    t->partitions = pointers;
}

static void serve_metadata(struct world *w, struct world_link *l, const struct frame_header *h)
{
    Cairn__Native__MetadataResponse m = CAIRN__NATIVE__METADATA_RESPONSE__INIT;
    Cairn__Native__NodeInfo nodes[WORLD_NODES];
    Cairn__Native__NodeInfo *node_pointers[WORLD_NODES];
    Cairn__Native__TopicInfo topic;
    Cairn__Native__TopicInfo *topics = &topic;
    Cairn__Native__PartitionInfo parts[WORLD_PARTITIONS_MAX];
    Cairn__Native__PartitionInfo *part_pointers[WORLD_PARTITIONS_MAX];
    uint8_t before[16];

    w->metadata_requests++;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        cairn__native__node_info__init(&nodes[i]);
        nodes[i].node = i + 1;
        nodes[i].address = text(node_address(w, i + 1));
        nodes[i].alive = !w->node_down[i + 1];
        node_pointers[i] = &nodes[i];
    }
    m.n_nodes = WORLD_NODES;
    m.nodes = node_pointers;
    topic_fill(w, &topic, parts, part_pointers);
    if (w->node_behind[l->node]) {
        memcpy(before, w->topic_id, sizeof before);
        before[6]--;
        topic.topic_id.data = before;
        for (uint32_t i = 0; i < w->partition_count; i++) {
            parts[i].group -= WORLD_PARTITIONS_MAX;
        }
    }
    if (w->topic_missing) {
        topic.error = ERR_UNKNOWN_TOPIC;
        topic.n_partitions = 0;
    }
    m.n_topics = 1;
    m.topics = &topics;
    to_client_pb(w, l, h, &m.base, NULL, 0, 0);
}

static void serve_hello(struct world *w, struct world_link *l, const struct frame_header *h)
{
    static const uint8_t nil[16];
    Cairn__Native__HelloResponse m = CAIRN__NATIVE__HELLO_RESPONSE__INIT;

    m.cluster_id.data = (uint8_t *)(uintptr_t)(w->node_unformed[l->node] ? nil : cluster_id);
    m.cluster_id.len = 16;
    m.node = l->node;
    m.message_max_bytes = FRAME_MESSAGE_MAX;
    m.payload_max_bytes = 32u << 20;
    to_client_pb(w, l, h, &m.base, NULL, 0, 0);
}

static void serve_init(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__InitProducerIdRequest *q =
        cairn__native__init_producer_id_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__InitProducerIdResponse m = CAIRN__NATIVE__INIT_PRODUCER_ID_RESPONSE__INIT;

    assert(q != NULL);
    w->init_requests++;
    if (q->producer_id < 0) {
        m.producer_id = w->producer_id_next++;
        m.producer_epoch = 0;
    } else {
        m.producer_id = q->producer_id;
        m.producer_epoch = q->producer_epoch + 1;
    }
    cairn__native__init_producer_id_request__free_unpacked(q, NULL);
    to_client_pb(w, l, &f->header, &m.base, NULL, 0, 0);
}

static struct world_producer *producer_state(struct world_partition *p, int64_t id)
{
    for (int i = 0; i < p->producer_count; i++) {
        if (p->producers[i].id == id) {
            return &p->producers[i];
        }
    }
    return NULL;
}

/* What a leader decides about a batch. 0: append; ERR_EXISTS: a duplicate, *offset tells where. */
static int sequence_check(struct world *w, struct world_partition *p, const struct record_batch_header *h,
                          int64_t *offset)
{
    struct world_producer *s = producer_state(p, h->producer_id);
    int32_t next;

    if (s == NULL) {
        return h->base_sequence == 0 ? 0 : ERR_OUT_OF_ORDER_SEQUENCE;
    }
    if (h->producer_epoch < s->epoch) {
        return ERR_PRODUCER_FENCED;
    }
    if (h->producer_epoch > s->epoch) {
        return h->base_sequence == 0 ? 0 : ERR_OUT_OF_ORDER_SEQUENCE;
    }
    for (int i = 0; i < s->known; i++) {
        if (s->first[i] == h->base_sequence) {
            assert(s->count[i] == h->count);
            *offset = s->offset[i];
            w->duplicates_seen++;
            return ERR_EXISTS;
        }
    }
    next = s->first[s->known - 1] + s->count[s->known - 1];
    if (h->base_sequence == next) {
        return 0;
    }
    return h->base_sequence < next ? ERR_DUPLICATE_SEQUENCE : ERR_OUT_OF_ORDER_SEQUENCE;
}

static void log_push(struct world_partition *p, const uint8_t *bytes, size_t size, int32_t count)
{
    struct world_batch *b;

    if (p->batch_count == p->batch_capacity) {
        p->batch_capacity = p->batch_capacity > 0 ? 2 * p->batch_capacity : 64;
        p->batches = realloc(p->batches, p->batch_capacity * sizeof *p->batches);
    }
    b = &p->batches[p->batch_count++];
    b->bytes = malloc(size);
    memcpy(b->bytes, bytes, size);
    b->size = size;
    b->base_offset = p->next_offset;
    b->count = count;
    record_batch_set_base_offset(b->bytes, p->next_offset);
    p->next_offset += count;
}

static void state_push(struct world_partition *p, const struct record_batch_header *h, int64_t offset)
{
    struct world_producer *s = producer_state(p, h->producer_id);

    if (s == NULL) {
        assert(p->producer_count < WORLD_PRODUCERS_MAX);
        s = &p->producers[p->producer_count++];
        memset(s, 0, sizeof *s);
        s->id = h->producer_id;
        s->epoch = h->producer_epoch;
    }
    if (s->epoch != h->producer_epoch) {
        s->epoch = h->producer_epoch;
        s->known = 0;
    }
    if (s->known == WORLD_REMEMBERED) {
        memmove(s->first, s->first + 1, sizeof s->first - sizeof s->first[0]);
        memmove(s->count, s->count + 1, sizeof s->count - sizeof s->count[0]);
        memmove(s->offset, s->offset + 1, sizeof s->offset - sizeof s->offset[0]);
        s->known--;
    }
    s->first[s->known] = h->base_sequence;
    s->count[s->known] = h->count;
    s->offset[s->known] = offset;
    s->known++;
}

static int batch_apply(struct world *w, struct world_partition *p, const uint8_t *bytes, size_t size, int64_t *offset)
{
    struct record_batch_limits batch_limits = {.size_max = 1u << 20};
    struct record_batch_header h;
    int rv = record_batch_validate(bytes, size, &batch_limits, &h, NULL);

    if (rv != 0) {
        return rv;
    }
    if (chance(w, w->faults.forget_state)) {
        p->producer_count = 0;
    }
    rv = sequence_check(w, p, &h, offset);
    if (rv == ERR_EXISTS) {
        return 0;
    }
    if (rv == 0) {
        *offset = p->next_offset;
        state_push(p, &h, *offset);
        log_push(p, bytes, size, h.count);
    }
    return rv;
}

static void result_init(struct world *w, Cairn__Native__ProducePartitionResult *r, uint32_t partition, int err)
{
    struct world_partition *p = &w->partitions[partition];

    cairn__native__produce_partition_result__init(r);
    r->topic_id.data = w->topic_id;
    r->topic_id.len = 16;
    r->partition = partition;
    r->error = (uint32_t)err;
    r->base_offset = -1;
    r->leader_epoch = p->epoch;
    if (err == ERR_NOT_LEADER && p->leader != 0 && !chance(w, w->faults.no_hint)) {
        r->leader_node = p->leader;
        r->leader_address = text(node_address(w, p->leader));
    }
}

/* One partition of a produce request. False: there will be no answer to the request. */
static bool produce_one(struct world *w, struct world_link *l, uint32_t partition, const uint8_t *bytes, size_t size,
                        bool late, Cairn__Native__ProducePartitionResult *r, bool *park)
{
    struct world_partition *p = &w->partitions[partition];
    int64_t offset = -1;
    int rv = 0;

    w->produce_partitions++;
    if (w->force_produce_skip > 0) {
        w->force_produce_skip--;
    } else if (w->force_produce_error != 0 && w->force_produce_count > 0) {
        w->force_produce_count--;
        result_init(w, r, partition, w->force_produce_error);
        return true;
    }
    if (chance(w, w->faults.move_leader)) {
        world_move_leader(w, partition, 1 + (uint32_t)rng_below(&w->rng, WORLD_NODES));
    }
    if (p->leader != l->node) {
        rv = ERR_NOT_LEADER;
    } else if (chance(w, w->faults.refuse)) {
        rv = chance(w, 500) ? ERR_BUSY : ERR_LEADER_NOT_READY;
    } else if (chance(w, w->faults.invalid)) {
        rv = ERR_INVALID_RECORD;
    } else if (!late && chance(w, w->faults.late_apply)) {
        *park = true;
        return true;
    } else if (chance(w, w->faults.unknown)) {
        rv = ERR_UNKNOWN_OUTCOME;
        if (chance(w, 500)) {
            (void)batch_apply(w, p, bytes, size, &offset);
        }
    } else {
        rv = batch_apply(w, p, bytes, size, &offset);
    }
    result_init(w, r, partition, rv);
    if (rv == 0) {
        r->base_offset = offset;
    }
    return true;
}

static void link_cut(struct world *w, struct world_link *l)
{
    link_down(w, l, w->latency_ns);
}

static void serve_produce(struct world *w, struct world_link *l, const struct frame *f, bool late)
{
    Cairn__Native__ProduceRequest *q =
        cairn__native__produce_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__ProduceResponse m = CAIRN__NATIVE__PRODUCE_RESPONSE__INIT;
    Cairn__Native__ProducePartitionResult *results = calloc(q->n_partitions, sizeof *results);
    Cairn__Native__ProducePartitionResult **pointers = calloc(q->n_partitions, sizeof *pointers);
    uint64_t delay_ns = 0;
    size_t at = 0;
    bool park = false;

    w->produce_requests++;
    for (size_t i = 0; i < q->n_partitions && !park; i++) {
        assert(q->partitions[i]->partition < w->partition_count);
        assert(memcmp(q->partitions[i]->topic_id.data, w->topic_id, 16) == 0);
        assert(at + q->partitions[i]->size <= f->header.payload_length);
        for (size_t k = 0; k < i; k++) { /* one batch a partition */
            assert(q->partitions[k]->partition != q->partitions[i]->partition);
        }
        (void)produce_one(w, l, q->partitions[i]->partition, f->payload + at, q->partitions[i]->size, late || i > 0,
                          &results[i], &park);
        pointers[i] = &results[i];
        at += q->partitions[i]->size;
    }
    if (park) { /* the whole request is carried out much later, whatever became of its connection */
        struct world_event *e = event_push(w, EVENT_APPLY, l, w->now_ns + rng_below(&w->rng, 3000) * NS_PER_MS);
        e->header = f->header;
        e->size = (size_t)f->header.message_length + f->header.payload_length;
        e->bytes = malloc(e->size);
        memcpy(e->bytes, f->message, e->size);
    } else {
        m.n_partitions = q->n_partitions;
        m.partitions = pointers;
        if (chance(w, w->faults.slow)) {
            delay_ns = rng_below(&w->rng, 800) * NS_PER_MS;
        }
        to_client_pb(w, l, &f->header, &m.base, NULL, 0, delay_ns);
    }
    free(results);
    free(pointers);
    cairn__native__produce_request__free_unpacked(q, NULL);
}

static void serve_fetch(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__FetchRequest *q = cairn__native__fetch_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__FetchResponse m = CAIRN__NATIVE__FETCH_RESPONSE__INIT;
    Cairn__Native__FetchPartitionResult *results = calloc(q->n_partitions, sizeof *results);
    Cairn__Native__FetchPartitionResult **pointers = calloc(q->n_partitions, sizeof *pointers);
    uint8_t *payload = w->payload;
    size_t used = 0;

    w->fetch_requests++;
    for (size_t i = 0; i < q->n_partitions; i++) {
        const Cairn__Native__FetchPartition *fp = q->partitions[i];
        struct world_partition *p = &w->partitions[fp->partition];
        Cairn__Native__FetchPartitionResult *r = &results[i];
        size_t begin = used;

        cairn__native__fetch_partition_result__init(r);
        pointers[i] = r;
        r->topic_id = fp->topic_id;
        r->partition = fp->partition;
        r->high_watermark = p->next_offset;
        r->log_start_offset = p->log_start;
        if (chance(w, w->faults.move_leader)) {
            world_move_leader(w, fp->partition, 1 + (uint32_t)rng_below(&w->rng, WORLD_NODES));
        }
        if (memcmp(fp->topic_id.data, w->topic_id, sizeof w->topic_id) != 0) {
            r->error = ERR_UNKNOWN_TOPIC;
        } else if (p->leader != l->node) {
            r->error = ERR_NOT_LEADER;
        } else if (chance(w, w->faults.refuse)) {
            r->error = ERR_LEADER_NOT_READY;
        } else if (fp->offset < p->log_start || fp->offset > p->next_offset) {
            r->error = ERR_OFFSET_OUT_OF_RANGE;
        } else {
            for (size_t b = 0; b < p->batch_count; b++) {
                struct world_batch *wb = &p->batches[b];
                bool early = b + 1 < p->batch_count && p->batches[b + 1].base_offset <= fp->offset &&
                             p->batches[b + 1].base_offset + p->batches[b + 1].count > fp->offset &&
                             chance(w, w->faults.early);
                if (wb->base_offset + wb->count <= fp->offset && !early) {
                    continue;
                }
                if (used > begin && used - begin + wb->size > fp->max_bytes) {
                    break;
                }
                memcpy(payload + used, wb->bytes, wb->size);
                used += wb->size;
            }
        }
        r->size = (uint32_t)(used - begin);
    }
    m.n_partitions = q->n_partitions;
    m.partitions = pointers;
    to_client_pb(w, l, &f->header, &m.base, payload, used,
                 used == 0                   ? w->fetch_wait_ms * NS_PER_MS
                 : chance(w, w->faults.slow) ? 300 * NS_PER_MS
                                             : 0);
    free(results);
    free(pointers);
    cairn__native__fetch_request__free_unpacked(q, NULL);
}

static void serve_offsets(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__ListOffsetsRequest *q =
        cairn__native__list_offsets_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__ListOffsetsResponse m = CAIRN__NATIVE__LIST_OFFSETS_RESPONSE__INIT;
    Cairn__Native__ListOffsetsResult results[2];
    Cairn__Native__ListOffsetsResult *pointers[2];

    assert(q->n_partitions <= 2);
    for (size_t i = 0; i < q->n_partitions; i++) {
        Cairn__Native__ListOffsetsResult *r = &results[i];
        struct world_partition *p = &w->partitions[q->partitions[i]->partition];

        cairn__native__list_offsets_result__init(r);
        r->topic_id = q->partitions[i]->topic_id;
        r->partition = q->partitions[i]->partition;
        r->error = p->leader != l->node ? ERR_NOT_LEADER : 0;
        r->offset = q->partitions[i]->timestamp_ms == -2 ? p->log_start : p->next_offset;
        pointers[i] = r;
    }
    m.n_partitions = q->n_partitions;
    m.partitions = pointers;
    to_client_pb(w, l, &f->header, &m.base, NULL, 0, 0);
    cairn__native__list_offsets_request__free_unpacked(q, NULL);
}

static void fail(struct world *w, struct world_link *l, const struct frame_header *h, int err, const char *why)
{
    Cairn__Native__Failure m = CAIRN__NATIVE__FAILURE__INIT;
    uint8_t bytes[256];

    m.text = text(why);
    to_client(w, l, h, err, bytes, cairn__native__failure__pack(&m, bytes), NULL, 0, 0);
}

static void serve_describe(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__DescribeTopicRequest *q =
        cairn__native__describe_topic_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__DescribeTopicResponse m = CAIRN__NATIVE__DESCRIBE_TOPIC_RESPONSE__INIT;
    Cairn__Native__TopicInfo topic;
    Cairn__Native__PartitionInfo parts[WORLD_PARTITIONS_MAX];
    Cairn__Native__PartitionInfo *pointers[WORLD_PARTITIONS_MAX];

    if (strcmp(q->name, WORLD_TOPIC) != 0) {
        fail(w, l, &f->header, ERR_UNKNOWN_TOPIC, "no topic of this name");
    } else {
        topic_fill(w, &topic, parts, pointers);
        m.topic = &topic;
        to_client_pb(w, l, &f->header, &m.base, NULL, 0, 0);
    }
    cairn__native__describe_topic_request__free_unpacked(q, NULL);
}

static void serve_list(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__ListTopicsResponse m = CAIRN__NATIVE__LIST_TOPICS_RESPONSE__INIT;
    Cairn__Native__TopicSummary topic = CAIRN__NATIVE__TOPIC_SUMMARY__INIT;
    Cairn__Native__TopicSummary *topics = &topic;

    topic.name = text(WORLD_TOPIC);
    topic.partitions = w->partition_count;
    topic.replication = 3;
    m.n_topics = 1;
    m.topics = &topics;
    to_client_pb(w, l, &f->header, &m.base, NULL, 0, 0);
}

static void serve_status(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__ClusterStatusResponse m = CAIRN__NATIVE__CLUSTER_STATUS_RESPONSE__INIT;
    Cairn__Native__NodeInfo node = CAIRN__NATIVE__NODE_INFO__INIT;
    Cairn__Native__NodeInfo *nodes = &node;
    uint32_t voters[] = {1, 2, 3};

    m.cluster_id.data = (uint8_t *)(uintptr_t)cluster_id;
    m.cluster_id.len = 16;
    m.node = l->node;
    m.node_version = text("9.9");
    node.node = 1;
    node.address = w->addresses[1];
    node.alive = true;
    m.n_nodes = 1;
    m.nodes = &nodes;
    m.n_metadata_voters = 3;
    m.metadata_voters = voters;
    m.topics = 1;
    to_client_pb(w, l, &f->header, &m.base, NULL, 0, 0);
}

/* Only node 2 creates topics; the others say so. */
static void serve_create(struct world *w, struct world_link *l, const struct frame *f)
{
    Cairn__Native__CreateTopicRequest *q =
        cairn__native__create_topic_request__unpack(NULL, f->header.message_length, f->message);
    Cairn__Native__CreateTopicResponse m = CAIRN__NATIVE__CREATE_TOPIC_RESPONSE__INIT;
    Cairn__Native__Failure failure = CAIRN__NATIVE__FAILURE__INIT;
    uint8_t bytes[256];

    if (l->node != 2) {
        failure.leader_node = 2;
        failure.leader_address = w->addresses[2];
        to_client(w, l, &f->header, ERR_NOT_LEADER, bytes, cairn__native__failure__pack(&failure, bytes), NULL, 0, 0);
    } else if (strcmp(q->name, WORLD_TOPIC) == 0) {
        fail(w, l, &f->header, ERR_TOPIC_EXISTS, "a topic named orders exists");
    } else {
        to_client_pb(w, l, &f->header, &m.base, NULL, 0, 0);
    }
    cairn__native__create_topic_request__free_unpacked(q, NULL);
}

static void serve(struct world *w, struct world_link *l, const struct frame *f)
{
    assert(f->header.kind == FRAME_REQUEST);
    if (w->node_down[l->node] || w->node_deaf[l->node]) {
        return;
    }
    switch (f->header.call) {
    case CALL_HELLO:
        serve_hello(w, l, &f->header);
        return;
    case CALL_METADATA:
        serve_metadata(w, l, &f->header);
        return;
    case CALL_INIT_PRODUCER_ID:
        serve_init(w, l, f);
        return;
    case CALL_PRODUCE:
        if (chance(w, w->faults.cut)) {
            if (chance(w, 500)) {
                serve_produce(w, l, f, true);
            }
            link_cut(w, l);
            return;
        }
        serve_produce(w, l, f, false);
        return;
    case CALL_FETCH:
        if (chance(w, w->faults.cut)) {
            link_cut(w, l);
            return;
        }
        serve_fetch(w, l, f);
        return;
    case CALL_LIST_OFFSETS:
        serve_offsets(w, l, f);
        return;
    case CALL_DESCRIBE_TOPIC:
        serve_describe(w, l, f);
        return;
    case CALL_LIST_TOPICS:
        serve_list(w, l, f);
        return;
    case CALL_CLUSTER_STATUS:
        serve_status(w, l, f);
        return;
    case CALL_CREATE_TOPIC:
        serve_create(w, l, f);
        return;
    default:
        if (w->serve_more == NULL || !w->serve_more(w, l, f)) {
            to_client(w, l, &f->header, ERR_UNKNOWN_CALL, NULL, 0, NULL, 0, 0);
        }
    }
}

void world_serve(struct world *w, struct world_link *link, uint32_t node, const struct frame *f)
{
    link->node = node;
    serve(w, link, f);
}

struct world_link *world_link_new(uint32_t node)
{
    struct world_link *l = calloc(1, sizeof *l);

    l->node = node;
    return l;
}

void world_link_free(struct world *w, struct world_link *link)
{
    if (w->link_gone != NULL) {
        w->link_gone(w, link);
    }
    free(link);
}

static void server_receive(struct world *w, struct world_link *l, const uint8_t *bytes, size_t size)
{
    struct frame f;

    while (size > 0) {
        uint8_t *base;
        size_t length;
        int rv = frame_reader_alloc(&l->reader, &base, &length);
        assert(rv == 0);
        (void)rv;
        length = length < size ? length : size;
        memcpy(base, bytes, length);
        frame_reader_commit(&l->reader, length);
        bytes += length;
        size -= length;
        while (frame_reader_next(&l->reader, &f)) {
            serve(w, l, &f);
            buf_release(f.buf);
        }
        assert(frame_reader_error(&l->reader) == 0);
    }
}

static void client_receive(struct world *w, struct world_link *l, const uint8_t *bytes, size_t size)
{
    while (size > 0 && !l->dead) {
        uint8_t *base;
        size_t length;
        size_t n;
        int rv = core_conn_read_alloc(l->conn, &base, &length);
        if (rv != 0) {
            return;
        }
        n = length < size ? length : size;
        if (n > 1 && chance(w, 100)) {
            n = 1 + rng_below(&w->rng, n - 1); /* a short read */
        }
        memcpy(base, bytes, n);
        core_conn_read_commit(l->conn, n, w->now_ns);
        bytes += n;
        size -= n;
    }
}

static void link_free(struct world *w, struct world_link *l)
{
    if (w->link_gone != NULL) {
        w->link_gone(w, l);
    }
    list_remove(&l->link);
    frame_reader_close(&l->reader);
    free(l);
}

static void event_run(struct world *w, struct world_event *e)
{
    struct world_link *l = e->link;
    struct frame f;

    switch (e->kind) {
    case EVENT_UP:
        if (!l->closing) {
            l->up = true;
            core_conn_up(l->conn, w->now_ns);
        }
        break;
    case EVENT_DOWN:
        l->dead = true;
        core_conn_down(l->conn, w->now_ns, ERR_CLOSED, "connection reset");
        l->conn = NULL;
        break;
    case EVENT_TO_SERVER:
        if (!l->lost && (!l->closing || chance(w, w->faults.ghost))) {
            server_receive(w, l, e->bytes, e->size);
        } else {
            l->lost = true; /* and with it everything behind it */
        }
        break;
    case EVENT_TO_CLIENT:
        if (!l->closing && !w->node_deaf[l->node] && !w->node_mute[l->node]) {
            client_receive(w, l, e->bytes, e->size);
        }
        break;
    case EVENT_SENT:
        if (!l->dead) {
            link_sent(w, l, e);
        }
        break;
    case EVENT_APPLY:
        f.header = e->header;
        f.message = e->bytes;
        f.payload = e->bytes + e->header.message_length;
        serve_produce(w, l, &f, true);
        break;
    }
    l->events--;
    if (l->dead && l->events == 0) {
        link_free(w, l);
    }
    free(e->bytes);
    free(e->iov);
    free(e);
}

bool world_step(struct world *w)
{
    uint64_t event_ns = w->heap_count > 0 ? w->heap[0]->at_ns : UINT64_MAX;

    if (event_ns == UINT64_MAX && w->timer_ns == UINT64_MAX && w->tick_ns == UINT64_MAX) {
        return false;
    }
    if (w->tick_ns < event_ns && w->tick_ns < w->timer_ns) {
        w->now_ns = w->tick_ns > w->now_ns ? w->tick_ns : w->now_ns;
    } else if (event_ns <= w->timer_ns || event_ns <= w->now_ns) {
        w->now_ns = event_ns > w->now_ns ? event_ns : w->now_ns;
        event_run(w, event_pop(w));
    } else {
        w->now_ns = w->timer_ns > w->now_ns ? w->timer_ns : w->now_ns + 1000;
    }
    if (w->tick != NULL) {
        w->tick(w);
    }
    w->timer_ns = UINT64_MAX;
    w->core.timer_ns = UINT64_MAX;
    core_turn(&w->core, w->now_ns);
    w->spins = w->timer_ns <= w->now_ns ? w->spins + 1 : 0;
    assert(w->spins < 100); /* turns without end would burn a CPU */
    return true;
}

bool world_run(struct world *w, uint64_t limit_ms, bool (*done)(void *), void *arg)
{
    uint64_t limit_ns = w->now_ns + limit_ms * NS_PER_MS;

    core_turn(&w->core, w->now_ns);
    while (w->now_ns < limit_ns) {
        if (done != NULL && done(arg)) {
            return true;
        }
        if (!world_step(w)) {
            w->now_ns += NS_PER_MS;
        }
    }
    return done != NULL && done(arg);
}

void world_set_down(struct world *w, uint32_t node, bool down)
{
    w->node_down[node] = down;
    if (!down) {
        return;
    }
    list_for_each (pos, &w->links) {
        struct world_link *l = list_entry(pos, struct world_link, link);
        if (l->node == node && !l->dead) {
            link_down(w, l, 1000);
        }
    }
}

void world_move_leader(struct world *w, uint32_t partition, uint32_t to)
{
    struct world_partition *p = &w->partitions[partition];

    if (p->leader != to) {
        p->leader = to;
        p->epoch++;
    }
}

void world_append(struct world *w, uint32_t partition, int32_t count, uint8_t codec)
{
    struct world_partition *p = &w->partitions[partition];
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct codec_scratch scratch;
    struct record_builder b;
    uint8_t *memory = malloc(1u << 20);
    uint8_t *out;
    size_t size;
    int rv;

    codec_scratch_init(&scratch, 0);
    record_builder_init(&b, memory, 1u << 20);
    for (int32_t i = 0; i < count; i++) {
        char value[64];
        int n = snprintf(value, sizeof value, "value-%lld", (long long)(p->next_offset + i));
        rv = record_builder_append(&b, NULL, -1, value, n, NULL, 0, 1000 + p->next_offset + i);
        assert(rv == 0);
    }
    stamp.codec = codec;
    rv = record_builder_finish(&b, &stamp, &scratch, &out, &size);
    assert(rv == 0);
    (void)rv;
    log_push(p, out, size, count);
    codec_scratch_close(&scratch);
    free(memory);
}

static void log_close(struct world_partition *p)
{
    for (size_t b = 0; b < p->batch_count; b++) {
        free(p->batches[b].bytes);
    }
    free(p->batches);
}

void world_renew_topic(struct world *w)
{
    w->topic_id[6]++;
    w->topic_group += WORLD_PARTITIONS_MAX;
    for (uint32_t i = 0; i < w->partition_count; i++) {
        log_close(&w->partitions[i]);
        w->partitions[i] = (struct world_partition){.leader = w->partitions[i].leader, .epoch = 1};
    }
}

void world_close(struct world *w)
{
    core_shutdown(&w->core);
    while (!core_closed(&w->core) || w->heap_count > 0) {
        w->now_ns = w->heap[0]->at_ns > w->now_ns ? w->heap[0]->at_ns : w->now_ns;
        event_run(w, event_pop(w));
    }
    core_free(&w->core);
    for (uint32_t i = 0; i < w->partition_count; i++) {
        log_close(&w->partitions[i]);
    }
    while (!list_empty(&w->links)) {
        link_free(w, list_entry(w->links.next, struct world_link, link));
    }
    free(w->payload);
    free(w->heap);
}
