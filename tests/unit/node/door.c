#include "tests/unit/node/door.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"
#include "proto/record/record_builder.h"

/* ---- nodes --------------------------------------------------------------------------------------------------- */

static void on_log(void *data, struct sim_node *machine, const char *line, size_t length)
{
    struct door *d = data;
    if (memmem(line, length, " client_closed ", 15) != NULL) {
        d->closed_lines++;
        snprintf(d->closed_line, sizeof d->closed_line, "%.*s", (int)length, line);
    }
    if (getenv("DOOR_LOG") != NULL) {
        fprintf(stderr, "%12.6f %s %.*s\n", (double)sim_world_now(d->world) / 1e9, sim_node_host(machine), (int)length, line);
    }
}

static void on_start(struct env *env, void *data)
{
    struct door_node *n = data;
    struct door *d = n->door;
    struct node_params *p = calloc(1, sizeof *p);
    char peer[ENV_ADDRESS_MAX];
    char errmsg[ERRMSG_SIZE];
    int rv;

    assert(p != NULL);
    n->env = env;
    p->env = env;
    p->version = "test";
    p->n_listeners = 1;
    snprintf(p->listeners[0].name, sizeof p->listeners[0].name, "client");
    snprintf(p->listeners[0].address, sizeof p->listeners[0].address, "n%u:9092", n->id);
    p->memory_max_bytes = d->memory_max_bytes;
    p->connections_max = d->connections_max;
    p->idle_timeout_ms = d->idle_timeout_ms;
    snprintf(peer, sizeof peer, "n%u:7500", n->id);
    p->control = (struct control_params){
        .data_dir = "/var/cairn",
        .node = n->id,
        .rack = "",
        .peer_listen = peer,
        .n_seeds = d->n,
        .shards = d->shards,
        .log_file_bytes = 4u << 20,
        .log_max_bytes = 1ull << 30,
        .log_reserve_bytes = 1u << 20,
        .cache_max_bytes = d->cache_bytes,
        .peer_receive_max_bytes = d->memory_max_bytes / 3 * 4,
        .default_partitions = 1,
        .default_replication = d->n,
    };
    for (unsigned i = 0; i < d->n; i++) {
        p->control.seeds[i].node = i + 1;
        snprintf(p->control.seeds[i].address, sizeof p->control.seeds[i].address, "n%u:7500", i + 1);
    }
    rv = node_open(p, &n->node, errmsg);
    free(p);
    if (rv != 0) {
        fprintf(stderr, "node_open: %s\n", errmsg);
        abort();
    }
}

static void on_ended(struct sim_node *machine, enum sim_end how, void *data)
{
    struct door_node *n = data;
    if (n->node != NULL && !n->stopping) {
        node_abandon(n->node);
    }
    n->node = NULL;
}

static void on_stopped(void *data)
{
    struct door_node *n = data;
    n->node = NULL;
    n->stopping = false;
    n->stopped = true;
    env_loop_stop(n->env);
}

static void stop(struct env *env, void *data)
{
    struct door_node *n = data;
    n->stopping = true;
    node_stop(n->node, 1000, on_stopped, n);
}

void door_start(struct door *d, unsigned id)
{
    struct door_node *n = &d->nodes[id - 1];
    struct sim_program program = {on_start, on_ended, n};
    n->stopped = false;
    sim_node_start(n->machine, &program);
}

void door_stop(struct door *d, unsigned id)
{
    (void)sim_node_call(d->nodes[id - 1].machine, stop, &d->nodes[id - 1]);
}

void door_kill(struct door *d, unsigned id)
{
    sim_node_kill(d->nodes[id - 1].machine, SIM_END_KILL);
}

void door_defaults(struct door *d)
{
    memset(d, 0, sizeof *d);
    d->seed = 7;
    d->shards = 1;
    d->memory_max_bytes = 192u << 20;
    d->cache_bytes = 32u << 20;
    d->connections_max = 1000;
    d->idle_timeout_ms = 600000;
}

static bool formed(void *data)
{
    struct door *d = data;
    for (unsigned i = 0; i < d->n; i++) {
        const struct node *n = d->nodes[i].node;
        const struct control *c = n == NULL ? NULL : node_control(d->nodes[i].node);
        if (c == NULL || !c->metadata.confirmed || metadata_fsm_nodes(c->metadata.fsm) != d->n) {
            return false;
        }
    }
    return true;
}

static void client_start(struct env *env, void *data)
{
}

void door_open(struct door *d, unsigned nodes)
{
    static const struct sim_program client = {client_start, NULL, NULL};
    struct sim_params params;

    sim_params_default(&params);
    params.log_level = LOG_INFO;
    params.log_write = on_log;
    params.log_data = d;
    d->world = sim_world_new(d->seed, &params);
    d->n = nodes;
    list_init(&d->conns);
    for (unsigned i = 0; i < nodes; i++) {
        char host[16];
        snprintf(host, sizeof host, "n%u", i + 1);
        d->nodes[i] = (struct door_node){.door = d, .id = i + 1, .machine = sim_node_new(d->world, host)};
        sim_node_make_dirs(d->nodes[i].machine, "/var");
        door_start(d, i + 1);
    }
    d->machine = sim_node_new(d->world, "client");
    sim_node_start(d->machine, &client);
    if (!door_until(d, formed, d, 30000)) {
        abort();
    }
}

void door_forget(struct door *d)
{
    struct list *pos;
    while ((pos = list_pop_front(&d->conns)) != NULL) {
        struct door_conn *c = list_entry(pos, struct door_conn, link);
        struct list *at;
        while ((at = list_pop_front(&c->answers)) != NULL) {
            door_answer_free(list_entry(at, struct door_answer, link));
        }
        frame_reader_close(&c->reader);
        free(c);
    }
}

void door_close(struct door *d)
{
    sim_world_free(d->world);
    door_forget(d);
}

/* ---- connections --------------------------------------------------------------------------------------------- */

static void take_frame(struct door_conn *c, struct frame *frame)
{
    struct door_answer *a = calloc(1, sizeof *a);
    assert(a != NULL);
    a->header = frame->header;
    a->message = malloc(frame->header.message_length + 1);
    a->payload = malloc(frame->header.payload_length + 1);
    assert(a->message != NULL && a->payload != NULL);
    memcpy(a->message, frame->message, frame->header.message_length);
    memcpy(a->payload, frame->payload, frame->header.payload_length);
    list_push_back(&c->answers, &a->link);
    c->n_answers++;
    buf_release(frame->buf);
}

static void on_alloc(struct env_conn *socket, void *data, uint8_t **base, size_t *len)
{
    struct door_conn *c = data;
    int rv;
    *len = 0;
    if (!c->deaf) {
        rv = frame_reader_alloc(&c->reader, base, len);
        assert(rv == 0);
        (void)rv;
    }
}

static void on_read(struct env_conn *socket, void *data, ssize_t n)
{
    struct door_conn *c = data;
    struct frame frame;
    if (n <= 0) {
        c->ended = true;
        c->socket = NULL;
        env_conn_close(sim_node_env(c->door->machine), socket, NULL, NULL);
        return;
    }
    frame_reader_commit(&c->reader, (size_t)n);
    while (frame_reader_next(&c->reader, &frame)) {
        take_frame(c, &frame);
    }
    assert(frame_reader_error(&c->reader) == 0);
}

static const struct env_conn_callbacks callbacks = {on_alloc, on_read};

static void on_connect(struct env *env, void *data, int status, struct env_conn *socket)
{
    struct door_conn *c = data;
    c->connected = true;
    if (status != 0) {
        c->ended = true;
        return;
    }
    c->socket = socket;
    env_conn_read_start(env, socket, &callbacks, c);
}

static bool is_connected(void *data)
{
    return ((struct door_conn *)data)->connected;
}

struct door_conn *door_connect(struct door *d, unsigned id)
{
    static const struct frame_limits limits = {FRAME_MESSAGE_MAX, FRAME_PAYLOAD_MAX};
    struct door_conn *c = calloc(1, sizeof *c);
    char address[32];
    int rv;
    assert(c != NULL);
    c->door = d;
    list_init(&c->answers);
    list_push_back(&d->conns, &c->link);
    frame_reader_init(&c->reader, NULL, &limits, 0);
    snprintf(address, sizeof address, "n%u:9092", id);
    rv = env_connect(sim_node_env(d->machine), address, on_connect, c);
    if (rv != 0 || !door_until(d, is_connected, c, 5000)) {
        abort();
    }
    return c;
}

void door_disconnect(struct door_conn *c)
{
    if (c->socket != NULL) {
        env_conn_close(sim_node_env(c->door->machine), c->socket, NULL, NULL);
        c->socket = NULL;
    }
    c->ended = true;
}

void door_listen(struct door_conn *c)
{
    c->deaf = false;
    if (c->socket != NULL) {
        env_conn_read_start(sim_node_env(c->door->machine), c->socket, &callbacks, c);
    }
}

struct outgoing {
    struct env_write write;
    uint8_t bytes[];
};

static void on_written(struct env_write *write, int status)
{
    free(container_of(write, struct outgoing, write));
}

void door_bytes(struct door_conn *c, const void *bytes, size_t size)
{
    struct outgoing *out;
    struct iovec iov;
    if (c->socket == NULL) {
        return;
    }
    out = calloc(1, sizeof *out + size);
    assert(out != NULL);
    memcpy(out->bytes, bytes, size);
    out->write.done = on_written;
    iov = (struct iovec){out->bytes, size};
    env_conn_write(sim_node_env(c->door->machine), c->socket, &out->write, &iov, 1);
}

uint32_t door_send(struct door_conn *c, uint16_t call, const ProtobufCMessage *message, const void *payload, size_t size)
{
    size_t packed = protobuf_c_message_get_packed_size(message);
    struct frame_header header = {.kind = FRAME_REQUEST,
                                  .call = call,
                                  .call_version = 1,
                                  .correlation = ++c->door->correlation,
                                  .message_length = (uint32_t)packed,
                                  .payload_length = (uint32_t)size};
    uint8_t *bytes = malloc(FRAME_HEADER_SIZE + packed + size);
    assert(bytes != NULL);
    frame_encode_header(&header, bytes);
    protobuf_c_message_pack(message, bytes + FRAME_HEADER_SIZE);
    if (size > 0) {
        memcpy(bytes + FRAME_HEADER_SIZE + packed, payload, size);
    }
    door_bytes(c, bytes, FRAME_HEADER_SIZE + packed + size);
    free(bytes);
    return header.correlation;
}

struct wait {
    struct door_conn *c;
    uint32_t correlation;
};

static struct door_answer *find(struct door_conn *c, uint32_t correlation)
{
    list_for_each(pos, &c->answers)
    {
        struct door_answer *a = list_entry(pos, struct door_answer, link);
        if (a->header.correlation == correlation) {
            return a;
        }
    }
    return NULL;
}

static bool answered(void *data)
{
    struct wait *w = data;
    return w->c->ended || find(w->c, w->correlation) != NULL;
}

struct door_answer *door_wait(struct door_conn *c, uint32_t correlation, uint64_t limit_ms)
{
    struct wait w = {c, correlation};
    struct door_answer *a;
    (void)door_until(c->door, answered, &w, limit_ms);
    a = find(c, correlation);
    if (a != NULL) {
        list_remove(&a->link);
    }
    return a;
}

void door_answer_free(struct door_answer *a)
{
    free(a->message);
    free(a->payload);
    free(a);
}

bool door_until(struct door *d, bool (*holds)(void *data), void *data, uint64_t limit_ms)
{
    return sim_world_run_until_true(d->world, holds, data, limit_ms * SIM_MS);
}

static bool has_ended(void *data)
{
    return ((struct door_conn *)data)->ended;
}

bool door_until_ended(struct door_conn *c, uint64_t limit_ms)
{
    return door_until(c->door, has_ended, c, limit_ms);
}

void door_run(struct door *d, uint64_t ms)
{
    sim_world_run_for(d->world, ms * SIM_MS);
}

/* ---- whole calls --------------------------------------------------------------------------------------------- */

static struct door_conn *any(struct door *d)
{
    for (unsigned i = 0; i < d->n; i++) {
        if (d->nodes[i].node != NULL) {
            return door_connect(d, i + 1);
        }
    }
    return NULL;
}

int door_create_topic(struct door *d, const char *name, uint32_t partitions, uint32_t replication, struct uuid *id)
{
    Cairn__Native__CreateTopicRequest m = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    struct door_conn *c = any(d);
    struct door_answer *a;
    int error = -1;
    m.name = (char *)(uintptr_t)name;
    m.partitions = partitions;
    m.replication = replication;
    a = door_wait(c, door_send(c, CALL_CREATE_TOPIC, &m.base, NULL, 0), 60000);
    if (a != NULL) {
        error = a->header.status;
        if (error == 0) {
            Cairn__Native__CreateTopicResponse *r =
                cairn__native__create_topic_response__unpack(NULL, a->header.message_length, a->message);
            memcpy(id->bytes, r->topic->topic_id.data, 16);
            cairn__native__create_topic_response__free_unpacked(r, NULL);
        }
        door_answer_free(a);
    }
    door_disconnect(c);
    return error;
}

int door_delete_topic(struct door *d, const char *name)
{
    Cairn__Native__DeleteTopicRequest m = CAIRN__NATIVE__DELETE_TOPIC_REQUEST__INIT;
    struct door_conn *c = any(d);
    struct door_answer *a;
    int error = -1;
    m.name = (char *)(uintptr_t)name;
    a = door_wait(c, door_send(c, CALL_DELETE_TOPIC, &m.base, NULL, 0), 60000);
    if (a != NULL) {
        error = a->header.status;
        door_answer_free(a);
    }
    door_disconnect(c);
    return error;
}

struct lead {
    struct door *d;
    const struct uuid *topic;
    uint32_t partition;
    unsigned node;
};

static bool has_leader(void *data)
{
    struct lead *l = data;
    for (unsigned i = 0; i < l->d->n; i++) {
        struct node *n = l->d->nodes[i].node;
        const struct metadata_topic *t;
        struct partition *p;
        struct group_info info;
        struct shards *set;
        uint64_t group;
        if (n == NULL || l->d->nodes[i].stopping) {
            continue;
        }
        t = metadata_fsm_topic(control_metadata(node_control(n)), l->topic);
        if (t == NULL) {
            continue;
        }
        group = t->partitions[l->partition].group;
        set = control_shards(node_control(n));
        p = partition_find(shards_of_group(set, group), group);
        if (p == NULL) {
            continue;
        }
        group_info(partition_group(p), &info);
        if (info.ready) {
            l->node = i + 1;
            return true;
        }
    }
    return false;
}

unsigned door_leader(struct door *d, const struct uuid *topic, uint32_t partition)
{
    struct lead l = {d, topic, partition, 0};
    (void)door_until(d, has_leader, &l, 30000);
    return l.node;
}

size_t door_batch(uint8_t *out, size_t capacity, int64_t producer, int16_t epoch, int32_t sequence, size_t size,
                  int64_t timestamp)
{
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct record_builder b;
    uint8_t *value = calloc(1, size + 1);
    uint8_t *data;
    size_t length;
    int rv;
    assert(value != NULL);
    memset(value, 'x', size);
    record_builder_init(&b, out, capacity);
    rv = record_builder_append(&b, NULL, -1, value, (int32_t)size, NULL, 0, timestamp);
    assert(rv == 0);
    stamp.producer_id = producer;
    stamp.producer_epoch = producer < 0 ? -1 : epoch;
    stamp.base_sequence = producer < 0 ? -1 : sequence;
    rv = record_builder_finish(&b, &stamp, NULL, &data, &length);
    assert(rv == 0 && data == out);
    (void)rv;
    free(value);
    return length;
}

uint32_t door_send_produce(struct door_conn *c, const struct uuid *topic, uint32_t partition, const void *batch,
                           size_t size, uint32_t timeout_ms)
{
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition part = CAIRN__NATIVE__PRODUCE_PARTITION__INIT;
    Cairn__Native__ProducePartition *parts[1] = {&part};
    part.topic_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)topic->bytes};
    part.partition = partition;
    part.size = (uint32_t)size;
    m.n_partitions = 1;
    m.partitions = parts;
    m.timeout_ms = timeout_ms;
    return door_send(c, CALL_PRODUCE, &m.base, batch, size);
}

int door_wait_produce(struct door_conn *c, uint32_t correlation, uint64_t limit_ms, int64_t *offset)
{
    struct door_answer *a = door_wait(c, correlation, limit_ms);
    int error;
    if (a == NULL) {
        return -1;
    }
    error = a->header.status;
    if (error == 0) {
        Cairn__Native__ProduceResponse *r =
            cairn__native__produce_response__unpack(NULL, a->header.message_length, a->message);
        error = (int)r->partitions[0]->error;
        if (offset != NULL) {
            *offset = r->partitions[0]->base_offset;
        }
        cairn__native__produce_response__free_unpacked(r, NULL);
    }
    door_answer_free(a);
    return error;
}

int door_produce(struct door_conn *c, const struct uuid *topic, uint32_t partition, size_t size)
{
    uint8_t *batch = malloc(size + 200);
    size_t length = door_batch(batch, size + 200, -1, 0, 0, size, 1000);
    uint32_t id = door_send_produce(c, topic, partition, batch, length, 10000);
    free(batch);
    return door_wait_produce(c, id, 20000, NULL);
}

uint32_t door_send_fetch(struct door_conn *c, const struct uuid *topic, const struct door_fetch *fetch)
{
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition part = CAIRN__NATIVE__FETCH_PARTITION__INIT;
    Cairn__Native__FetchPartition *parts[64];
    part.topic_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)topic->bytes};
    part.partition = fetch->partition;
    part.offset = fetch->offset;
    part.max_bytes = fetch->part_max_bytes;
    m.n_partitions = fetch->times == 0 ? 1 : fetch->times;
    for (size_t i = 0; i < m.n_partitions; i++) {
        parts[i] = &part;
    }
    m.partitions = parts;
    m.max_wait_ms = fetch->max_wait_ms;
    m.min_bytes = fetch->min_bytes;
    m.max_bytes = fetch->max_bytes;
    return door_send(c, CALL_FETCH, &m.base, NULL, 0);
}

int door_wait_fetch(struct door_conn *c, uint32_t correlation, uint64_t limit_ms, size_t *bytes, int64_t *high_watermark)
{
    struct door_answer *a = door_wait(c, correlation, limit_ms);
    int error;
    if (a == NULL) {
        return -1;
    }
    error = a->header.status;
    if (error == 0) {
        Cairn__Native__FetchResponse *r =
            cairn__native__fetch_response__unpack(NULL, a->header.message_length, a->message);
        error = (int)r->partitions[0]->error;
        if (bytes != NULL) {
            *bytes = a->header.payload_length;
        }
        if (high_watermark != NULL) {
            *high_watermark = r->partitions[0]->high_watermark;
        }
        cairn__native__fetch_response__free_unpacked(r, NULL);
    }
    door_answer_free(a);
    return error;
}

int door_list_offset(struct door_conn *c, const struct uuid *topic, uint32_t partition, int64_t time_ms, int64_t *offset)
{
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition part = CAIRN__NATIVE__LIST_OFFSETS_PARTITION__INIT;
    Cairn__Native__ListOffsetsPartition *parts[1] = {&part};
    struct door_answer *a;
    int error = -1;
    part.topic_id = (ProtobufCBinaryData){16, (uint8_t *)(uintptr_t)topic->bytes};
    part.partition = partition;
    part.timestamp_ms = time_ms;
    m.n_partitions = 1;
    m.partitions = parts;
    a = door_wait(c, door_send(c, CALL_LIST_OFFSETS, &m.base, NULL, 0), 20000);
    if (a == NULL) {
        return -1;
    }
    error = a->header.status;
    if (error == 0) {
        Cairn__Native__ListOffsetsResponse *r =
            cairn__native__list_offsets_response__unpack(NULL, a->header.message_length, a->message);
        error = (int)r->partitions[0]->error;
        *offset = r->partitions[0]->offset;
        cairn__native__list_offsets_response__free_unpacked(r, NULL);
    }
    door_answer_free(a);
    return error;
}
