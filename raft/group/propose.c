/* Proposals and barriers: queued during a turn, submitted together at its end, ended when applied or at step-down. */
#include "proto/base/mutant.h"
#include "raft/group/internal.h"

#include <assert.h>

static void finish(struct group *g, struct group_proposal *p, int status)
{
    struct entry *entry = p->entry;

    assert(g->uncommitted_bytes >= entry->length);
    g->uncommitted_bytes -= entry->length;
    p->done(p, status); /* @p is the caller's again */
    entry_release(entry);
}

static void finish_all(struct group *g, struct list *from, int status)
{
    struct list ending;
    struct list *node;

    list_init(&ending);
    list_splice_back(&ending, from);
    while ((node = list_pop_front(&ending)) != NULL) {
        finish(g, list_entry(node, struct group_proposal, link), status);
    }
}

static void barriers_end(struct list *from, int status)
{
    struct list ending;
    struct list *node;

    list_init(&ending);
    list_splice_back(&ending, from);
    while ((node = list_pop_front(&ending)) != NULL) {
        struct group_barrier *b = list_entry(node, struct group_barrier, link);
        b->done(b, status);
    }
}

void proposals_end(struct group *g, int submitted, int queued)
{
    finish_all(g, &g->pending, submitted);
    finish_all(g, &g->queued, queued);
    barriers_end(&g->barriers_pending, queued); /* a read: nothing of it can happen later */
    barriers_end(&g->barriers, queued);
}

void proposals_applied(struct group *g, const struct entry *entry)
{
    while (!list_empty(&g->pending)) {
        struct group_proposal *p = list_entry(g->pending.next, struct group_proposal, link);
        if (p->entry->index > entry->index) {
            return;
        }
        list_remove(&p->link);
        /* All pending ones are of the term in which this replica leads, so they are what stands in the log. */
        finish(g, p, p->entry->index == entry->index && p->entry->term == entry->term ? 0 : ERR_UNKNOWN_OUTCOME);
    }
}

void barriers_applied(struct group *g)
{
    if (!list_empty(&g->barriers_pending) && g->applied >= g->barrier_index) {
        barriers_end(&g->barriers_pending, 0);
    }
}

static int may_propose(struct group *g)
{
    if (g->state != GROUP_OPEN || !g->leading || !group_still_leads(g)) {
        return ERR_NOT_LEADER;
    }
    return g->ready ? 0 : ERR_LEADER_NOT_READY;
}

int group_propose(struct group *g, struct group_proposal *p)
{
    int rv = may_propose(g);

    if (rv != 0) {
        return rv;
    }
    assert(p->entry->kind == ENTRY_BATCH || p->entry->kind == ENTRY_COMMAND);
    if (g->uncommitted_bytes > 0 && g->uncommitted_bytes + p->entry->length > GROUP_UNCOMMITTED_MAX_BYTES) {
        return ERR_BUSY;
    }
    g->uncommitted_bytes += p->entry->length;
    list_push_back(&g->queued, &p->link);
    group_dirty(g);
    return 0;
}

int group_barrier(struct group *g, struct group_barrier *b)
{
    int rv = may_propose(g);

    if (rv != 0) {
        return rv;
    }
    list_push_back(&g->barriers, &b->link);
    group_dirty(g);
    return 0;
}

/* All that is queued and has room goes to the core at once. Returns the index of the last one, 0: none. */
static uint64_t submit_queued(struct group *g)
{
    struct entry **entries = g->host->scratch;
    size_t room = core_submit_room(g->core);
    int64_t now_ms = env_wall_ms(g->host->env);
    size_t n = 0;
    int rv;

    if (room > CORE_APPEND_ENTRIES_MAX) {
        room = CORE_APPEND_ENTRIES_MAX;
    }
    if (now_ms < g->time_ms) {
        now_ms = g->time_ms;
    }
    while (n < room && !list_empty(&g->queued)) {
        struct group_proposal *p = list_entry(g->queued.next, struct group_proposal, link);
        p->entry->group = g->id;
        p->entry->time_ms = now_ms;
        entries[n++] = p->entry;
        list_remove(&p->link);
        list_push_back(&g->pending, &p->link); /* from here on its outcome may be unknown */
    }
    if (n == 0) {
        return 0;
    }
    g->time_ms = now_ms;
    g->host->stats.submits++;
    g->host->stats.proposals += n;
    rv = core_submit(g->core, entries, n);
    assert(rv == 0 || rv == ERR_SHUTDOWN); /* it leads, and there was room */
    if (rv == 0 && MUTANT(ACK_AT_SUBMIT)) {
        finish_all(g, &g->pending, 0);
    }
    return rv == 0 ? core_last(g->core) : 0;
}

void group_submit(struct group *g)
{
    uint64_t index;

    if (g->state != GROUP_OPEN || !group_still_leads(g) || (list_empty(&g->queued) && list_empty(&g->barriers))) {
        return;
    }
    index = submit_queued(g);
    if (core_failed(g->core) || list_empty(&g->barriers) || !list_empty(&g->barriers_pending)) {
        return; /* one barrier at a time: waiters that come meanwhile share the next */
    }
    if (index == 0) {
        if (core_submit_room(g->core) == 0 || core_barrier(g->core, &index) != 0) {
            return; /* when something commits, again */
        }
        g->host->stats.barriers++;
    }
    g->barrier_index = index;
    list_splice_back(&g->barriers_pending, &g->barriers);
}
