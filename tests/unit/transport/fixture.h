/* Some nodes with a transport each, all on one real loop. */
#ifndef CAIRN_TESTS_TRANSPORT_FIXTURE_H
#define CAIRN_TESTS_TRANSPORT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/env/env_uv.h"
#include "raft/transport/transport.h"

#define LIMIT_MS 20000u
#define RECEIVED_MAX 8192

struct received {
    uint64_t group;
    uint32_t n;
    uint32_t size;
    uint8_t header[64];
    struct entry *entries[4];
};

struct tnode {
    struct fixture *f;
    struct transport *t;
    struct transport_identity id;
    int admit_err;
    bool up[16];
    unsigned ups;
    unsigned downs;
    unsigned controls;
    uint16_t last_call;
    char last_control[64];
    uint32_t last_from;
    bool hold; /* keep the references of what comes, all entries of it */
    struct entry *held[4096];
    size_t held_n;
    struct received *received;
    size_t received_n;
    int refused_err;
    bool closed;
};

struct fixture {
    struct env *env;
    struct logger logger;
    struct buf_pool *pool;
    unsigned warnings;
    char last_warning[1024];
    struct timer limit;
    struct timer poll;
    struct env_hook hook;
    bool (*holds)(void *data);
    void *holds_data;
    struct tnode nodes[4];
};

static inline void fixture_log(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    struct fixture *f = logger->data;
    if (level <= LOG_WARN) {
        f->warnings++;
        snprintf(f->last_warning, sizeof(f->last_warning), "%.*s", (int)length, line);
    }
    if (getenv("CAIRN_TEST_LOG") != NULL) {
        fprintf(stderr, "%.*s\n", (int)length, line);
    }
}

static inline void fixture_expired(struct timer *timer)
{
    fprintf(stderr, "what was waited for did not come in %u ms\n", LIMIT_MS);
    abort();
}

static inline void fixture_poll(struct timer *timer)
{
    struct fixture *f = container_of(timer, struct fixture, poll);
    env_timer_start(f->env, &f->poll, 2);
}

static inline void fixture_turn(struct env_hook *hook)
{
    struct fixture *f = container_of(hook, struct fixture, hook);
    if (f->holds != NULL && f->holds(f->holds_data)) {
        f->holds = NULL;
        env_loop_stop(f->env);
    }
}

/* Run the loop until @holds. */
static inline void until(struct fixture *f, bool (*holds)(void *data), void *data)
{
    f->holds = holds;
    f->holds_data = data;
    env_timer_start(f->env, &f->limit, LIMIT_MS);
    env_timer_start(f->env, &f->poll, 1);
    env_uv_run(f->env);
    env_timer_stop(f->env, &f->limit);
    env_timer_stop(f->env, &f->poll);
}


struct span {
    struct env *env;
    uint64_t end_ms;
};

static inline bool span_over(void *data)
{
    struct span *s = data;
    return env_now_ms(s->env) >= s->end_ms;
}

/* For showing that something does not happen. */
static inline void run_for(struct fixture *f, uint64_t ms)
{
    struct span s = {.env = f->env, .end_ms = env_now_ms(f->env) + ms};
    until(f, span_over, &s);
}

static inline void on_message(void *data, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                              struct entry **entries, size_t n)
{
    struct tnode *node_self = data;
    struct received *r;
    for (size_t i = 0; node_self->hold && i < n; i++) {
        assert_true(node_self->held_n < 4096);
        node_self->held[node_self->held_n++] = entry_acquire(entries[i]);
    }
    assert_true(node_self->received_n < RECEIVED_MAX);
    r = &node_self->received[node_self->received_n++];
    r->group = group;
    r->n = (uint32_t)n;
    r->size = (uint32_t)size;
    memcpy(r->header, header, size < sizeof(r->header) ? size : sizeof(r->header));
    for (size_t i = 0; i < n && i < 4; i++) {
        r->entries[i] = entry_acquire(entries[i]);
    }
    node_self->last_from = node;
}

static inline void on_control(void *data, uint32_t node, uint16_t call, const uint8_t *message, size_t size)
{
    struct tnode *self = data;
    self->controls++;
    self->last_call = call;
    self->last_from = node;
    snprintf(self->last_control, sizeof(self->last_control), "%.*s", (int)size, (const char *)message);
}

static inline void on_link(void *data, uint32_t node, bool up)
{
    struct tnode *self = data;
    assert_true(node < 16);
    assert_true(self->up[node] != up);
    self->up[node] = up;
    if (up) {
        self->ups++;
    } else {
        self->downs++;
    }
}

static inline int on_admit(void *data, const struct transport_identity *peer, char *text)
{
    struct tnode *self = data;
    if (self->admit_err != 0) {
        snprintf(text, ERRMSG_SIZE, "the owner says no to node %u", peer->node);
    }
    return self->admit_err;
}

static inline void on_refused(void *data, uint32_t node, int err, const char *text)
{
    struct tnode *self = data;
    self->refused_err = err;
}

static const struct transport_ops test_ops = {
    .message = on_message, .control = on_control, .link = on_link, .admit = on_admit, .refused = on_refused};

static inline struct uuid test_uuid(uint8_t x)
{
    struct uuid u;
    memset(&u, x, sizeof(u));
    return u;
}

/* Node @i gets id i + 1; @receive_max 0: a lot. */
static inline struct tnode *node_open(struct fixture *f, unsigned i, uint64_t receive_max)
{
    struct tnode *node = &f->nodes[i];
    struct transport_params params = {.env = f->env,
                                      .pool = f->pool,
                                      .self = &node->id,
                                      .listen_address = "127.0.0.1:0",
                                      .receive_max_bytes = receive_max != 0 ? receive_max : 1u << 30,
                                      .ops = &test_ops,
                                      .data = node};
    char errmsg[ERRMSG_SIZE];
    node->f = f;
    if (node->id.node == 0) {
        node->id.node = i + 1;
        node->id.disk_id = test_uuid((uint8_t)(i + 1));
        node->id.cluster_id = test_uuid(0xCC);
        node->id.boot = 5;
    }
    if (node->received == NULL) {
        node->received = calloc(RECEIVED_MAX, sizeof(*node->received));
        assert_non_null(node->received);
    }
    node->closed = false;
    assert_int_equal(transport_open(&params, &node->t, errmsg), 0);
    return node;
}

static inline void node_drop_received(struct tnode *node)
{
    for (size_t i = 0; i < node->received_n; i++) {
        for (size_t k = 0; k < node->received[i].n && k < 4; k++) {
            entry_release(node->received[i].entries[k]);
        }
    }
    node->received_n = 0;
    while (node->held_n > 0) {
        entry_release(node->held[--node->held_n]);
    }
}

static inline void on_closed_node(void *data)
{
    struct tnode *node = data;
    node->closed = true;
}

static inline bool node_is_closed(void *data)
{
    return ((struct tnode *)data)->closed;
}

static inline void node_close(struct tnode *node)
{
    if (node->t == NULL) {
        return;
    }
    transport_close(node->t, on_closed_node, node);
    assert_false(node->closed); /* never inside the call */
    until(node->f, node_is_closed, node);
    node->t = NULL;
    memset(node->up, 0, sizeof(node->up));
}

static inline void dial(struct tnode *from, const struct tnode *to)
{
    assert_int_equal(transport_peer_set(from->t, to->id.node, transport_address(to->t)), 0);
}

static inline bool is_up(void *data)
{
    struct tnode **pair = data;
    return pair[0]->up[pair[1]->id.node];
}

static inline void wait_up(struct tnode *from, struct tnode *to)
{
    struct tnode *pair[2] = {from, to};
    until(from->f, is_up, pair);
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct env_uv_params params = {.logger = &f->logger};
    assert_non_null(f);
    f->logger = (struct logger){LOG_INFO, fixture_log, f};
    assert_int_equal(env_uv_new(&params, &f->env), 0);
    f->pool = buf_pool_new(64u << 20);
    assert_non_null(f->pool);
    timer_init(&f->limit, fixture_expired);
    timer_init(&f->poll, fixture_poll);
    f->hook.run = fixture_turn;
    env_hook_add(f->env, &f->hook);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 4; i++) {
        node_close(&f->nodes[i]);
        node_drop_received(&f->nodes[i]);
        free(f->nodes[i].received);
    }
    env_hook_remove(&f->hook);
    env_uv_free(f->env);
    assert_int_equal(buf_pool_bytes_out(f->pool), 0); /* nothing leaks */
    buf_pool_free(f->pool);
    free(f);
    return 0;
}

static inline struct entry *test_entry(struct buf_pool *pool, uint64_t group, uint64_t index, uint32_t length)
{
    struct buf *buf = buf_new(pool, length == 0 ? 1 : length);
    struct entry *entry;
    assert_non_null(buf);
    for (uint32_t i = 0; i < length; i++) {
        buf->data[i] = (uint8_t)(index + i);
    }
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, length);
    assert_non_null(entry);
    buf_release(buf);
    entry->group = group;
    entry->index = index;
    entry->term = 3;
    entry->time_ms = 1234;
    entry->base_offset = -1;
    return entry;
}

#define fixture_test(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

#endif
