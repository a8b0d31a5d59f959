/* The membership's course, turn by turn; the program's side; heartbeats. */
#include "client/src/core/membership.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/consumer.h"
#include "proto/native/native.pb-c.h"

#define FLUSH_TIMEOUT_MS 5000 /* commits before partitions go: the group waits for them */
#define LEAVE_TIMEOUT_MS 2000
#define MISSING_REFRESH_MS 1000

void membership_config_init(struct membership_config *config)
{
    memset(config, 0, sizeof *config);
    config->assignors[0] = ASSIGNOR_RANGE;
    config->assignors[1] = ASSIGNOR_ROUNDROBIN;
    config->assignor_count = 2;
    config->session_timeout_ms = MEMBERSHIP_SESSION_TIMEOUT_MS;
    config->heartbeat_interval_ms = MEMBERSHIP_HEARTBEAT_INTERVAL_MS;
    config->max_poll_interval_ms = MEMBERSHIP_MAX_POLL_INTERVAL_MS;
    config->auto_commit = true;
    config->auto_commit_interval_ms = MEMBERSHIP_COMMIT_INTERVAL_MS;
}

struct membership *membership_new(struct consumer *c, const struct membership_config *config)
{
    struct membership *g = calloc(1, sizeof *g);

    if (g == NULL) {
        return NULL;
    }
    g->core = c->core;
    g->consumer = c;
    g->config = *config;
    g->generation = -1;
    g->joined_generation = -1;
    list_init(&g->commits);
    list_init(&g->asks);
    return g;
}

static void call_stop(struct core_call **call)
{
    if (*call != NULL) {
        call_cancel(*call);
        *call = NULL;
    }
}

static void event_clear(struct membership *g)
{
    membership_parts_clear(g->core, &g->event.parts);
    g->event = (struct membership_event){.kind = MEMBERSHIP_NO_EVENT, .parts = g->event.parts};
}

/* Whatever is under way to a new generation is given up. */
static void membership_stop(struct membership *g)
{
    call_stop(&g->call);
    call_stop(&g->heartbeat);
    if (g->begin != NULL) {
        if (g->begin_known) {
            membership_offsets_free(g->begin);
        } else {
            membership_offsets_cancel(g->begin);
        }
        g->begin = NULL;
    }
    membership_plan_drop(g);
    membership_parts_clear(g->core, &g->added);
}

void membership_free(struct membership *g)
{
    membership_stop(g);
    call_stop(&g->leave);
    membership_offsets_stop(g);
    event_clear(g);
    membership_parts_clear(g->core, &g->topics);
    membership_parts_clear(g->core, &g->assigned);
    free(g->topics.items);
    free(g->assigned.items);
    free(g->added.items);
    free(g->event.parts.items);
    free(g);
}

static bool cooperative(const struct membership *g)
{
    return g->config.assignor_count == 1 && g->config.assignors[0] == ASSIGNOR_COOPERATIVE_STICKY;
}

void membership_event_post(struct membership *g, enum membership_event_kind kind, struct membership_parts *parts)
{
    struct membership_parts empty = g->event.parts; /* cleared: its memory changes places */
    struct consumer_host *host = g->consumer->host;

    g->event.parts = *parts;
    *parts = empty;
    g->event.kind = kind;
    g->event.taken = false;
    g->event.ended = false;
    if (host != NULL && host->changed != NULL) {
        host->changed(host);
    }
}

void membership_end(struct membership *g, int err, const char *text)
{
    struct consumer_host *host = g->consumer->host;

    membership_stop(g);
    g->state = MEMBERSHIP_FAILED;
    g->generation = -1;
    g->failure = err;
    snprintf(g->failure_text, sizeof g->failure_text, "%s", text);
    if (!g->event.taken) {
        event_clear(g);
        if (g->assigned.count > 0) {
            membership_event_post(g, MEMBERSHIP_LOST, &g->assigned);
        }
    }
    if (host != NULL && host->changed != NULL) {
        host->changed(host);
    }
}

void membership_fenced(struct membership *g, bool keep_id)
{
    if (g->state == MEMBERSHIP_IDLE || g->state == MEMBERSHIP_FAILED) {
        return;
    }
    membership_stop(g);
    g->generation = -1;
    if (!keep_id) {
        g->member[0] = '\0';
    }
    g->rejoin = true;
    g->lost = true;
    if (g->state == MEMBERSHIP_REVOKING && !g->event.taken) {
        g->event.kind = MEMBERSHIP_LOST;
    } else if (g->state == MEMBERSHIP_ASSIGNING && !g->event.taken) {
        event_clear(g);
        g->state = MEMBERSHIP_STABLE;
    } else if (g->state != MEMBERSHIP_REVOKING && g->state != MEMBERSHIP_ASSIGNING) {
        g->state = MEMBERSHIP_STABLE;
    }
    core_wake_at(g->core, 0);
}

/* The way to a new generation begins with giving up what cannot be kept on the way. */
static void membership_rejoin(struct membership *g)
{
    g->rejoin = false;
    g->rejoin_after = false;
    g->after_flush = MEMBERSHIP_JOINING;
    g->state = MEMBERSHIP_JOINING;
    if (g->assigned.count > 0 && (g->lost || !cooperative(g))) {
        membership_event_post(g, g->lost ? MEMBERSHIP_LOST : MEMBERSHIP_REVOKED, &g->assigned);
        g->state = MEMBERSHIP_REVOKING;
    }
    g->lost = false;
}

/* What the program has given up is committed as far as it was processed. */
static void membership_flush(struct membership *g)
{
    struct membership_offsets *o = g->config.auto_commit && g->generation >= 0 ? membership_offsets_new(g) : NULL;

    for (size_t i = 0; o != NULL && i < g->event.parts.count; i++) {
        const struct membership_part *part = &g->event.parts.items[i];
        if (part->offset < 0) {
            continue;
        }
        if (membership_parts_add(g->core, &o->parts, part->topic->name, part->partition, part->offset) != 0) {
            break; /* out of memory: what is not committed is read twice */
        }
        o->parts.items[o->parts.count - 1].of_known = part->of_known;
        memcpy(o->parts.items[o->parts.count - 1].of, part->of, sizeof part->of);
    }
    if (o != NULL) {
        o->done = membership_offsets_free;
        if (o->parts.count == 0 || membership_offsets_commit(g, o, FLUSH_TIMEOUT_MS) != 0) {
            membership_offsets_free(o);
        }
    }
    g->state = MEMBERSHIP_FLUSHING;
    g->flush_deadline_ns = g->core->now_ns + FLUSH_TIMEOUT_MS * NS_PER_MS;
}

/* The program is done with an event. */
static void event_ended(struct membership *g)
{
    enum membership_event_kind kind = g->event.kind;

    if (kind == MEMBERSHIP_ASSIGNED) {
        for (size_t i = 0; i < g->event.parts.count; i++) {
            const struct membership_part *part = &g->event.parts.items[i];
            if (membership_parts_add(g->core, &g->assigned, part->topic->name, part->partition, 0) != 0) {
                g->lost = true; /* out of memory: start over */
            }
        }
        g->rejoin = g->rejoin || g->rejoin_after || g->lost;
    }
    if (g->state == MEMBERSHIP_REVOKING) {
        membership_flush(g);
    } else if (g->state == MEMBERSHIP_ASSIGNING) {
        g->state = MEMBERSHIP_STABLE;
        g->auto_commit_ns = g->core->now_ns + g->config.auto_commit_interval_ms * NS_PER_MS;
    }
    event_clear(g);
    if (g->state == MEMBERSHIP_FAILED && g->assigned.count > 0) {
        membership_event_post(g, MEMBERSHIP_LOST, &g->assigned);
    }
}

static void begin_done(struct membership_offsets *o)
{
    struct membership *g = o->group;

    g->begin_known = o->status == 0;
    if (o->status != 0) { /* the group may be moving: the heartbeat tells */
        g->added = o->parts;
        o->parts = (struct membership_parts){0};
        g->retry_ns =
            g->core->now_ns + core_backoff_ns(g->core, g->attempts++, MEMBERSHIP_RETRY_MIN_MS, MEMBERSHIP_RETRY_MAX_MS);
        membership_offsets_free(o);
        g->begin = NULL;
    }
    core_wake_at(g->core, 0);
}

/* Ask where to begin in what is new, then hand it over. */
static void membership_begin(struct membership *g)
{
    if (g->begin == NULL && g->added.count > 0) {
        struct membership_offsets *o;

        if (g->core->now_ns < g->retry_ns) {
            core_wake_at(g->core, g->retry_ns);
            return;
        }
        o = membership_offsets_new(g);
        if (o == NULL) {
            g->retry_ns = g->core->now_ns + MEMBERSHIP_RETRY_MAX_MS * NS_PER_MS;
            core_wake_at(g->core, g->retry_ns);
            return;
        }
        o->parts = g->added;
        g->added = (struct membership_parts){0};
        o->done = begin_done;
        g->begin = o;
        g->begin_known = false;
        membership_offsets_ask(g, o, MEMBERSHIP_CALL_TIMEOUT_MS);
        return;
    }
    if (g->begin != NULL && !g->begin_known) {
        return;
    }
    g->attempts = 0;
    g->state = MEMBERSHIP_ASSIGNING;
    if (g->begin != NULL) {
        membership_event_post(g, MEMBERSHIP_ASSIGNED, &g->begin->parts);
        membership_offsets_free(g->begin);
        g->begin = NULL;
    } else {
        membership_event_post(g, MEMBERSHIP_ASSIGNED, &g->added);
    }
}

static void membership_rest(struct membership *g)
{
    if (g->meta_generation != g->core->meta.generation || g->core->now_ns >= g->missing_ns) {
        g->meta_generation = g->core->meta.generation;
        g->rejoin = g->rejoin || membership_plan_stale(g);
        for (size_t i = 0; i < g->watch_count; i++) {
            if (g->watches[i].partition_count == 0 && g->core->now_ns >= g->missing_ns) {
                meta_refresh(g->core); /* somebody subscribes to a topic that is not there yet */
                g->missing_ns = g->core->now_ns + MISSING_REFRESH_MS * NS_PER_MS;
            }
            if (g->watches[i].partition_count == 0) {
                core_wake_at(g->core, g->missing_ns);
            }
        }
    }
    if (g->withheld_ns != 0 && g->core->now_ns >= g->withheld_ns) {
        g->rejoin = true;
    } else if (g->withheld_ns != 0) {
        core_wake_at(g->core, g->withheld_ns);
    }
    if (g->rejoin) {
        membership_rejoin(g);
    }
}

static void membership_step(struct membership *g)
{
    switch (g->state) {
    case MEMBERSHIP_FLUSHING:
        if (list_empty(&g->commits) || g->core->now_ns >= g->flush_deadline_ns) {
            g->state = g->after_flush;
        } else {
            core_wake_at(g->core, g->flush_deadline_ns);
        }
        break;
    case MEMBERSHIP_JOINING:
        if (g->call == NULL && !g->away && g->leave == NULL) {
            if (g->core->now_ns < g->retry_ns) {
                core_wake_at(g->core, g->retry_ns);
            } else {
                call_stop(&g->heartbeat);
                membership_ask_join(g);
            }
        }
        break;
    case MEMBERSHIP_PLANNING:
        membership_plan(g);
        break;
    case MEMBERSHIP_BEGINNING:
        if (g->rejoin) {
            membership_stop(g);
            g->state = MEMBERSHIP_STABLE;
            break;
        }
        membership_begin(g);
        break;
    case MEMBERSHIP_STABLE:
        membership_rest(g);
        break;
    case MEMBERSHIP_IDLE:
    case MEMBERSHIP_REVOKING:
    case MEMBERSHIP_SYNCING:
    case MEMBERSHIP_ASSIGNING:
    case MEMBERSHIP_FAILED:
        break;
    }
}

static void heartbeat_done(struct core_call *call, int status, const struct frame *frame)
{
    struct membership *g = call->owner;

    consumer_lock(g->consumer);
    g->heartbeat = NULL;
    g->coordinator = call->target;
    if (status == ERR_REBALANCE) {
        g->rejoin = true;
    } else if (status == ERR_UNKNOWN_MEMBER || status == ERR_ILLEGAL_GENERATION) {
        membership_fenced(g, status == ERR_ILLEGAL_GENERATION);
    } else if (status == ERR_FENCED_INSTANCE) {
        membership_end(g, status, err_text(status));
    }
    core_wake_at(g->core, 0);
    consumer_unlock(g->consumer);
}

static void membership_heartbeat(struct membership *g)
{
    Cairn__Native__GroupHeartbeatRequest m = CAIRN__NATIVE__GROUP_HEARTBEAT_REQUEST__INIT;
    uint8_t message[2 * MEMBERSHIP_ID_MAX + MEMBERSHIP_MEMBER_ID_SIZE + 32];

    if (g->generation < 0 || g->state == MEMBERSHIP_JOINING || g->heartbeat != NULL) {
        return;
    }
    if (g->core->now_ns >= g->heartbeat_ns) {
        m.group = g->config.id;
        m.member = g->member;
        m.instance = g->config.instance;
        m.generation = g->generation;
        g->heartbeat =
            membership_call(g, CALL_GROUP_HEARTBEAT, message, cairn__native__group_heartbeat_request__pack(&m, message),
                            g->config.session_timeout_ms * NS_PER_MS, heartbeat_done, g);
        g->heartbeat_ns = g->core->now_ns + g->config.heartbeat_interval_ms * NS_PER_MS;
    }
    core_wake_at(g->core, g->heartbeat_ns);
}

static void leave_done(struct core_call *call, int status, const struct frame *frame)
{
    struct membership *g = call->owner;
    struct consumer_host *host = g->consumer->host;

    consumer_lock(g->consumer);
    g->leave = NULL;
    if (host != NULL && host->changed != NULL) {
        host->changed(host);
    }
    consumer_unlock(g->consumer);
    core_wake_at(g->core, 0);
}

/* A static member's place is kept for its return (KIP-345). */
static void leave_send(struct membership *g)
{
    Cairn__Native__LeaveGroupRequest m = CAIRN__NATIVE__LEAVE_GROUP_REQUEST__INIT;
    Cairn__Native__GroupLeaver leaver = CAIRN__NATIVE__GROUP_LEAVER__INIT;
    Cairn__Native__GroupLeaver *leavers = &leaver;
    uint8_t message[MEMBERSHIP_ID_MAX + MEMBERSHIP_MEMBER_ID_SIZE + 32];

    if (g->member[0] == '\0' || g->config.instance[0] != '\0') {
        return;
    }
    call_stop(&g->leave);
    m.group = g->config.id;
    leaver.member = g->member;
    m.members = &leavers;
    m.n_members = 1;
    g->leave = membership_call(g, CALL_LEAVE_GROUP, message, cairn__native__leave_group_request__pack(&m, message),
                               LEAVE_TIMEOUT_MS * NS_PER_MS, leave_done, g);
}

/* The program does not poll: its partitions are somebody else's until it does (KIP-62). */
static void membership_check_poll(struct membership *g)
{
    uint64_t deadline_ns = g->poll_ns + g->config.max_poll_interval_ms * NS_PER_MS;

    if (g->polling || g->away || g->state == MEMBERSHIP_IDLE || g->state == MEMBERSHIP_FAILED) {
        return;
    }
    if (g->core->now_ns < deadline_ns) {
        core_wake_at(g->core, deadline_ns);
        return;
    }
    g->away = true;
    leave_send(g);
    membership_fenced(g, false);
}

static void automatic_done(struct membership_offsets *o)
{
    o->group->automatic = NULL;
    membership_offsets_free(o);
}

static void membership_commit_automatic(struct membership *g)
{
    struct membership_offsets *o;

    if (!g->config.auto_commit || (g->state != MEMBERSHIP_STABLE && g->state != MEMBERSHIP_IDLE) ||
        g->automatic != NULL) {
        return;
    }
    if (g->core->now_ns >= g->auto_commit_ns) {
        g->auto_commit_ns = g->core->now_ns + g->config.auto_commit_interval_ms * NS_PER_MS;
        if (membership_processed(g, &o) == 0 && o != NULL) {
            o->done = automatic_done;
            g->automatic = o;
            if (membership_offsets_commit(g, o, MEMBERSHIP_CALL_TIMEOUT_MS) != 0) {
                automatic_done(o);
            }
        }
    }
    core_wake_at(g->core, g->auto_commit_ns);
}

void membership_follow(struct membership *g)
{
    enum membership_state before;

    consumer_lock(g->consumer);
    if (g->event.kind != MEMBERSHIP_NO_EVENT && g->event.ended) {
        event_ended(g);
    }
    membership_check_poll(g);
    do {
        before = g->state;
        membership_step(g);
    } while (g->state != before);
    membership_heartbeat(g);
    membership_commit_automatic(g);
    consumer_unlock(g->consumer);
    membership_offsets_turn(g);
}

int membership_subscribe(struct membership *g, const char *const *topics, size_t count)
{
    struct membership_parts parts = {0};
    int rv = count == 0 || count > MEMBERSHIP_TOPICS_MAX ? ERR_INVALID : 0;

    for (size_t i = 0; i < count && rv == 0; i++) {
        size_t length = topics[i] != NULL ? strlen(topics[i]) : 0;
        rv = length == 0 || length > CLIENT_TOPIC_NAME_MAX ? ERR_INVALID
                                                           : membership_parts_add(g->core, &parts, topics[i], 0, 0);
    }
    if (rv != 0) {
        membership_parts_clear(g->core, &parts);
        free(parts.items);
        return rv;
    }
    membership_parts_clear(g->core, &g->topics);
    free(g->topics.items);
    g->topics = parts;
    g->rejoin = true;
    g->failure = 0;
    g->away = false;
    if (g->state == MEMBERSHIP_IDLE || g->state == MEMBERSHIP_FAILED) {
        g->state = MEMBERSHIP_STABLE;
        g->poll_ns = g->core->now_ns;
        g->attempts = 0;
        g->retry_ns = 0;
    }
    core_wake_at(g->core, 0);
    return 0;
}

void membership_leave(struct membership *g)
{
    membership_stop(g);
    event_clear(g);
    membership_parts_clear(g->core, &g->topics);
    membership_parts_clear(g->core, &g->assigned);
    leave_send(g);
    g->member[0] = '\0';
    g->generation = -1;
    g->state = MEMBERSHIP_IDLE;
    g->failure = 0;
    g->rejoin = g->rejoin_after = g->lost = g->away = false;
}

bool membership_left(const struct membership *g)
{
    return g->leave == NULL;
}

struct membership_event *membership_take(struct consumer *c, int *err, bool *wake)
{
    struct membership *g = c->group;
    struct membership_event *e = g != NULL ? &g->event : NULL;

    *err = 0;
    if (e == NULL || e->kind == MEMBERSHIP_NO_EVENT || e->taken) {
        return NULL;
    }
    for (size_t i = 0; e->kind == MEMBERSHIP_ASSIGNED && i < e->parts.count; i++) {
        const struct membership_part *part = &e->parts.items[i];
        int64_t from = g->config.from_latest ? CONSUMER_LATEST : CONSUMER_EARLIEST;
        struct consumer_partition *p;

        *err = consumer_assign(c, part->topic->name, part->partition, part->offset >= 0 ? part->offset : from, wake);
        if (*err != 0) {
            return NULL;
        }
        p = consumer_find(c, part->topic->name, part->partition);
        p->committed_offset = part->offset;
        if (part->of_known) { /* that this offset is of: another one that has the name by now is read from its beginning
                               */
            p->topic_known = true;
            memcpy(p->topic_id, part->of, sizeof p->topic_id);
        }
    }
    e->taken = true;
    return e;
}

void membership_done(struct consumer *c, bool *wake)
{
    struct membership_event *e = &c->group->event;

    for (size_t i = 0; e->kind != MEMBERSHIP_ASSIGNED && i < e->parts.count; i++) {
        struct membership_part *part = &e->parts.items[i];
        struct consumer_partition *p = consumer_find(c, part->topic->name, part->partition);

        part->offset = -1;
        if (p != NULL) {
            if (p->done_offset != p->committed_offset) {
                part->offset = p->done_offset;
            }
            part->of_known = p->topic_known;
            memcpy(part->of, p->topic_id, sizeof part->of);
            consumer_unassign(c, p, wake);
        }
    }
    e->ended = true;
    *wake = true;
}

void membership_polled(struct membership *g, uint64_t now_ns, bool inside, bool *wake)
{
    g->polling = inside;
    g->poll_ns = now_ns;
    if (inside && g->away) {
        g->away = false;
        *wake = true;
    }
}
