/* Connections to the nodes, requests with time limits, and the metadata that says where to go. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/client.h"

#define TICK_MS 20
#define DIAL_AGAIN_MS 100
#define METADATA_RETRY_MS 50
#define METADATA_EVERY_MS 2000

struct request {
    struct list link; /* of conn.pending, or net.ended */
    uint32_t correlation;
    uint16_t call;
    uint64_t deadline_ns;
    int status;
    client_answer_cb done;
    void *data;
};

struct outgoing {
    struct list link; /* of conn.writes */
    struct conn *conn;
    struct env_write write;
    uint8_t bytes[];
};

struct conn {
    struct client_net *net;
    unsigned node;
    struct env_conn *socket; /* NULL: not connected */
    bool connecting;
    uint64_t dial_at_ns;
    struct frame_reader reader;
    struct list pending;
    struct list writes;
};

struct client_net {
    struct env *env;
    struct workload *w;
    struct conn conns[ORACLE_NODES_MAX];
    struct client_tick tick;
    struct list ended; /* requests to be told at the end of the turn */
    struct env_hook hook;
    uint32_t correlation;
    unsigned rotor;
    bool refresh;
    bool asking;
    uint64_t asked_ns;
    uint64_t fetched_ns;
    struct client_topic topics[CLIENT_TOPICS_MAX];
};

static void on_tick(struct timer *timer)
{
    struct client_tick *tick = container_of(timer, struct client_tick, timer);
    env_timer_start(tick->env, timer, tick->ms);
    tick->run(tick->data);
}

void client_tick_start(struct client_tick *tick, struct env *env, uint32_t ms, void (*run)(void *data), void *data)
{
    *tick = (struct client_tick){.env = env, .ms = ms, .run = run, .data = data};
    timer_init(&tick->timer, on_tick);
    env_timer_start(env, &tick->timer, 1);
}

uint64_t client_random(struct client_net *net, uint64_t below)
{
    return (uint64_t)(((unsigned __int128)env_random(net->env) * below) >> 64);
}

void client_topic_name(const struct workload *w, unsigned topic, char out[16])
{
    snprintf(out, 16, "t%u", topic);
}

/* ---- connections ----------------------------------------------------------------------------------------------------- */

static void end_request(struct client_net *net, struct request *r, int status)
{
    list_remove(&r->link);
    r->status = status;
    list_push_back(&net->ended, &r->link);
    env_wake(net->env);
}

static void conn_drop(struct conn *c)
{
    struct client_net *net = c->net;
    struct env_conn *socket = c->socket;

    if (socket == NULL) {
        return;
    }
    c->socket = NULL;
    c->dial_at_ns = env_now_ns(net->env) + DIAL_AGAIN_MS * SIM_MS;
    frame_reader_close(&c->reader);
    list_for_each_safe(pos, &c->pending)
    {
        end_request(net, list_entry(pos, struct request, link), ERR_CLOSED);
    }
    net->refresh = true;
    env_conn_close(net->env, socket, NULL, NULL);
}

static void conn_alloc(struct env_conn *socket, void *data, uint8_t **base, size_t *len)
{
    struct conn *c = data;
    int rv = frame_reader_alloc(&c->reader, base, len);
    assert(rv == 0);
    (void)rv;
}

static void on_frame(struct conn *c, const struct frame *frame)
{
    list_for_each_safe(pos, &c->pending)
    {
        struct request *r = list_entry(pos, struct request, link);
        if (r->correlation == frame->header.correlation) {
            if (frame->header.kind != FRAME_RESPONSE || frame->header.call != r->call) {
                oracle_violation(c->net->w->oracle, "node %u answered a %s with a %s", c->node, call_name(r->call),
                                 call_name(frame->header.call));
            }
            list_remove(&r->link);
            r->done(r->data, 0, frame);
            free(r);
            return;
        }
    }
    oracle_violation(c->net->w->oracle, "node %u answered what nobody asked", c->node);
}

static void conn_read(struct env_conn *socket, void *data, ssize_t n)
{
    struct conn *c = data;
    struct frame frame;

    if (n <= 0) {
        conn_drop(c);
        return;
    }
    frame_reader_commit(&c->reader, (size_t)n);
    while (c->socket != NULL && frame_reader_next(&c->reader, &frame)) {
        on_frame(c, &frame);
        buf_release(frame.buf);
    }
    if (c->socket != NULL && frame_reader_error(&c->reader) != 0) {
        oracle_violation(c->net->w->oracle, "node %u sent what is not a frame", c->node);
    }
}

static const struct env_conn_callbacks conn_callbacks = {conn_alloc, conn_read};

static void on_connect(struct env *env, void *data, int status, struct env_conn *socket)
{
    static const struct frame_limits limits = {FRAME_MESSAGE_MAX, FRAME_PAYLOAD_MAX};
    struct conn *c = data;

    c->connecting = false;
    if (status != 0) {
        c->dial_at_ns = env_now_ns(env) + DIAL_AGAIN_MS * SIM_MS;
        return;
    }
    c->socket = socket;
    frame_reader_init(&c->reader, NULL, &limits, 0);
    env_conn_read_start(env, socket, &conn_callbacks, c);
}

bool client_connected(struct client_net *net, unsigned node)
{
    struct conn *c = &net->conns[node - 1];
    char address[32];

    assert(node >= 1 && node <= net->w->n_nodes);
    if (c->socket != NULL) {
        return true;
    }
    if (!c->connecting && env_now_ns(net->env) >= c->dial_at_ns) {
        snprintf(address, sizeof address, "n%u:9092", node);
        c->connecting = env_connect(net->env, address, on_connect, c) == 0;
    }
    return false;
}

unsigned client_any_node(struct client_net *net)
{
    for (unsigned i = 0; i < net->w->n_nodes; i++) {
        unsigned node = 1 + (net->rotor + i) % net->w->n_nodes;
        if (client_connected(net, node)) {
            net->rotor = node;
            return node;
        }
    }
    return 0;
}

static void on_written(struct env_write *write, int status)
{
    struct outgoing *out = container_of(write, struct outgoing, write);
    struct conn *c = out->conn;

    list_remove(&out->link);
    free(out);
    if (status != 0 && status != ERR_CLOSED) {
        conn_drop(c);
    }
}

int client_request(struct client_net *net, unsigned node, uint16_t call, const ProtobufCMessage *message,
                   const uint8_t *payload, size_t payload_size, uint32_t timeout_ms, client_answer_cb done, void *data)
{
    struct conn *c = &net->conns[node - 1];
    size_t size = protobuf_c_message_get_packed_size(message);
    struct frame_header header = {
        .kind = FRAME_REQUEST,
        .call = call,
        .call_version = 1,
        .correlation = ++net->correlation,
        .message_length = (uint32_t)size,
        .payload_length = (uint32_t)payload_size,
    };
    struct outgoing *out;
    struct request *r;
    struct iovec iov;

    if (!client_connected(net, node)) {
        return ERR_BUSY;
    }
    out = calloc(1, sizeof *out + FRAME_HEADER_SIZE + size + payload_size);
    r = calloc(1, sizeof *r);
    assert(out != NULL && r != NULL);
    *r = (struct request){.correlation = header.correlation, .call = call, .done = done, .data = data,
                          .deadline_ns = env_now_ns(net->env) + timeout_ms * SIM_MS};
    list_push_back(&c->pending, &r->link);
    frame_encode_header(&header, out->bytes);
    protobuf_c_message_pack(message, out->bytes + FRAME_HEADER_SIZE);
    if (payload_size > 0) {
        memcpy(out->bytes + FRAME_HEADER_SIZE + size, payload, payload_size);
    }
    out->conn = c;
    out->write.done = on_written;
    list_push_back(&c->writes, &out->link);
    iov = (struct iovec){out->bytes, FRAME_HEADER_SIZE + size + payload_size};
    env_conn_write(net->env, c->socket, &out->write, &iov, 1);
    return 0;
}

/* ---- metadata -------------------------------------------------------------------------------------------------------- */

void client_refresh(struct client_net *net)
{
    net->refresh = true;
}

const struct client_topic *client_topic(struct client_net *net, unsigned topic)
{
    return &net->topics[topic];
}

uint64_t client_metadata_age_ns(struct client_net *net)
{
    return net->fetched_ns == 0 ? UINT64_MAX : env_now_ns(net->env) - net->fetched_ns;
}

/* A topic is told as it was made. */
static void check_topic(struct client_net *net, unsigned topic, const Cairn__Native__TopicInfo *info)
{
    char setting[16];

    snprintf(setting, sizeof setting, "%u", oracle_setting(topic));
    if (info->n_partitions != net->w->partitions || info->replication != net->w->replication || info->n_configs != 1 ||
        strcmp(info->configs[0]->key, ORACLE_SETTING) != 0 || strcmp(info->configs[0]->value, setting) != 0) {
        oracle_violation(net->w->oracle, "topic %s: told with %zu partitions, %u replicas each, %zu settings (%s), made with %u, %u "
                         "and one (%s)", info->name, info->n_partitions, info->replication, info->n_configs,
                         info->n_configs > 0 ? info->configs[0]->value : "", net->w->partitions, net->w->replication, setting);
    }
    for (size_t i = 0; i < info->n_partitions; i++) {
        const Cairn__Native__PartitionInfo *p = info->partitions[i];
        for (size_t k = 0; k < p->n_replicas; k++) {
            for (size_t other = 0; other < k; other++) {
                if (p->replicas[k] == p->replicas[other]) {
                    oracle_violation(net->w->oracle, "topic %s partition %u: two replicas on node %u", info->name, p->partition,
                                     p->replicas[k]);
                }
            }
        }
        if (p->partition != i || p->n_replicas == 0) {
            oracle_violation(net->w->oracle, "topic %s: partition %u of %zu replicas in place %zu", info->name, p->partition,
                             p->n_replicas, i);
        }
    }
}

static void take_topic(struct client_net *net, struct client_topic *t, const Cairn__Native__TopicInfo *info)
{
    struct uuid id;

    if (info->error != 0) {
        t->exists = false;
        return;
    }
    assert(info->topic_id.len == sizeof id.bytes && info->n_partitions > 0);
    memcpy(id.bytes, info->topic_id.data, sizeof id.bytes);
    /* Group ids only rise: a node that is behind does not bring back an older topic of this name. */
    if (info->partitions[0]->group < t->newest_group) {
        return;
    }
    t->newest_group = info->partitions[0]->group;
    check_topic(net, (unsigned)(t - net->topics), info);
    if (!uuid_equal(&id, &t->id) || t->n != info->n_partitions) {
        free(t->partitions);
        t->id = id;
        t->n = (unsigned)info->n_partitions;
        t->partitions = calloc(t->n, sizeof *t->partitions);
        assert(t->partitions != NULL);
    }
    t->exists = true;
    for (unsigned i = 0; i < t->n; i++) {
        const Cairn__Native__PartitionInfo *p = info->partitions[i];
        struct client_partition *mine = &t->partitions[p->partition];
        mine->part = oracle_part(net->w->oracle, &id, p->partition, p->group);
        oracle_hinted(net->w->oracle, mine->part, p->leader_node, p->leader_epoch);
        /* An older leader's word does not undo a newer one's. */
        if (p->leader_node != 0 && p->leader_epoch >= mine->leader_epoch) {
            mine->leader = p->leader_node;
            mine->leader_epoch = p->leader_epoch;
        }
    }
}

static void on_metadata(void *data, int status, const struct frame *frame)
{
    struct client_net *net = data;
    Cairn__Native__MetadataResponse *m;

    net->asking = false;
    if (status != 0 || frame->header.status != 0) {
        net->refresh = true;
        return;
    }
    m = cairn__native__metadata_response__unpack(NULL, frame->header.message_length, frame->message);
    if (m == NULL) {
        oracle_violation(net->w->oracle, "a metadata answer that cannot be read");
    }
    for (size_t i = 0; i < m->n_topics; i++) {
        for (unsigned k = 0; k < net->w->n_topics; k++) {
            char name[16];
            client_topic_name(net->w, k, name);
            if (strcmp(name, m->topics[i]->name) == 0) {
                take_topic(net, &net->topics[k], m->topics[i]);
            }
        }
    }
    net->fetched_ns = env_now_ns(net->env);
    cairn__native__metadata_response__free_unpacked(m, NULL);
}

static void ask_metadata(struct client_net *net)
{
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    char names[CLIENT_TOPICS_MAX][16];
    char *topics[CLIENT_TOPICS_MAX];
    uint64_t now = env_now_ns(net->env);
    unsigned node;

    if (net->asking || now < net->asked_ns + METADATA_RETRY_MS * SIM_MS ||
        (!net->refresh && now < net->fetched_ns + METADATA_EVERY_MS * SIM_MS)) {
        return;
    }
    node = client_any_node(net);
    if (node == 0) {
        return;
    }
    for (unsigned k = 0; k < net->w->n_topics; k++) {
        client_topic_name(net->w, k, names[k]);
        topics[k] = names[k];
    }
    m.n_topics = net->w->n_topics;
    m.topics = topics;
    if (client_request(net, node, CALL_METADATA, &m.base, NULL, 0, net->w->request_timeout_ms, on_metadata, net) == 0) {
        net->asking = true;
        net->refresh = false;
        net->asked_ns = now;
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void net_turn(struct env_hook *hook)
{
    struct client_net *net = container_of(hook, struct client_net, hook);
    struct list *pos;

    while ((pos = list_pop_front(&net->ended)) != NULL) {
        struct request *r = list_entry(pos, struct request, link);
        r->done(r->data, r->status, NULL);
        free(r);
    }
}

static void net_tick(void *data)
{
    struct client_net *net = data;
    uint64_t now = env_now_ns(net->env);

    for (unsigned i = 0; i < net->w->n_nodes; i++) {
        struct conn *c = &net->conns[i];
        list_for_each(pos, &c->pending)
        {
            if (list_entry(pos, struct request, link)->deadline_ns <= now) {
                conn_drop(c);
                break;
            }
        }
        (void)client_connected(net, i + 1);
    }
    ask_metadata(net);
}

struct client_net *client_net_new(struct env *env, struct workload *w)
{
    struct client_net *net = calloc(1, sizeof *net);

    assert(net != NULL && w->n_topics <= CLIENT_TOPICS_MAX);
    net->env = env;
    net->w = w;
    net->refresh = true;
    net->rotor = (unsigned)(env_random(env) % w->n_nodes);
    list_init(&net->ended);
    for (unsigned i = 0; i < ORACLE_NODES_MAX; i++) {
        net->conns[i].net = net;
        net->conns[i].node = i + 1;
        list_init(&net->conns[i].pending);
        list_init(&net->conns[i].writes);
    }
    net->hook.run = net_turn;
    env_hook_add(env, &net->hook);
    client_tick_start(&net->tick, env, TICK_MS, net_tick, net);
    return net;
}

void client_net_abandon(struct client_net *net)
{
    struct list *pos;

    for (unsigned i = 0; i < ORACLE_NODES_MAX; i++) {
        struct conn *c = &net->conns[i];
        list_splice_back(&net->ended, &c->pending);
        while ((pos = list_pop_front(&c->writes)) != NULL) {
            free(list_entry(pos, struct outgoing, link));
        }
        if (c->socket != NULL) {
            frame_reader_close(&c->reader);
        }
    }
    while ((pos = list_pop_front(&net->ended)) != NULL) {
        free(list_entry(pos, struct request, link));
    }
    for (unsigned i = 0; i < CLIENT_TOPICS_MAX; i++) {
        free(net->topics[i].partitions);
    }
    free(net);
}
