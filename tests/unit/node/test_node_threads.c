/* A node with two shards on real threads, files and sockets, under produce, long polls, cancelled polls, commits of consumer
 * groups and an orderly stop: mostly for the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/node.h"
#include "proto/native/calls.h"
#include "proto/native/frame.h"
#include "proto/native/native.pb-c.h"
#include "proto/record/record_builder.h"
#include "raft/env/env_uv.h"

#define PARTITIONS 4
#define BATCHES 2000 /* a producer */
#define PIPELINE 16
#define GROUPS 32  /* consumer groups: over both shards */
#define COMMITS 300

struct load {
    struct env *env;
    struct node *node;
    char address[ENV_ADDRESS_MAX];
    struct uuid topic;
    struct env_message stop;
    atomic_uint failures;
    atomic_uint produced;
    atomic_uint fetched_bytes;
    atomic_uint last_error; /* of a produce */
    atomic_uint commits;
};

static struct load load;

/* ---- a client on plain sockets ------------------------------------------------------------------------------- */

static void failed(int line)
{
    fprintf(stderr, "failed in line %d\n", line);
    load.failures++;
}

static int dial(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    char host[ENV_ADDRESS_MAX];
    char *colon;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(host, load.address, sizeof host);
    colon = strrchr(host, ':');
    *colon = '\0';
    sa.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &sa.sin_addr) != 1 || connect(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
        abort();
    }
    return fd;
}

static void ask(int fd, uint16_t call, const ProtobufCMessage *m, const uint8_t *payload, size_t payload_size)
{
    size_t size = protobuf_c_message_get_packed_size(m);
    struct frame_header h = {.kind = FRAME_REQUEST, .call = call, .call_version = 1, .message_length = (uint32_t)size,
                             .payload_length = (uint32_t)payload_size};
    uint8_t *bytes = malloc(FRAME_HEADER_SIZE + size + payload_size);
    frame_encode_header(&h, bytes);
    protobuf_c_message_pack(m, bytes + FRAME_HEADER_SIZE);
    if (payload_size > 0) {
        memcpy(bytes + FRAME_HEADER_SIZE + size, payload, payload_size);
    }
    if (send(fd, bytes, FRAME_HEADER_SIZE + size + payload_size, MSG_NOSIGNAL) < 0) {
        failed(__LINE__);
    }
    free(bytes);
}

/* The body, to be freed; NULL: the connection has ended. */
static uint8_t *answer(int fd, struct frame_header *h)
{
    static const struct frame_limits limits = {FRAME_MESSAGE_MAX, FRAME_PAYLOAD_MAX};
    uint8_t header[FRAME_HEADER_SIZE];
    uint8_t *body;
    size_t size;
    if (recv(fd, header, sizeof header, MSG_WAITALL) != sizeof header || frame_decode_header(header, &limits, h) != 0) {
        return NULL;
    }
    size = (size_t)h->message_length + h->payload_length;
    body = malloc(size + 1);
    if (size > 0 && recv(fd, body, size, MSG_WAITALL) != (ssize_t)size) {
        free(body);
        return NULL;
    }
    return body;
}

static ProtobufCBinaryData topic_id(void)
{
    return (ProtobufCBinaryData){16, load.topic.bytes};
}

static bool create_topic(void)
{
    Cairn__Native__CreateTopicRequest m = CAIRN__NATIVE__CREATE_TOPIC_REQUEST__INIT;
    struct frame_header h;
    uint8_t *body;
    bool done = false;
    int fd = dial();
    m.name = (char *)(uintptr_t)"t";
    m.partitions = PARTITIONS;
    m.replication = 1;
    m.timeout_ms = 20000;
    ask(fd, CALL_CREATE_TOPIC, &m.base, NULL, 0); /* the node may not have formed yet: it waits */
    body = answer(fd, &h);
    if (body != NULL && h.status == 0) {
        Cairn__Native__CreateTopicResponse *r =
            cairn__native__create_topic_response__unpack(NULL, h.message_length, body);
        memcpy(load.topic.bytes, r->topic->topic_id.data, 16);
        cairn__native__create_topic_response__free_unpacked(r, NULL);
        done = true;
    }
    free(body);
    close(fd);
    return done;
}

static void *produce(void *arg)
{
    uint32_t first = (uint32_t)(uintptr_t)arg;
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition parts[2] = {CAIRN__NATIVE__PRODUCE_PARTITION__INIT, CAIRN__NATIVE__PRODUCE_PARTITION__INIT};
    Cairn__Native__ProducePartition *pointers[2] = {&parts[0], &parts[1]};
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct record_builder b;
    uint8_t payload[4000];
    uint8_t *data;
    size_t size;
    char value[1000] = "";
    int fd = dial();
    m.n_partitions = 2;
    m.partitions = pointers;
    record_builder_init(&b, payload, 2000);
    if (record_builder_append(&b, NULL, -1, value, sizeof value, NULL, 0, 1) != 0 ||
        record_builder_finish(&b, &stamp, NULL, &data, &size) != 0) {
        abort();
    }
    memcpy(payload + size, payload, size);
    for (int i = 0; i < BATCHES + PIPELINE; i++) {
        if (i < BATCHES) { /* both shards in one request */
            for (uint32_t k = 0; k < 2; k++) {
                parts[k].topic_id = topic_id();
                parts[k].partition = (first + (uint32_t)i + k) % PARTITIONS;
                parts[k].size = (uint32_t)size;
            }
            ask(fd, CALL_PRODUCE, &m.base, payload, 2 * size);
        }
        if (i >= PIPELINE) {
            struct frame_header h;
            uint8_t *body = answer(fd, &h);
            Cairn__Native__ProduceResponse *r =
                body == NULL ? NULL : cairn__native__produce_response__unpack(NULL, h.message_length, body);
            for (size_t k = 0; r != NULL && k < r->n_partitions; k++) {
                load.produced += r->partitions[k]->error == 0;
                if (r->partitions[k]->error != 0) {
                    load.last_error = r->partitions[k]->error;
                }
            }
            if (r == NULL) {
                failed(__LINE__);
            } else {
                cairn__native__produce_response__free_unpacked(r, NULL);
            }
            free(body);
        }
    }
    close(fd);
    return NULL;
}

/* A leader that is known may not be ready yet. */
static void wait_until_ready(void)
{
    Cairn__Native__ListOffsetsRequest m = CAIRN__NATIVE__LIST_OFFSETS_REQUEST__INIT;
    Cairn__Native__ListOffsetsPartition parts[PARTITIONS];
    Cairn__Native__ListOffsetsPartition *pointers[PARTITIONS];
    bool ready = false;
    int fd = dial();
    m.n_partitions = PARTITIONS;
    m.partitions = pointers;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        cairn__native__list_offsets_partition__init(&parts[i]);
        parts[i].topic_id = topic_id();
        parts[i].partition = i;
        parts[i].timestamp_ms = -1;
        pointers[i] = &parts[i];
    }
    for (int tries = 0; tries < 100000 && !ready; tries++) {
        struct frame_header h;
        uint8_t *body;
        Cairn__Native__ListOffsetsResponse *r;
        ask(fd, CALL_LIST_OFFSETS, &m.base, NULL, 0);
        body = answer(fd, &h);
        r = body == NULL ? NULL : cairn__native__list_offsets_response__unpack(NULL, h.message_length, body);
        ready = r != NULL;
        for (size_t i = 0; r != NULL && i < r->n_partitions; i++) {
            ready = ready && r->partitions[i]->error == 0;
        }
        if (r != NULL) {
            cairn__native__list_offsets_response__free_unpacked(r, NULL);
        }
        free(body);
    }
    close(fd);
}

/* Polls both shards, until everything was seen; now and then it goes away in the middle. */
static void *fetch(void *arg)
{
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition parts[PARTITIONS];
    Cairn__Native__FetchPartition *pointers[PARTITIONS];
    int fd = dial();
    int64_t total = 0;
    m.n_partitions = PARTITIONS;
    m.partitions = pointers;
    m.max_wait_ms = 20;
    m.min_bytes = arg == NULL ? 1 : 20000;
    for (uint32_t i = 0; i < PARTITIONS; i++) {
        cairn__native__fetch_partition__init(&parts[i]);
        parts[i].topic_id = topic_id();
        parts[i].partition = i;
        pointers[i] = &parts[i];
    }
    for (int round = 0; round < 20000 && load.last_error == 0 && total < 2 * 2 * BATCHES; round++) {
        struct frame_header h;
        Cairn__Native__FetchResponse *r;
        uint8_t *body;
        size_t at;
        ask(fd, CALL_FETCH, &m.base, NULL, 0);
        if (round % 7 == 0) {
            close(fd);
            fd = dial();
            continue;
        }
        body = answer(fd, &h);
        r = body == NULL ? NULL : cairn__native__fetch_response__unpack(NULL, h.message_length, body);
        if (r == NULL) {
            failed(__LINE__);
            free(body);
            break;
        }
        at = h.message_length;
        load.fetched_bytes += h.payload_length;
        for (uint32_t i = 0; i < PARTITIONS; i++) {
            size_t end = at + r->partitions[i]->size;
            while (at < end) {
                struct record_batch_header batch;
                if (record_batch_peek(body + at, end - at, &batch) != 0 || batch.base_offset != parts[i].offset) {
                    failed(__LINE__);
                    break;
                }
                parts[i].offset = record_batch_offset_next(&batch);
                total++;
                at += batch.size;
            }
            at = end;
        }
        cairn__native__fetch_response__free_unpacked(r, NULL);
        free(body);
    }
    if (total != 2 * 2 * BATCHES) {
        failed(__LINE__);
    }
    close(fd);
    return NULL;
}

/* ---- consumer groups ----------------------------------------------------------------------------------------- */

/* Asks until the coordinators are ready. The body, to be freed; NULL: refused. */
static uint8_t *ask_group(int fd, uint16_t call, const ProtobufCMessage *m, struct frame_header *h)
{
    for (int tries = 0; tries < 100000; tries++) {
        uint8_t *body;
        ask(fd, call, m, NULL, 0);
        body = answer(fd, h);
        if (body == NULL || h->status == 0) {
            return body;
        }
        free(body);
        if (h->status != ERR_LEADER_NOT_READY && h->status != ERR_NOT_COORDINATOR) {
            return NULL;
        }
    }
    return NULL;
}

static bool find_coordinators(int fd)
{
    Cairn__Native__FindCoordinatorRequest m = CAIRN__NATIVE__FIND_COORDINATOR_REQUEST__INIT;
    char name[] = "group-0";
    char *names[] = {name};
    struct frame_header h;
    uint8_t *body;
    m.n_groups = 1;
    m.groups = names;
    body = ask_group(fd, CALL_FIND_COORDINATOR, &m.base, &h); /* makes them */
    free(body);
    return body != NULL;
}

static bool commit_offset(int fd, char *group, uint32_t partition, int64_t offset)
{
    Cairn__Native__CommitOffsetsRequest m = CAIRN__NATIVE__COMMIT_OFFSETS_REQUEST__INIT;
    Cairn__Native__CommitOffset o = CAIRN__NATIVE__COMMIT_OFFSET__INIT;
    Cairn__Native__CommitOffset *offsets[] = {&o};
    struct frame_header h;
    uint8_t *body;
    o.topic_id = topic_id();
    o.partition = partition;
    o.offset = offset;
    m.group = group;
    m.generation = -1;
    m.n_offsets = 1;
    m.offsets = offsets;
    body = ask_group(fd, CALL_COMMIT_OFFSETS, &m.base, &h);
    free(body);
    return body != NULL;
}

static int64_t fetch_offset(int fd, char *group, uint32_t partition)
{
    Cairn__Native__FetchOffsetsRequest m = CAIRN__NATIVE__FETCH_OFFSETS_REQUEST__INIT;
    Cairn__Native__GroupPartition part = CAIRN__NATIVE__GROUP_PARTITION__INIT;
    Cairn__Native__GroupPartition *parts[] = {&part};
    Cairn__Native__FetchOffsetsResponse *r;
    struct frame_header h;
    uint8_t *body;
    int64_t offset = -2;
    part.topic_id = topic_id();
    part.partition = partition;
    m.group = group;
    m.n_partitions = 1;
    m.partitions = parts;
    body = ask_group(fd, CALL_FETCH_OFFSETS, &m.base, &h);
    r = body == NULL ? NULL : cairn__native__fetch_offsets_response__unpack(NULL, h.message_length, body);
    if (r != NULL) {
        offset = r->n_offsets == 1 ? r->offsets[0]->offset : -2;
        cairn__native__fetch_offsets_response__free_unpacked(r, NULL);
    }
    free(body);
    return offset;
}

static void look_at_groups(int fd)
{
    Cairn__Native__ListGroupsRequest list = CAIRN__NATIVE__LIST_GROUPS_REQUEST__INIT;
    Cairn__Native__GroupLagRequest lag = CAIRN__NATIVE__GROUP_LAG_REQUEST__INIT;
    struct frame_header h;
    uint8_t *body = ask_group(fd, CALL_LIST_GROUPS, &list.base, &h);
    if (body == NULL) {
        failed(__LINE__);
    }
    free(body);
    body = ask_group(fd, CALL_GROUP_LAG, &lag.base, &h);
    if (body == NULL) {
        failed(__LINE__);
    }
    free(body);
}

static void *commit(void *arg)
{
    int fd = dial();
    if (!find_coordinators(fd)) {
        failed(__LINE__);
    }
    for (int i = 0; i < COMMITS; i++) {
        uint32_t partition = (uint32_t)i % PARTITIONS;
        char group[32];
        snprintf(group, sizeof group, "group-%d", i % GROUPS);
        if (!commit_offset(fd, group, partition, i) || fetch_offset(fd, group, partition) != i) {
            failed(__LINE__);
            break;
        }
        load.commits++;
        if (i % 20 == 0) {
            look_at_groups(fd);
        }
    }
    close(fd);
    return NULL;
}

/* The first member of a group: it waits for more of them. */
static void park_join(int fd)
{
    Cairn__Native__JoinGroupRequest m = CAIRN__NATIVE__JOIN_GROUP_REQUEST__INIT;
    Cairn__Native__GroupProtocol p = CAIRN__NATIVE__GROUP_PROTOCOL__INIT;
    Cairn__Native__GroupProtocol *protocols[] = {&p};
    char text[] = "any";
    m.group = text;
    m.instance = text;
    m.protocol_type = text;
    m.session_timeout_ms = 10000;
    p.name = text;
    m.n_protocols = 1;
    m.protocols = protocols;
    ask(fd, CALL_JOIN_GROUP, &m.base, NULL, 0);
}

/* ---- the node ------------------------------------------------------------------------------------------------ */

static void on_closed(void *data)
{
    env_loop_stop(load.env);
}

static void stop(struct env_message *message)
{
    node_stop(load.node, 1000, on_closed, NULL);
}

static void *run_clients(void *arg)
{
    pthread_t threads[5];
    Cairn__Native__FetchRequest poll = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition part = CAIRN__NATIVE__FETCH_PARTITION__INIT;
    Cairn__Native__FetchPartition *parts[] = {&part};
    int fd;
    if (!create_topic()) {
        failed(__LINE__);
        goto out;
    }
    wait_until_ready();
    for (uintptr_t i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, produce, (void *)i);
        pthread_create(&threads[2 + i], NULL, fetch, (void *)i);
    }
    pthread_create(&threads[4], NULL, commit, NULL);
    for (int i = 0; i < 5; i++) {
        pthread_join(threads[i], NULL);
    }
    park_join(dial());
    fd = dial();
    part.topic_id = topic_id();
    part.offset = BATCHES; /* the end: it parks until the stop */
    part.partition = 1;
    poll.n_partitions = 1;
    poll.partitions = parts;
    poll.max_wait_ms = 300000;
    ask(fd, CALL_FETCH, &poll.base, NULL, 0);
out:
    load.stop.run = stop;
    env_post(load.env, &load.stop);
    return NULL; /* the last connection is the node's to end */
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}

static void discard(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    if (getenv("NODE_LOG") != NULL) {
        fprintf(stderr, "%.*s\n", (int)length, line);
    }
}

static void two_shards_under_load(void **state)
{
    struct logger logger = {.level = LOG_INFO, .write = discard};
    struct env_uv_params env_params = {.logger = &logger};
    struct node_params *p = calloc(1, sizeof *p);
    char dir[] = "/tmp/cairn-threads-XXXXXX";
    char data[64];
    char errmsg[ERRMSG_SIZE];
    pthread_t clients;

    assert_non_null(mkdtemp(dir));
    snprintf(data, sizeof data, "%s/data", dir);
    assert_int_equal(env_uv_new(&env_params, &load.env), 0);
    p->env = load.env;
    p->version = "test";
    p->n_listeners = 1;
    snprintf(p->listeners[0].name, sizeof p->listeners[0].name, "client");
    snprintf(p->listeners[0].address, sizeof p->listeners[0].address, "127.0.0.1:0");
    p->memory_max_bytes = 192u << 20;
    p->connections_max = 100;
    p->control = (struct control_params){
        .data_dir = data,
        .node = 1,
        .rack = "",
        .peer_listen = "127.0.0.1:0",
        .n_seeds = 1,
        .shards = 2,
        .log_file_bytes = 4u << 20,
        .log_max_bytes = 256u << 20,
        .log_reserve_bytes = 1u << 20,
        .cache_max_bytes = 512u << 10, /* small: some reads go to the disk */
        .peer_receive_max_bytes = 256u << 20,
        .default_partitions = 1,
        .default_replication = 1,
    };
    p->control.seeds[0].node = 1;
    snprintf(p->control.seeds[0].address, sizeof p->control.seeds[0].address, "127.0.0.1:1");
    if (node_open(p, &load.node, errmsg) != 0) {
        fail_msg("node_open: %s", errmsg);
    }
    snprintf(load.address, sizeof load.address, "%s", node_listener_address(load.node, 0));
    assert_int_equal(pthread_create(&clients, NULL, run_clients, NULL), 0);
    env_uv_run(load.env);
    pthread_join(clients, NULL);
    env_uv_free(load.env);
    free(p);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(load.last_error, 0);
    assert_int_equal(load.failures, 0);
    assert_int_equal(load.produced, 2 * 2 * BATCHES);
    assert_int_equal(load.commits, COMMITS);
    assert_true(load.fetched_bytes >= 2 * 2 * 2 * BATCHES * 1000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_shards_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
