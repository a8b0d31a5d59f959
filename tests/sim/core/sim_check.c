/* The oracles. */
#include <stdlib.h>

#include "tests/sim/core/sim.h"

void violate(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (violated(w)) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(w->violation, sizeof w->violation, fmt, args);
    va_end(args);
    TRACE(w, "VIOLATION %s", w->violation);
}

void sim_trace(struct world *w, const char *fmt, ...)
{
    va_list args;
    printf("%8llu ", (unsigned long long)w->now);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

uint64_t entry_content(const struct entry *e)
{
    uint64_t value = 0;
    if (e->kind == ENTRY_COMMAND && e->length == sizeof value) {
        memcpy(&value, e->data, sizeof value);
        return value;
    }
    return (uint64_t)e->kind << 56 | (uint64_t)e->length << 32 | e->crc;
}

static uint64_t chain_next(uint64_t chain, uint64_t index, uint64_t term, uint64_t content)
{
    struct rng r = {chain ^ index * UINT64_C(0x9e3779b97f4a7c15) ^ term << 48 ^ content * 31};
    return rng_next(&r);
}

bool disk_has(const struct replica *r, uint64_t index, uint64_t term)
{
    const struct entry *e = simlog_at(&r->disk.log, index);
    if (r->disk.snap.meta.index >= index) {
        return true;
    }
    return e != NULL && e->term == term;
}

static struct placed *placed_slot(struct world *w, uint64_t index, uint64_t term)
{
    size_t i = (size_t)((index * UINT64_C(0x9e3779b97f4a7c15)) ^ (term * UINT64_C(0xc2b2ae3d27d4eb4f))) & (w->placed_size - 1);
    while (w->placed[i].index != 0 && (w->placed[i].index != index || w->placed[i].term != term)) {
        i = (i + 1) & (w->placed_size - 1);
    }
    return &w->placed[i];
}

static void placed_grow(struct world *w)
{
    struct placed *old = w->placed;
    size_t old_size = w->placed_size;
    w->placed_size = old_size == 0 ? 1024 : old_size * 2;
    w->placed = calloc(w->placed_size, sizeof *w->placed);
    if (w->placed == NULL) {
        abort();
    }
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].index != 0) {
            *placed_slot(w, old[i].index, old[i].term) = old[i];
        }
    }
    free(old);
}

/* Rule 16, where it is not switched off to show what follows: its harm takes a plot, the step itself is seen at once. */
static void check_change(struct world *w, struct replica *r, const struct entry *e)
{
    if (e->kind == ENTRY_CHANGE && e->index > 1 && core_role(r->core) == CORE_LEADER && e->term == core_term(r->core) &&
        core_term_at(r->core, core_commit(r->core)) != e->term && !OFF(w, 16)) {
        violate(w, "replica %llu changes the members in entry %llu with nothing of its term %llu committed",
                (unsigned long long)r->id, (unsigned long long)e->index, (unsigned long long)e->term);
    }
}

/* Log matching: an (index, term) is the same entry with the same predecessor everywhere. */
void check_placed(struct world *w, struct replica *r, const struct core_write *write)
{
    uint64_t prev_term = 0;

    if (r->mem.n > 0 && write->first > simlog_last(&r->mem) + 1) {
        violate(w, "log has a gap: replica %llu gets entry %llu, last is %llu", (unsigned long long)r->id,
                (unsigned long long)write->first, (unsigned long long)simlog_last(&r->mem));
        return;
    }
    if (write->first > 1) {
        const struct entry *prev = simlog_at(&r->mem, write->first - 1);
        if (prev != NULL) {
            prev_term = prev->term;
        } else if (r->snap.meta.index == write->first - 1) {
            prev_term = r->snap.meta.term;
        } else {
            violate(w, "log has a gap: replica %llu gets entry %llu, last is %llu", (unsigned long long)r->id,
                    (unsigned long long)write->first, (unsigned long long)simlog_last(&r->mem));
            return;
        }
    }
    for (size_t i = 0; i < write->n; i++) {
        const struct entry *e = write->entries[i];
        struct placed *p;
        check_change(w, r, e);
        if (e->term > core_term(r->core)) {
            violate(w, "replica %llu in term %llu takes entry %llu of term %llu", (unsigned long long)r->id,
                    (unsigned long long)core_term(r->core), (unsigned long long)e->index, (unsigned long long)e->term);
        }
        if (w->placed_n * 2 >= w->placed_size) {
            placed_grow(w);
        }
        p = placed_slot(w, e->index, e->term);
        if (p->index == 0) {
            p->index = e->index;
            p->term = e->term;
            p->content = entry_content(e);
            p->prev_term = prev_term;
            w->placed_n++;
        } else if (p->content != entry_content(e) || p->prev_term != prev_term) {
            violate(w, "log matching: entry %llu of term %llu differs at replica %llu", (unsigned long long)e->index,
                    (unsigned long long)e->term, (unsigned long long)r->id);
            return;
        }
        if (e->index < w->committed_n && w->committed[e->index].term != 0 && w->committed[e->index].term != e->term &&
            e->index <= r->applied) {
            violate(w, "applied entry %llu (term %llu) replaced by one of term %llu at replica %llu",
                    (unsigned long long)e->index, (unsigned long long)w->committed[e->index].term, (unsigned long long)e->term,
                    (unsigned long long)r->id);
        }
        prev_term = e->term;
    }
}

static struct committed *committed_at(struct world *w, uint64_t index)
{
    if (index >= w->committed_size) {
        size_t size = w->committed_size == 0 ? 1024 : w->committed_size;
        while (size <= index) {
            size *= 2;
        }
        w->committed = realloc(w->committed, size * sizeof *w->committed);
        if (w->committed == NULL) {
            abort();
        }
        memset(w->committed + w->committed_size, 0, (size - w->committed_size) * sizeof *w->committed);
        w->committed_size = size;
    }
    return &w->committed[index];
}

/* A commit that is new to the world: by a leader, in its own term, durable on a quorum of its configuration. */
static void check_new_commit(struct world *w, struct replica *r, uint64_t index)
{
    const struct core_config *config = core_config(r->core);
    uint64_t term = core_term_at(r->core, index);
    uint32_t durable = 0;

    if (core_role(r->core) != CORE_LEADER) {
        violate(w, "commit index %llu first seen at replica %llu, which does not lead", (unsigned long long)index,
                (unsigned long long)r->id);
        return;
    }
    if (term != core_term(r->core)) {
        violate(w, "commit of entry %llu of term %llu by counting replicas in term %llu", (unsigned long long)index,
                (unsigned long long)term, (unsigned long long)core_term(r->core));
    }
    for (uint32_t i = 0; i < config->n; i++) {
        const struct core_member *m = &config->members[i];
        if (m->role == CORE_VOTER && disk_has(world_replica(w, m->id), index, term)) {
            durable++;
        }
    }
    if (durable <= core_config_voters(config) / 2) {
        violate(w, "quorum: entry %llu of term %llu committed with %u of %u voters having it on disk", (unsigned long long)index,
                (unsigned long long)term, durable, core_config_voters(config));
    }
}

void check_commit(struct world *w, struct replica *r, uint64_t index)
{
    uint64_t last = r->mem.n > 0 ? simlog_last(&r->mem) : r->snap.meta.index;

    if (index <= r->commit && r->commit != 0) {
        violate(w, "commit index went from %llu to %llu at replica %llu", (unsigned long long)r->commit,
                (unsigned long long)index, (unsigned long long)r->id);
    }
    if (index > last) {
        violate(w, "commit index %llu at replica %llu, which was given entries up to %llu", (unsigned long long)index,
                (unsigned long long)r->id, (unsigned long long)last);
    }
    if (index >= w->committed_n) {
        if (index > 1) {
            check_new_commit(w, r, index);
        }
        w->counts.commits += index + 1 - (w->committed_n > 0 ? w->committed_n : 1);
    }
}

void check_apply(struct world *w, struct replica *r)
{
    while (r->applied < r->commit && !violated(w)) {
        uint64_t index = r->applied + 1;
        const struct entry *e = simlog_at(&r->mem, index);
        struct committed *c;
        if (e == NULL) {
            if (r->snap.meta.index < index) {
                return; /* waits for entries */
            }
            check_snapshot(w, &r->snap);
            r->applied = r->snap.meta.index;
            r->chain = r->snap.chain;
            continue;
        }
        r->chain = chain_next(r->chain, index, e->term, entry_content(e));
        r->applied = index;
        c = committed_at(w, index);
        if (index >= w->committed_n) {
            w->committed_n = index + 1;
            c->term = e->term;
            c->content = entry_content(e);
            c->chain = r->chain;
            c->by_term = core_term(r->core);
        } else if (c->term != e->term || c->content != entry_content(e)) {
            violate(w, "committed entry changed: index %llu was term %llu, replica %llu applies term %llu",
                    (unsigned long long)index, (unsigned long long)c->term, (unsigned long long)r->id, (unsigned long long)e->term);
        } else if (c->chain != r->chain) {
            violate(w, "applied sequence differs at index %llu of replica %llu", (unsigned long long)index,
                    (unsigned long long)r->id);
        }
    }
}

void check_snapshot(struct world *w, const struct simsnap *snap)
{
    uint64_t index = snap->meta.index;
    if (index >= w->committed_n || w->committed[index].chain != snap->chain || w->committed[index].term != snap->meta.term) {
        violate(w, "snapshot at %llu (term %llu) is not the committed state", (unsigned long long)index,
                (unsigned long long)snap->meta.term);
    }
}

static void check_leader(struct world *w, struct replica *r)
{
    uint64_t term = core_term(r->core);

    if (w->leader_of_term[term] != 0 && w->leader_of_term[term] != r->id) {
        violate(w, "two leaders in term %llu: replicas %llu and %llu", (unsigned long long)term,
                (unsigned long long)w->leader_of_term[term], (unsigned long long)r->id);
        return;
    }
    w->leader_of_term[term] = r->id;
    for (uint64_t i = core_first(r->core); i < w->committed_n; i++) {
        if (w->committed[i].by_term < term && core_term_at(r->core, i) != w->committed[i].term) {
            violate(w, "leader completeness: replica %llu leads term %llu without committed entry %llu of term %llu",
                    (unsigned long long)r->id, (unsigned long long)term, (unsigned long long)i,
                    (unsigned long long)w->committed[i].term);
            return;
        }
    }
}

void check_state(struct world *w, struct replica *r)
{
    uint64_t term = core_term(r->core);
    enum core_role role = core_role(r->core);

    if (term >= TERMS_MAX) {
        violate(w, "term %llu: elections without end", (unsigned long long)term);
        return;
    }
    if (term < r->term) {
        violate(w, "term of replica %llu went back", (unsigned long long)r->id);
    }
    if (term > r->term && !w->term_started[term]) {
        violate(w, "replica %llu is in term %llu, which no candidate began", (unsigned long long)r->id, (unsigned long long)term);
    }
    if (role == CORE_LEADER && (r->role != CORE_LEADER || term != r->term)) {
        check_leader(w, r);
    }
    r->role = role;
    r->term = term;
}

static void check_result(struct world *w, struct replica *r, const struct core_message *m)
{
    uint64_t last = m->append_result.last;
    struct replica *leader;
    const struct entry *mine;

    if (m->append_result.rejected != 0 || last == 0 || m->term != core_term(r->core)) {
        return;
    }
    mine = simlog_at(&r->mem, last);
    if (mine == NULL ? r->disk.snap.meta.index < last : !disk_has(r, last, mine->term)) {
        violate(w, "false acknowledgement: replica %llu says it has %llu, its disk does not", (unsigned long long)r->id,
                (unsigned long long)last);
        return;
    }
    leader = world_replica(w, m->to);
    if (mine != NULL && leader->up && core_role(leader->core) == CORE_LEADER && core_term(leader->core) == m->term &&
        core_term_at(leader->core, last) != 0 && core_term_at(leader->core, last) != mine->term) {
        violate(w, "false match: replica %llu says it matches at %llu, where its leader has another term",
                (unsigned long long)r->id, (unsigned long long)last);
    }
}

/* What a message promises is on disk when it leaves. (Not looked at when rule 1 is off: what follows is.) */
void check_send(struct world *w, struct replica *r, const struct core_message *m)
{
    bool pre_vote = (m->type == CORE_VOTE && m->vote.pre_vote) || (m->type == CORE_VOTE_RESULT && m->vote_result.pre_vote);

    if (m->to == 0 || m->from != r->id) {
        violate(w, "message from %llu to %llu", (unsigned long long)m->from, (unsigned long long)m->to);
        return;
    }
    if (!pre_vote && !OFF(w, 1) && r->disk.term < m->term) {
        violate(w, "replica %llu speaks in term %llu, its disk knows %llu", (unsigned long long)r->id,
                (unsigned long long)m->term, (unsigned long long)r->disk.term);
    }
    if (m->type == CORE_VOTE_RESULT && !pre_vote && m->vote_result.granted && !OFF(w, 1) && r->disk.term == m->term &&
        r->disk.vote != m->to) {
        violate(w, "vote of replica %llu in term %llu is not on disk", (unsigned long long)r->id, (unsigned long long)m->term);
    }
    if (m->type == CORE_APPEND_RESULT) {
        check_result(w, r, m);
    }
    if (m->type == CORE_APPEND && m->append.n == 0 && w->submitting) {
        uint64_t *last = &w->append_at[m->from][m->to];
        if (w->swarm.p_clock_back == 0 && *last + w->swarm.election_ms / 8 > w->now) {
            violate(w, "a submit makes replica %llu send empty messages", (unsigned long long)r->id);
        }
        *last = w->now;
    }
}

/* The newest configuration in the log is the one in force. */
void check_config(struct world *w, struct replica *r)
{
    struct core_config expected;

    replica_config(r, &expected);
    if (!core_installing(r->core) && !core_config_equal(core_config(r->core), &expected)) {
        violate(w, "configuration in force at replica %llu is not the newest in its log", (unsigned long long)r->id);
    }
}
