/* All groups of a shard: their turn, their messages, their end. */
#include "proto/base/mutant.h"
#include "raft/group/internal.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(((struct wal_read *)0)->impl) >= sizeof(struct list), "a refused read is kept in a list");

void host_now(struct group_host *host)
{
    if (host->now_stale) {
        host->now_ms = env_now_ms(host->env);
        host->now_stale = false;
    }
}

void group_dirty(struct group *g)
{
    if (list_empty(&g->dirty_link)) {
        list_push_back(&g->host->dirty, &g->dirty_link);
        env_wake(g->host->env);
    }
}

static void host_free(struct group_host *host)
{
    struct list *node;

    table_free(&host->table);
    while ((node = list_pop_front(&host->write_pool)) != NULL) {
        struct group_write *w = list_entry(node, struct group_write, link);
        free(w->write.entries);
        free(w);
    }
    free(host);
}

void host_unref(struct group_host *host)
{
    assert(host->outstanding > 0);
    if (--host->outstanding == 0 && host->closed) {
        host_free(host);
    }
}

static struct wal_read *refused_read(struct list *node)
{
    return container_of(node, struct wal_read, impl);
}

static void refused_end(struct group_host *host, int status)
{
    struct list refused;
    struct list *node;

    list_init(&refused);
    list_splice_back(&refused, &host->refused);
    while ((node = list_pop_front(&refused)) != NULL) {
        struct wal_read *read = refused_read(node);
        read->done(read, status);
    }
}

static void on_turn(struct env_hook *hook)
{
    struct group_host *host = container_of(hook, struct group_host, hook);
    uint32_t budget = TURN_APPLY_ENTRIES;
    struct list dirty;
    struct list *node;

    list_init(&dirty);
    if (!list_empty(&host->dirty) || !list_empty(&host->io_answered)) {
        host_now(host);
    }
    for (int pass = 0; pass < TURN_PASSES; pass++) {
        io_deliver(host);
        if (list_empty(&host->dirty)) {
            break;
        }
        list_splice_back(&dirty, &host->dirty);
        while ((node = list_pop_front(&dirty)) != NULL) {
            group_turn(list_entry(node, struct group, dirty_link), &budget);
        }
    }
    refused_end(host, ERR_NOT_FOUND);
    if (!list_empty(&host->dirty) || !list_empty(&host->io_answered)) {
        env_wake(host->env); /* the rest in the next turn: others get theirs first */
    }
    host->now_stale = true;
}

int group_host_open(const struct group_host_params *params, struct group_host **out)
{
    struct group_host *host = calloc(1, sizeof(*host));

    if (host == NULL) {
        return ERR_NOMEM;
    }
    host->params = *params;
    host->env = params->env;
    host->wal = params->wal;
    list_init(&host->dirty);
    list_init(&host->write_pool);
    list_init(&host->orphans);
    list_init(&host->orphan_ios);
    list_init(&host->io_waiting);
    list_init(&host->io_failed);
    list_init(&host->io_answered);
    list_init(&host->refused);
    list_init(&host->groups);
    wheel_init(host);
    host->now_stale = true;
    host_now(host);
    host->hook.run = on_turn;
    env_hook_add_at(host->env, &host->hook, ENV_PHASE_SUBMIT);
    *out = host;
    return 0;
}

void group_host_close(struct group_host *host)
{
    while (!list_empty(&host->groups)) {
        group_close(list_entry(host->groups.next, struct group, link));
    }
    wheel_stop(host);
    env_hook_remove(&host->hook);
    refused_end(host, ERR_SHUTDOWN);
    host->outstanding++; /* our own, for the time of this call */
    host->closed = true;
    io_deliver(host);
    host_unref(host);
}

static void writes_free(struct list *writes)
{
    while (!list_empty(writes)) {
        write_free(list_entry(writes->next, struct group_write, link));
    }
}

static void ios_free(struct list *ios)
{
    while (!list_empty(ios)) {
        io_free(list_entry(ios->next, struct group_io, link));
    }
}

void group_host_abandon(struct group_host *host)
{
    struct list *node;

    host->outstanding++;
    while ((node = list_pop_front(&host->groups)) != NULL) {
        struct group *g = list_entry(node, struct group, link);
        writes_free(&g->writes);
        ios_free(&g->ios);
        load_drop(g);
        apply_drop(g);
        peers_free(g);
        core_close(g->core);
        while (!list_empty(&g->pending)) {
            struct group_proposal *p = list_entry(list_pop_front(&g->pending), struct group_proposal, link);
            entry_release(p->entry);
        }
        while (!list_empty(&g->queued)) {
            struct group_proposal *p = list_entry(list_pop_front(&g->queued), struct group_proposal, link);
            entry_release(p->entry);
        }
        free(g->fail_text);
        free(g);
    }
    writes_free(&host->orphans);
    ios_free(&host->orphan_ios);
    host_free(host);
}

struct group *group_host_find(struct group_host *host, uint64_t group)
{
    return table_find(&host->table, group);
}

void group_host_each(struct group_host *host, void (*each)(void *data, struct group *g), void *data)
{
    list_for_each_safe(node, &host->groups) {
        each(data, list_entry(node, struct group, link));
    }
}

void group_host_stats(const struct group_host *host, struct group_host_stats *stats)
{
    *stats = host->stats;
}

/* ---- messages ---- */

/* Is it for us, from where it says, and about entries of this group? */
static bool addressed_well(struct group *g, uint32_t node, const struct core_message *m, struct entry *const *entries,
                           size_t n)
{
    struct group_peer *peer;

    if (m->to != g->replica || m->from == g->replica) {
        return false;
    }
    peer = group_peer(g, m->from);
    if (peer != NULL && peer->member && peer->node != node) {
        return false;
    }
    if (peer != NULL) {
        peer->asked_ms = 0;
    }
    if (peer != NULL && !peer->member) {
        peer->node = node; /* answers find their way to replicas that our configuration does not list (yet) */
    }
    for (size_t i = 0; i < n; i++) {
        if (entries[i]->group != g->id) {
            return false;
        }
    }
    return true;
}

void group_host_receive(struct group_host *host, uint32_t node, uint64_t group, const uint8_t *header, size_t size,
                        struct entry **entries, size_t n)
{
    struct group *g = group_host_find(host, group);
    struct core_message m;
    int rv;

    host->stats.messages_in++;
    if (g == NULL) {
        host->stats.unknown_group++;
        return;
    }
    if (g->state != GROUP_OPEN || g->fail_err != 0) {
        host->stats.not_open++;
        return;
    }
    rv = core_message_decode(header, size, &m);
    if (rv != 0 || n != (m.type == CORE_APPEND ? m.append.n : 0)) {
        host->stats.malformed++;
        return;
    }
    if (m.type == CORE_INSTALL) {
        host->stats.installs_dropped++;
        return;
    }
    if (MUTANT(WRONG_GROUP) && host->stats.messages_in % 64 == 0 && g->link.next != &host->groups) {
        g = list_entry(g->link.next, struct group, link);
        m.to = g->replica;
        if (g->state != GROUP_OPEN || g->fail_err != 0) {
            return;
        }
    } else if (!addressed_well(g, node, &m, entries, n)) {
        host->stats.misdirected++;
        return;
    }
    host_now(host);
    rv = core_receive(g->core, &m, n > 0 ? entries : NULL);
    if (rv == ERR_MALFORMED) {
        host->stats.malformed++;
        return;
    }
    assert(rv == 0 || rv == ERR_SHUTDOWN);
    group_after(g);
}
