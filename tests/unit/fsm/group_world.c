#include "tests/unit/fsm/group_world.h"

static int propose(void *data, struct entry *entry, uint64_t token)
{
    struct group_world *w = data;
    if (w->refuse != 0) {
        return w->refuse;
    }
    assert_true(w->n_queue < sizeof w->queue / sizeof w->queue[0]);
    w->queue[w->n_queue++] = (struct queued){.entry = entry, .token = token};
    return 0;
}

static int confirm(void *data, uint64_t token)
{
    return propose(data, NULL, token);
}

static void answer(void *data, struct coordinator_request *request)
{
    struct call *call = (struct call *)(void *)request;
    call->answers++;
    assert_int_equal(call->answers, 1);
    if (call->answered != NULL) {
        call->answered(call);
    }
}

static const struct coordinator_ops ops = {.propose = propose, .confirm = confirm, .answer = answer};

void world_open(struct group_world *w)
{
    memset(w, 0, sizeof *w);
    coordinator_config_default(&w->config);
    w->now_ms = 1000000;
    w->wall_ms = 1700000000000;
    w->fsm = groups_fsm_new();
    w->c = coordinator_new(w->fsm, &w->config, &ops, w);
    assert_non_null(w->c);
    assert_int_equal(coordinator_lead(w->c, w->now_ms), 0);
}

static void stop(struct group_world *w)
{
    coordinator_step_down(w->c);
    for (size_t i = 0; i < w->n_queue; i++) {
        entry_release(w->queue[i].entry);
    }
    w->n_queue = 0;
    coordinator_free(w->c);
    w->c = NULL;
}

void world_close(struct group_world *w)
{
    stop(w);
    groups_fsm_free(w->fsm);
    for (size_t i = 0; i < w->n_log; i++) {
        entry_release(w->log[i]);
    }
    free(w->log);
}

static struct queued pop(struct group_world *w)
{
    struct queued q = w->queue[0];
    memmove(&w->queue[0], &w->queue[1], --w->n_queue * sizeof w->queue[0]);
    return q;
}

static struct group_reply apply(struct group_world *w, struct entry *entry)
{
    struct group_reply reply;
    bool fails = w->memory_fails != NULL && *w->memory_fails;
    if (fails) {
        *w->memory_fails = false;
    }
    entry->index = ++w->index;
    entry->time_ms = w->wall_ms;
    assert_int_equal(groups_fsm_apply(w->fsm, entry, &reply), 0);
    if (w->applied != NULL) {
        w->applied(w, entry, &reply);
    }
    if (w->n_log % 1024 == 0) {
        w->log = realloc(w->log, (w->n_log + 1024) * sizeof w->log[0]);
        assert_non_null(w->log);
    }
    w->log[w->n_log++] = entry;
    if (fails) {
        *w->memory_fails = true;
    }
    return reply;
}

bool world_commit_one(struct group_world *w)
{
    struct queued q;
    if (w->n_queue == 0) {
        return false;
    }
    q = pop(w);
    if (q.entry == NULL) {
        coordinator_confirmed(w->c, w->now_ms, q.token, 0);
    } else {
        struct group_reply reply = apply(w, q.entry);
        coordinator_proposed(w->c, w->now_ms, q.token, 0, &reply);
    }
    return true;
}

void world_commit(struct group_world *w)
{
    while (world_commit_one(w)) {
    }
}

void world_fail_one(struct group_world *w, int status)
{
    struct queued q;
    assert_true(w->n_queue > 0);
    q = pop(w);
    entry_release(q.entry);
    if (q.entry == NULL) {
        coordinator_confirmed(w->c, w->now_ms, q.token, status);
    } else {
        coordinator_proposed(w->c, w->now_ms, q.token, status, NULL);
    }
}

void world_change_leader(struct group_world *w, size_t keep)
{
    struct groups_fsm *replica = groups_fsm_new();
    struct group_reply reply;
    struct queued kept[4096];
    size_t n_kept = 0;
    while (n_kept < keep && w->n_queue > 0) {
        kept[n_kept++] = pop(w);
    }
    stop(w);
    for (size_t i = 0; i < n_kept; i++) {
        if (kept[i].entry != NULL) {
            apply(w, kept[i].entry);
        }
    }
    /* The new leader has only ever seen the log. */
    for (size_t i = 0; i < w->n_log; i++) {
        assert_int_equal(groups_fsm_apply(replica, w->log[i], &reply), 0);
    }
    assert_int_equal(groups_fsm_digest(replica), groups_fsm_digest(w->fsm));
    groups_fsm_free(w->fsm);
    w->fsm = replica;
    w->c = coordinator_new(w->fsm, &w->config, &ops, w);
    assert_non_null(w->c);
    assert_int_equal(coordinator_lead(w->c, w->now_ms), 0);
}

void world_pass(struct group_world *w, uint64_t ms)
{
    uint64_t end_ms = w->now_ms + ms;
    world_commit(w);
    while (coordinator_deadline(w->c) <= end_ms) {
        uint64_t next_ms = coordinator_deadline(w->c);
        if (next_ms > w->now_ms) {
            w->wall_ms += (int64_t)(next_ms - w->now_ms);
            w->now_ms = next_ms;
        }
        coordinator_tick(w->c, w->now_ms);
        world_commit(w);
    }
    w->wall_ms += (int64_t)(end_ms - w->now_ms);
    w->now_ms = end_ms;
}

void call_reset(struct call *call)
{
    if (call->request.verb != 0) {
        assert_int_equal(call->answers, 1);
        coordinator_request_release(&call->request);
    }
    memset(call, 0, sizeof *call);
}

/* A consumer's subscription to topic "a", version 0. */
const struct coordinator_protocol range_protocol[1] = {
    {.name = "range", .metadata = "\0\0\0\0\0\1\0\1a\0\0\0\0", .size = 13}};

static void fill_join(struct group_world *w, struct call *call, const char *member, const char *instance)
{
    static uint64_t uuids;
    call_reset(call);
    call->join = (struct coordinator_join){
        .group = "g",
        .member = member,
        .instance = instance,
        .client_id = "client",
        .client_host = "/127.0.0.1",
        .protocol_type = "consumer",
        .session_timeout_ms = 10000,
        .rebalance_timeout_ms = 60000,
        .protocols = range_protocol,
        .n_protocols = 1,
        .uuid = uuid_from_random(1, ++uuids),
    };
}

void send_join(struct group_world *w, struct call *call, const char *member)
{
    fill_join(w, call, member, NULL);
    coordinator_join(w->c, w->now_ms, &call->join);
}

void send_static_join(struct group_world *w, struct call *call, const char *member, const char *instance)
{
    fill_join(w, call, member, instance);
    coordinator_join(w->c, w->now_ms, &call->join);
}

void send_sync(struct group_world *w, struct call *call, const char *member, int32_t generation)
{
    call_reset(call);
    call->sync = (struct coordinator_sync){.group = "g", .member = member, .generation = generation};
    coordinator_sync(w->c, w->now_ms, &call->sync);
}

void send_heartbeat(struct group_world *w, struct call *call, const char *member, int32_t generation)
{
    call_reset(call);
    call->heartbeat = (struct coordinator_heartbeat){.group = "g", .member = member, .generation = generation};
    coordinator_heartbeat(w->c, w->now_ms, &call->heartbeat);
}

void send_leave(struct group_world *w, struct call *call, struct coordinator_leaver *leaver)
{
    call_reset(call);
    call->leave = (struct coordinator_leave){.group = "g", .members = leaver, .n_members = 1};
    coordinator_leave(w->c, w->now_ms, &call->leave);
}

void send_commit(struct group_world *w, struct call *call, const char *member, int32_t generation,
                 struct coordinator_part *part)
{
    call_reset(call);
    call->commit = (struct coordinator_commit){
        .group = "g", .member = member, .generation = generation, .retention_ms = -1, .parts = part, .n_parts = 1};
    coordinator_commit(w->c, w->now_ms, &call->commit);
}

void send_fetch(struct group_world *w, struct call *call, struct coordinator_part *part)
{
    call_reset(call);
    call->fetch = (struct coordinator_fetch){.group = "g", .all = part == NULL, .parts = part, .n_parts = part != NULL};
    coordinator_fetch(w->c, w->now_ms, &call->fetch);
}

void send_describe(struct group_world *w, struct call *call)
{
    call_reset(call);
    call->describe.group = "g";
    coordinator_describe(w->c, w->now_ms, &call->describe);
}

struct uuid topic_uuid(unsigned n)
{
    return uuid_from_random(77, n);
}
