/* Three members on one real loop, in folders of their own. */
#ifndef CAIRN_TESTS_GROUP_CLUSTER_H
#define CAIRN_TESTS_GROUP_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "raft/env/env_uv.h"
#include "tests/unit/group/member.h"

#define LIMIT_MS 20000u
#define NODES 3

struct cluster {
    struct env *env;
    struct logger logger;
    char root[64];
    char dirs[NODES + 2][96];
    char addresses[NODES + 2][ENV_ADDRESS_MAX];
    struct member members[NODES + 2]; /* [1..NODES], and a fourth for those who join */
    bool up[NODES + 2];
    uint64_t boot;
    uint64_t cache_bytes;
    struct timer limit;
    struct timer poll;
    struct env_hook hook;
    bool (*holds)(void *data);
    void *holds_data;
};

static inline void cluster_log(struct logger *logger, enum log_level level, const char *line, size_t length)
{
    if (getenv("CAIRN_TEST_LOG") != NULL) {
        fprintf(stderr, "%.*s\n", (int)length, line);
    }
}

static inline void cluster_expired(struct timer *timer)
{
    fprintf(stderr, "what was waited for did not come in %u ms\n", LIMIT_MS);
    abort();
}

static inline void cluster_poll(struct timer *timer)
{
    struct cluster *c = container_of(timer, struct cluster, poll);
    env_timer_start(c->env, &c->poll, 2);
}

static inline void cluster_turn(struct env_hook *hook)
{
    struct cluster *c = container_of(hook, struct cluster, hook);
    if (c->holds != NULL && c->holds(c->holds_data)) {
        c->holds = NULL;
        env_loop_stop(c->env);
    }
}

static inline void until(struct cluster *c, bool (*holds)(void *data), void *data)
{
    c->holds = holds;
    c->holds_data = data;
    env_timer_start(c->env, &c->limit, LIMIT_MS);
    env_timer_start(c->env, &c->poll, 1);
    env_uv_run(c->env);
    env_timer_stop(c->env, &c->limit);
    env_timer_stop(c->env, &c->poll);
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

static inline void run_for(struct cluster *c, uint64_t ms)
{
    struct span s = {.env = c->env, .end_ms = env_now_ms(c->env) + ms};
    until(c, span_over, &s);
}

static inline void node_up(struct cluster *c, uint32_t node)
{
    struct member_params params = {.env = c->env,
                                   .node = node,
                                   .dir = c->dirs[node],
                                   .listen = c->addresses[node][0] != '\0' ? c->addresses[node] : "127.0.0.1:0",
                                   .boot = ++c->boot,
                                   .cache_bytes = c->cache_bytes,
                                   .election_timeout_ms = 300,
                                   .heartbeat_ms = 100};
    int rv = member_open(&c->members[node], &params);
    if (rv != 0) {
        fail_msg("open node %u: %s", node, c->members[node].error);
    }
    snprintf(c->addresses[node], ENV_ADDRESS_MAX, "%s", transport_address(c->members[node].transport));
    c->up[node] = true;
    for (uint32_t i = 1; i <= NODES + 1; i++) {
        if (i != node && c->up[i]) {
            assert_int_equal(transport_peer_set(c->members[node].transport, i, c->addresses[i]), 0);
            assert_int_equal(transport_peer_set(c->members[i].transport, node, c->addresses[node]), 0);
        }
    }
}

static inline bool node_is_closed(void *data)
{
    return member_closed(data);
}

static inline void node_down(struct cluster *c, uint32_t node)
{
    member_close(&c->members[node]);
    until(c, node_is_closed, &c->members[node]);
    member_free(&c->members[node]);
    c->up[node] = false;
}

static inline void founders_of(unsigned number, struct core_config *out)
{
    static const uint32_t nodes[NODES] = {1, 2, 3};
    member_founders(number, nodes, NODES, out);
}

static inline void found(struct cluster *c, unsigned number, uint32_t preferred)
{
    struct core_config founders;
    founders_of(number, &founders);
    for (uint32_t i = 1; i <= NODES; i++) {
        if (c->up[i] && c->members[i].groups[number].g == NULL) {
            assert_int_equal(member_group(&c->members[i], number, &founders, preferred), 0);
        }
    }
}

/* The one that leads and may serve, or NULL. */
static inline struct mgroup *leader(struct cluster *c, unsigned number)
{
    for (uint32_t i = 1; i <= NODES + 1; i++) {
        if (c->up[i] && c->members[i].groups[number].ready) {
            return &c->members[i].groups[number];
        }
    }
    return NULL;
}

struct wanted {
    struct cluster *c;
    unsigned number;
    size_t n;
};

static inline bool has_leader(void *data)
{
    struct wanted *w = data;
    return leader(w->c, w->number) != NULL;
}

static inline struct mgroup *wait_leader(struct cluster *c, unsigned number)
{
    struct wanted w = {c, number, 0};
    until(c, has_leader, &w);
    return leader(c, number);
}

static inline bool all_applied(void *data)
{
    struct wanted *w = data;
    for (uint32_t i = 1; i <= NODES + 1; i++) {
        struct mgroup *mg = &w->c->members[i].groups[w->number];
        if (w->c->up[i] && mg->g != NULL && mg->n < w->n) {
            return false;
        }
    }
    return true;
}

/* All have applied what the leader has, and it is the same. */
static inline void wait_equal(struct cluster *c, unsigned number)
{
    struct mgroup *first = wait_leader(c, number);
    struct wanted w = {c, number, first->n};
    until(c, all_applied, &w);
    for (uint32_t i = 1; i <= NODES + 1; i++) {
        struct mgroup *mg = &c->members[i].groups[number];
        if (c->up[i] && mg->g != NULL) {
            assert_memory_equal(mg->applied, first->applied, w.n * sizeof(*first->applied));
        }
    }
}

struct proposal {
    struct group_proposal p;
    uint64_t value;
    bool ended;
    int status;
};

static inline void proposal_done(struct group_proposal *p, int status)
{
    struct proposal *proposal = container_of(p, struct proposal, p);
    assert_false(proposal->ended);
    proposal->ended = true;
    proposal->status = status;
}

static inline bool proposal_ended(void *data)
{
    return ((struct proposal *)data)->ended;
}

static inline int propose(struct mgroup *mg, struct proposal *proposal, uint64_t value, uint32_t size)
{
    int rv;
    memset(proposal, 0, sizeof(*proposal));
    proposal->value = value;
    proposal->p.entry = member_entry(mg->member, value, size);
    assert_non_null(proposal->p.entry);
    proposal->p.done = proposal_done;
    rv = group_propose(mg->g, &proposal->p);
    if (rv != 0) {
        entry_release(proposal->p.entry); /* still ours */
    }
    return rv;
}

/* Propose and wait until it is applied. */
static inline void put(struct cluster *c, struct mgroup *mg, uint64_t value, uint32_t size)
{
    struct proposal proposal;
    assert_int_equal(propose(mg, &proposal, value, size), 0);
    assert_false(proposal.ended);
    until(c, proposal_ended, &proposal);
    assert_int_equal(proposal.status, 0);
}

static inline size_t count_value(const struct mgroup *mg, uint64_t value)
{
    size_t n = 0;
    for (size_t i = 0; i < mg->n; i++) {
        n += mg->applied[i].kind == ENTRY_COMMAND && mg->applied[i].value == value;
    }
    return n;
}

struct waiter {
    struct group_barrier b;
    bool ended;
    int status;
};

static inline void waiter_done(struct group_barrier *b, int status)
{
    struct waiter *w = container_of(b, struct waiter, b);
    assert_false(w->ended);
    w->ended = true;
    w->status = status;
}

static inline bool waiter_ended(void *data)
{
    return ((struct waiter *)data)->ended;
}

static inline void cluster_loop(struct cluster *c)
{
    assert_int_equal(env_uv_new(&(struct env_uv_params){.logger = &c->logger}, &c->env), 0);
    timer_init(&c->limit, cluster_expired);
    timer_init(&c->poll, cluster_poll);
    c->hook.run = cluster_turn;
    env_hook_add(c->env, &c->hook);
}

static inline int cluster_setup(void **state)
{
    struct cluster *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->logger = (struct logger){LOG_INFO, cluster_log, c};
    c->cache_bytes = 16u << 20;
    cluster_loop(c);
    snprintf(c->root, sizeof(c->root), "/tmp/cairn-group-XXXXXX");
    assert_non_null(mkdtemp(c->root));
    for (uint32_t i = 1; i <= NODES + 1; i++) {
        snprintf(c->dirs[i], sizeof(c->dirs[i]), "%s/n%u", c->root, i);
        assert_int_equal(env_dir_make(c->env, c->dirs[i]), 0);
    }
    *state = c;
    return 0;
}

static inline void unlink_name(void *data, const char *name)
{
    char path[ENV_PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", (const char *)data, name);
    unlink(path);
}

static inline int cluster_teardown(void **state)
{
    struct cluster *c = *state;
    for (uint32_t i = 1; i <= NODES + 1; i++) {
        if (c->up[i]) {
            node_down(c, i);
        }
        assert_int_equal(env_dir_list(c->env, c->dirs[i], unlink_name, c->dirs[i]), 0);
        rmdir(c->dirs[i]);
    }
    rmdir(c->root);
    env_hook_remove(&c->hook);
    env_uv_free(c->env);
    free(c);
    return 0;
}

#define cluster_test(function) cmocka_unit_test_setup_teardown(function, cluster_setup, cluster_teardown)

#endif
