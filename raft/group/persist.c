/* The group's write stream: what the core wants durable goes to the shard log, in order, and its completion back. */
#include "raft/group/internal.h"

#include <assert.h>
#include <stdlib.h>

static int write_room(struct group_write *w, uint32_t n)
{
    struct entry **bigger;

    if (n <= w->capacity) {
        return 0;
    }
    bigger = realloc(w->write.entries, n * sizeof(struct entry *));
    if (bigger == NULL) {
        return ERR_NOMEM;
    }
    w->write.entries = bigger;
    w->capacity = n;
    return 0;
}

/* NULL: out of memory. */
struct group_write *write_new(struct group_host *host, struct group *g, uint32_t n_entries)
{
    struct list *node = list_pop_front(&host->write_pool);
    struct group_write *w;

    if (node != NULL) {
        host->write_pool_n--;
        w = list_entry(node, struct group_write, link);
    } else {
        w = calloc(1, sizeof(*w));
        if (w == NULL) {
            return NULL;
        }
        list_init(&w->link);
    }
    if (write_room(w, n_entries) != 0) {
        free(w->write.entries);
        free(w);
        return NULL;
    }
    w->host = host;
    w->group = g;
    w->generation = g != NULL ? g->generation : 0;
    w->sequence = 0;
    w->deleted = NULL;
    w->write.group = g != NULL ? g->wal : NULL;
    w->write.has_hard_state = false;
    w->write.n_entries = 0;
    w->write.done = group_written;
    host->outstanding++;
    list_push_back(g != NULL ? &g->writes : &host->orphans, &w->link);
    return w;
}

/* Releases what it holds; the host may be gone afterwards when it was closed. */
void write_free(struct group_write *w)
{
    struct group_host *host = w->host;

    for (uint32_t i = 0; i < w->write.n_entries; i++) {
        entry_release(w->write.entries[i]);
    }
    w->write.n_entries = 0;
    list_remove(&w->link);
    if (host->closed || host->write_pool_n >= WRITES_KEEP || w->capacity > WRITE_ENTRIES_KEEP) {
        free(w->write.entries);
        free(w);
    } else {
        list_push_front(&host->write_pool, &w->link);
        host->write_pool_n++;
    }
    host_unref(host);
}

/* The leader stamps what the core itself made (barriers, changes); proposals are stamped before they are submitted. */
static void stamp(struct group *g, struct entry *entry)
{
    if (entry->time_ms == 0 && core_role(g->core) == CORE_LEADER && entry->term == core_term(g->core)) {
        int64_t now_ms = env_wall_ms(g->host->env);
        entry->time_ms = now_ms > g->time_ms ? now_ms : g->time_ms;
    }
    if (entry->time_ms > g->time_ms) {
        g->time_ms = entry->time_ms;
    }
}

void group_persist(struct core *core, const struct core_write *cw)
{
    struct group *g = core_data(core);
    struct group_write *w;

    if (g->state != GROUP_OPEN) {
        return; /* an earlier one could not be taken: none behind it may be */
    }
    assert(cw->install == NULL); /* installs are not let in (host.c) */
    w = write_new(g->host, g, (uint32_t)cw->n);
    if (w == NULL) {
        g->state = GROUP_BROKEN;
        group_dirty(g);
        return;
    }
    w->sequence = cw->sequence;
    w->write.has_hard_state = cw->has_hard_state;
    w->write.term = cw->term;
    w->write.vote = cw->vote;
    for (size_t i = 0; i < cw->n; i++) {
        stamp(g, cw->entries[i]);
        w->write.entries[i] = entry_acquire(cw->entries[i]);
    }
    w->write.n_entries = (uint32_t)cw->n;
    wal_append(g->host->wal, &w->write);
}

void group_written(struct wal_write *write)
{
    struct group_write *w = container_of(write, struct group_write, write);
    struct group *g = w->group;
    uint64_t sequence = w->sequence;
    bool current = g != NULL && w->generation == g->generation;

    if (w->deleted != NULL) {
        w->deleted(w->deleted_data);
    }
    write_free(w);
    if (!current) {
        return;
    }
    host_now(g->host);
    if (sequence == 0) {
        assert(g->state == GROUP_CREATING);
        load_start(g);
        return;
    }
    if (g->state == GROUP_OPEN) {
        int rv = core_persisted(g->core, sequence);
        assert(rv == 0 || rv == ERR_SHUTDOWN);
        (void)rv;
        group_after(g);
    }
}

/* The group goes: what the shard log holds comes back to nobody. */
void writes_orphan(struct group *g)
{
    struct list *node;

    while ((node = list_pop_front(&g->writes)) != NULL) {
        struct group_write *w = list_entry(node, struct group_write, link);
        w->group = NULL;
        list_push_back(&g->host->orphans, &w->link);
    }
}
