/* Replicas from the inside: Raft's safety properties, durability and equal states. */
#include "tests/sim/oracle_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/control/control_internal.h"
#include "node/fsm/partition/partition_fsm.h"
#include "node/shard/shard_internal.h"
#include "raft/core/core_internal.h"
#include "raft/group/internal.h"

/* ---- failing and tracing --------------------------------------------------------------------------------------------- */

static void print_time(FILE *out, const struct oracle *o)
{
    uint64_t us = sim_world_now(o->world) / 1000;
    fprintf(out, "%3" PRIu64 ".%06" PRIu64 " ", us / 1000000, us % 1000000);
}

void oracle_violation(struct oracle *o, const char *fmt, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stdout, "FAIL seed=%" PRIu64 " t=", o->seed);
    print_time(stdout, o);
    va_start(args, fmt);
    vfprintf(stdout, fmt, args);
    va_end(args);
    fprintf(stdout, "\n");
    fflush(stdout);
    fflush(stderr);
    _exit(1); /* from the middle of anything: nothing is to be unwound */
}

void oracle_trace(struct oracle *o, const char *fmt, ...)
{
    va_list args;

    if (!o->trace) {
        return;
    }
    print_time(stdout, o);
    va_start(args, fmt);
    vfprintf(stdout, fmt, args);
    va_end(args);
    fputc('\n', stdout);
}

void oracle_set_trace(struct oracle *o, bool on)
{
    o->trace = on;
}

struct oracle *oracle_new(struct sim_world *world, uint64_t seed, unsigned nodes)
{
    struct oracle *o = calloc(1, sizeof *o);
    assert(o != NULL && nodes <= ORACLE_NODES_MAX);
    o->world = world;
    o->seed = seed;
    o->nodes = nodes;
    return o;
}

void oracle_free(struct oracle *o)
{
    oracle_log_free(o);
    oracle_records_free(o);
    free(o);
}

struct oracle_counts *oracle_counts(struct oracle *o)
{
    return &o->counts;
}

uint64_t oracle_seed(const struct oracle *o)
{
    return o->seed;
}

/* ---- tables ---------------------------------------------------------------------------------------------------------- */

static void *grow(void *memory, uint64_t *capacity, uint64_t need, size_t size)
{
    uint64_t n = *capacity == 0 ? 64 : *capacity;
    if (need < *capacity) {
        return memory;
    }
    while (n <= need) {
        n *= 2;
    }
    memory = realloc(memory, n * size);
    assert(memory != NULL);
    memset((char *)memory + *capacity * size, 0, (n - *capacity) * size);
    *capacity = n;
    return memory;
}

struct seen_group *oracle_group(struct oracle *o, uint64_t id)
{
    struct seen_group *g;
    HASH_FIND(hh, o->groups, &id, sizeof id, g);
    if (g == NULL) {
        g = calloc(1, sizeof *g);
        assert(g != NULL);
        g->id = id;
        HASH_ADD(hh, o->groups, id, sizeof g->id, g);
    }
    return g;
}

static struct seen_replica *find_replica(struct oracle *o, unsigned node, uint64_t group)
{
    struct seen_replica *r;
    struct seen_replica key;
    memset(&key, 0, sizeof key);
    key.key.node = node;
    key.key.group = group;
    HASH_FIND(hh, o->replicas, &key.key, sizeof key.key, r);
    return r;
}

static struct seen_replica *get_replica(struct oracle *o, unsigned node, uint64_t group)
{
    struct seen_replica *r = find_replica(o, node, group);
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        assert(r != NULL);
        r->key.node = node;
        r->key.group = group;
        r->group = oracle_group(o, group);
        r->terms = grow(NULL, &r->capacity, 1, sizeof *r->terms);
        HASH_ADD(hh, o->replicas, key, sizeof r->key, r);
    }
    return r;
}

void oracle_log_free(struct oracle *o)
{
    struct seen_replica *r, *next_r;
    struct seen_group *g, *next_g;

    HASH_ITER(hh, o->replicas, r, next_r)
    {
        HASH_DEL(o->replicas, r);
        free(r->terms);
        free(r);
    }
    HASH_ITER(hh, o->groups, g, next_g)
    {
        struct seen_entry *e, *next_e;
        struct seen_state *s, *next_s;
        HASH_ITER(hh, g->entries, e, next_e)
        {
            HASH_DEL(g->entries, e);
            free(e);
        }
        HASH_ITER(hh, g->states, s, next_s)
        {
            HASH_DEL(g->states, s);
            free(s);
        }
        HASH_DEL(o->groups, g);
        free(g->committed);
        free(g->leaders);
        free(g);
    }
}

/* ---- log matching ---------------------------------------------------------------------------------------------------- */

/* Raft's log matching: the same index and term means the same entry, and the same entries before it. */
static const struct seen_entry *note_entry(struct oracle *o, const struct seen_replica *r, uint64_t index, uint64_t term,
                                           uint64_t prev_term, const struct entry *entry)
{
    struct seen_group *g = r->group;
    struct seen_entry *e;
    struct seen_entry key;

    memset(&key, 0, sizeof key);
    key.key.index = index;
    key.key.term = term;
    HASH_FIND(hh, g->entries, &key.key, sizeof key.key, e);
    if (e == NULL) {
        e = calloc(1, sizeof *e);
        assert(e != NULL);
        e->key.index = index;
        e->key.term = term;
        e->prev_term = UINT64_MAX;
        HASH_ADD(hh, g->entries, key, sizeof e->key, e);
    }
    if (prev_term != UINT64_MAX) {
        if (e->prev_term != UINT64_MAX && e->prev_term != prev_term) {
            oracle_violation(o, "log matching: group %" PRIu64 " entry %" PRIu64 ".%" PRIu64 " on node %" PRIu64
                             " stands behind term %" PRIu64 ", elsewhere behind term %" PRIu64,
                             g->id, index, term, r->key.node + 1, prev_term, e->prev_term);
        }
        e->prev_term = prev_term;
    }
    if (entry != NULL && entry->term == term && entry->index == index) {
        if (e->has_crc && (e->crc != entry->crc || e->kind != entry->kind || e->base_offset != entry->base_offset)) {
            oracle_violation(o, "log matching: group %" PRIu64 " entry %" PRIu64 ".%" PRIu64 " on node %" PRIu64
                             " has other bytes than elsewhere: kind %u crc %08x offset %" PRId64 ", not kind %u crc %08x "
                             "offset %" PRId64, g->id, index, term, r->key.node + 1, entry->kind, entry->crc,
                             entry->base_offset, e->kind, e->crc, e->base_offset);
        }
        if (!entry_intact(entry)) {
            oracle_violation(o, "group %" PRIu64 " entry %" PRIu64 ".%" PRIu64 " on node %" PRIu64
                             ": the payload does not have its checksum", g->id, index, term, r->key.node + 1);
        }
        e->has_crc = true;
        e->crc = entry->crc;
        e->kind = entry->kind;
        e->base_offset = entry->base_offset;
    }
    return e;
}

/* The replica's log as it is now into @r->terms. */
static void follow_log(struct oracle *o, struct seen_replica *r, const struct group *g)
{
    uint64_t last = core_last(g->core);
    uint64_t first = core_first(g->core);
    uint64_t same = r->last < last ? r->last : last;

    while (same > 0 && same >= first && core_term_at(g->core, same) != r->terms[same]) {
        same--;
    }
    if (same < r->last) {
        o->counts.truncated++;
        if (same < r->commit) {
            oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " truncated its log to %" PRIu64 ", committed was %" PRIu64,
                             r->key.group, r->key.node + 1, same, r->commit);
        }
        oracle_trace(o, "oracle: n%" PRIu64 " group %" PRIu64 " truncated from %" PRIu64 " to %" PRIu64, r->key.node + 1,
                     r->key.group, r->last, same);
    }
    r->terms = grow(r->terms, &r->capacity, last, sizeof *r->terms);
    for (uint64_t i = same + 1; i <= last; i++) {
        r->terms[i] = core_term_at(g->core, i);
        if (r->terms[i] > core_term(g->core)) {
            oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " in term %" PRIu64 " holds entry %" PRIu64 ".%" PRIu64,
                             r->key.group, r->key.node + 1, core_term(g->core), i, r->terms[i]);
        }
        (void)note_entry(o, r, i, r->terms[i], i > first ? r->terms[i - 1] : UINT64_MAX, wal_cached(g->wal, i));
    }
    r->last = last;
    r->stored = core_stored(g->core) < last ? core_stored(g->core) : last;
}

/* ---- commit ---------------------------------------------------------------------------------------------------------- */

/* I1: what is committed is durable on a majority, of which the dead are part as well. */
static void check_majority(struct oracle *o, const struct seen_group *g, const struct seen_replica *by, uint64_t index,
                           uint64_t term)
{
    uint32_t durable = 0;

    for (unsigned node = 0; node < o->nodes; node++) {
        const struct seen_replica *r = find_replica(o, node, g->id);
        /* A node that is stopping flushes what it has; its very last turn is not seen. */
        uint64_t end = r == NULL ? 0 : o->leaving[node] ? r->last : r->stored;
        if (r != NULL && end < r->lost_end) {
            end = r->lost_end; /* its word may have been on the way when its disk failed it */
        }
        durable += end >= index && r->terms[index] == term;
    }
    if (g->voters > 0 && durable < g->voters / 2 + 1) {
        oracle_violation(o, "group %" PRIu64 ": entry %" PRIu64 ".%" PRIu64 " is committed on node %" PRIu64
                         ", but durable on %u of %u voters only", g->id, index, term, by->key.node + 1, durable, g->voters);
    }
}

static void follow_commit(struct oracle *o, struct seen_replica *r, const struct group *g)
{
    struct seen_group *all = r->group;
    uint64_t commit = core_commit(g->core);

    if (commit < r->commit) {
        oracle_violation(o, "group %" PRIu64 ": the commit index of node %" PRIu64 " went back from %" PRIu64 " to %" PRIu64,
                         all->id, r->key.node + 1, r->commit, commit);
    }
    if (commit > r->last) {
        oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " has commit %" PRIu64 " beyond its log's end %" PRIu64,
                         all->id, r->key.node + 1, commit, r->last);
    }
    if (commit > all->n_committed) {
        check_majority(o, all, r, commit, r->terms[commit]);
    }
    for (uint64_t i = r->commit + 1; i <= commit; i++) {
        struct committed *c;
        if (i > all->n_committed) {
            assert(i == all->n_committed + 1);
            all->committed = grow(all->committed, &all->capacity, i, sizeof *all->committed);
            all->committed[i].term = r->terms[i];
            all->committed[i].commit_term = core_term(g->core);
            all->committed[i].entry = note_entry(o, r, i, r->terms[i], UINT64_MAX, wal_cached(g->wal, i));
            all->n_committed = i;
            o->counts.committed++;
        }
        c = &all->committed[i];
        if (c->term != r->terms[i]) {
            oracle_violation(o, "group %" PRIu64 ": entry %" PRIu64 " is committed with term %" PRIu64 " on node %" PRIu64
                             ", with term %" PRIu64 " elsewhere", all->id, i, r->terms[i], r->key.node + 1, c->term);
        }
    }
    r->commit = commit;
}

/* ---- leaders --------------------------------------------------------------------------------------------------------- */

/* Votes count once they are durable: a leader stands on a majority that cannot forget it. Who has gone on to a later term
 * since may have voted. */
static void check_votes(struct oracle *o, const struct seen_replica *leader, uint64_t replica, uint64_t term)
{
    const struct seen_group *g = leader->group;
    uint32_t votes = 0;

    for (unsigned node = 0; node < o->nodes; node++) {
        const struct seen_replica *r = find_replica(o, node, g->id);
        if (r != NULL) {
            uint64_t at = o->leaving[node] || o->wiped[node] ? r->term : r->durable_term;
            votes += at > term || (at == term && (o->leaving[node] || o->wiped[node] ? r->vote : r->durable_vote) == replica);
        }
    }
    if (g->voters > 1 && votes < g->voters / 2 + 1) {
        oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " leads in term %" PRIu64 " on %u durable votes of %u voters",
                         g->id, leader->key.node + 1, term, votes, g->voters);
    }
}

/* A vote may become durable, and leave, in the very turn in which the next hard state is queued behind it. */
static void follow_hard_state(struct seen_replica *r, const struct core *core)
{
    size_t done = 0;

    if (r->n_hard == 0 || r->hard[r->n_hard - 1].sequence != core->sequence_hard) {
        r->n_hard -= r->n_hard == SEEN_HARD_MAX;
        r->hard[r->n_hard++] = (struct seen_hard_state){core->sequence_hard, core_term(core), core->raft.voted_for};
    }
    while (done < r->n_hard && r->hard[done].sequence <= core->sequence_durable) {
        r->durable_term = r->hard[done].term;
        r->durable_vote = r->hard[done++].vote;
    }
    r->n_hard -= done;
    memmove(r->hard, r->hard + done, r->n_hard * sizeof r->hard[0]);
}

static void note_leader(struct oracle *o, struct seen_replica *r, uint64_t replica, uint64_t term)
{
    struct seen_group *g = r->group;

    for (size_t i = g->n_leaders; i-- > 0;) {
        if (g->leaders[i].term == term) {
            if (g->leaders[i].node != r->key.node) {
                oracle_violation(o, "group %" PRIu64 ": two leaders in term %" PRIu64 ": node %u and node %" PRIu64, g->id,
                                 term, g->leaders[i].node + 1, r->key.node + 1);
            }
            return;
        }
    }
    g->leaders = realloc(g->leaders, (g->n_leaders + 1) * sizeof *g->leaders);
    assert(g->leaders != NULL);
    g->leaders[g->n_leaders++] = (struct leadership){term, (unsigned)r->key.node};
    check_votes(o, r, replica, term);
    o->counts.elections++;
    o->counts.leader_changes += g->n_leaders > 1;
    oracle_trace(o, "oracle: n%" PRIu64 " leads group %" PRIu64 " in term %" PRIu64, r->key.node + 1, g->id, term);
    /* Leader completeness: what was committed in earlier terms is in the log of this one's leader (Raft 5.4: the term of
     * the commit counts, not that of the entry; a leader that was paused on its way may show itself late). */
    for (uint64_t i = 1; i <= g->n_committed; i++) {
        if (g->committed[i].commit_term >= term) {
            continue;
        }
        if (i > r->last || r->terms[i] != g->committed[i].term) {
            oracle_violation(o, "leader completeness: group %" PRIu64 ": node %" PRIu64 " leads in term %" PRIu64
                             " without the committed entry %" PRIu64 ".%" PRIu64 " (its log ends at %" PRIu64 ")",
                             g->id, r->key.node + 1, term, i, g->committed[i].term, r->last);
        }
    }
}

/* ---- states ---------------------------------------------------------------------------------------------------------- */

static void note_state(struct oracle *o, struct seen_replica *r, uint64_t applied, uint32_t digest)
{
    struct seen_group *g = r->group;
    struct seen_state *s;

    HASH_FIND(hh, g->states, &applied, sizeof applied, s);
    if (s == NULL) {
        s = calloc(1, sizeof *s);
        assert(s != NULL);
        s->applied = applied;
        s->digest = digest;
        s->node = (unsigned)r->key.node;
        HASH_ADD(hh, g->states, applied, sizeof s->applied, s);
        return;
    }
    o->counts.digests++;
    if (s->digest != digest) {
        oracle_violation(o, "group %" PRIu64 ": at index %" PRIu64 " the state of node %" PRIu64 " is not that of node %u",
                         g->id, applied, r->key.node + 1, s->node + 1);
    }
}

static bool digest_of(struct node *node, struct shard *shard, uint64_t group, uint32_t *digest, int64_t *high_watermark)
{
    struct partition *p;

    if (group == METADATA_GROUP) {
        *digest = metadata_fsm_digest(control_metadata(node_control(node)));
        *high_watermark = 0;
        return true;
    }
    p = partition_find(shard, group);
    if (p == NULL) {
        return false;
    }
    *high_watermark = partition_fsm_high_watermark(p->fsm);
    *digest = partition_fsm_digest(p->fsm);
    return true;
}

/* Digests cost as much as the state is large: at a fourth of the indexes, the same ones everywhere. */
static bool sampled(uint64_t group, uint64_t index)
{
    return ((group * 31 + index) * 0x9e3779b97f4a7c15ull) >> 62 == 0;
}

static void follow_applied(struct oracle *o, struct seen_replica *r, const struct group *g, struct node *node,
                           struct shard *shard)
{
    uint32_t digest;
    int64_t high_watermark;
    struct partition *p;

    if (g->applied > r->commit) {
        oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " applied %" PRIu64 ", committed is %" PRIu64, r->key.group,
                         r->key.node + 1, g->applied, r->commit);
    }
    r->applied = g->applied;
    p = r->key.group == METADATA_GROUP ? NULL : partition_find(shard, r->key.group);
    if (p != NULL && partition_fsm_high_watermark(p->fsm) > r->group->high_watermark) {
        r->group->high_watermark = partition_fsm_high_watermark(p->fsm);
    }
    if (sampled(r->key.group, g->applied) && digest_of(node, shard, r->key.group, &digest, &high_watermark)) {
        note_state(o, r, g->applied, digest);
    }
}

/* ---- turns ----------------------------------------------------------------------------------------------------------- */

struct turn {
    struct oracle *o;
    unsigned i;
    struct node *node;
    struct shard *shard;
};

static void look(void *data, struct group *g)
{
    struct turn *t = data;
    struct oracle *o = t->o;
    struct seen_replica *r;

    if (g->fail_err != 0) {
        oracle_violation(o, "group %" PRIu64 ": the replica on node %u stopped: %s: %s", g->id, t->i + 1,
                         err_name(g->fail_err), g->fail_text == NULL ? "" : g->fail_text);
    }
    if (g->state != GROUP_OPEN || core_failed(g->core)) {
        return;
    }
    if (o->wiped[t->i]) {
        oracle_violation(o, "group %" PRIu64 ": node %u, whose disk was wiped, has replica %" PRIu64 " again", g->id, t->i + 1,
                         core_replica(g->core));
    }
    r = get_replica(o, t->i, g->id);
    if (r->session != o->sessions[t->i] || r->generation != g->generation) {
        r->session = o->sessions[t->i];
        r->generation = g->generation;
        r->commit = 0;
        r->applied = 0;
        r->term = 0;
        r->leads = false;
        r->n_hard = 0;
    }
    if (r->last != core_last(g->core) || r->terms[r->last] != core_term_at(g->core, r->last)) {
        follow_log(o, r, g);
    }
    r->stored = core_stored(g->core) < r->last ? core_stored(g->core) : r->last;
    follow_hard_state(r, g->core);
    if (core_term(g->core) < r->term) {
        oracle_violation(o, "group %" PRIu64 ": the term of node %u went back", g->id, t->i + 1);
    }
    if (core_role(g->core) == CORE_LEADER && (!r->leads || r->term != core_term(g->core))) {
        r->group->voters = core_config_voters(core_config(g->core));
        note_leader(o, r, g->replica, core_term(g->core));
    }
    r->leads = core_role(g->core) == CORE_LEADER;
    r->term = core_term(g->core);
    r->vote = g->core->raft.voted_for;
    if (r->commit != core_commit(g->core)) {
        follow_commit(o, r, g);
    }
    if (r->applied != g->applied) {
        follow_applied(o, r, g, t->node, t->shard);
    }
    oracle_follow_promises(o, r, g, t->shard);
}

void oracle_turn(struct oracle *o, unsigned i, struct node *node, struct shard *shard)
{
    struct turn t = {o, i, node, shard};

    o->counts.turns++;
    group_host_each(shard_host(shard), look, &t);
    if (shard_is_hub(shard)) {
        oracle_follow_founding(o, i, node_control(node));
    }
    if (shard_is_hub(shard) && control_formed(node_control(node))) {
        const struct uuid *id = control_cluster_id(node_control(node));
        if (uuid_is_nil(&o->cluster_id)) {
            o->cluster_id = *id;
        }
        if (!uuid_equal(&o->cluster_id, id)) {
            oracle_violation(o, "two clusters: node %u belongs to another one", i + 1);
        }
    }
}

/* ---- starts and ends ------------------------------------------------------------------------------------------------- */

struct start {
    struct oracle *o;
    unsigned i;
};

/* A single voter leads again in the same term (libraft.md, 16): what it had not stored is gone for everybody, and its index
 * is used once more. */
static void forget_lost(struct seen_group *g, uint64_t last)
{
    struct seen_entry *e, *next;

    HASH_ITER(hh, g->entries, e, next)
    {
        if (e->key.index > last) {
            HASH_DEL(g->entries, e);
            free(e);
        }
    }
}

static void look_recovered(void *data, struct wal_group *w)
{
    struct start *start = data;
    struct oracle *o = start->o;
    struct wal_group_info info;
    struct seen_replica *r;

    wal_group_info(w, &info);
    if (info.damaged && o->rotten[start->i]) {
        o->counts.rot_found++;
        r = get_replica(o, start->i, info.group);
        r->session = o->sessions[start->i];
        r->generation = UINT32_MAX;
        r->lost_end = r->stored;
        r->last = r->stored = r->durable_term = r->durable_vote = 0; /* a successor may come in its place */
        return;
    }
    if (info.damaged) {
        oracle_violation(o, "group %" PRIu64 ": damaged on node %u, though no disk has rotted", info.group, start->i + 1);
    }
    r = get_replica(o, start->i, info.group);
    r->session = o->sessions[start->i]; /* met */
    r->generation = UINT32_MAX;
    if (info.tombstone) {
        if (!oracle_group_doomed(o, info.group)) {
            oracle_violation(o, "group %" PRIu64 " has a tombstone on node %u, though nobody deleted it", info.group,
                             start->i + 1);
        }
        r->last = 0;
        r->stored = 0;
        return;
    }
    if (info.term < r->durable_term || (info.term == r->durable_term && info.vote != r->durable_vote && r->durable_vote != 0)) {
        oracle_violation(o, "durability: group %" PRIu64 " on node %u: term %" PRIu64 " with a vote for %" PRIu64
                         " was durable, recovered was term %" PRIu64 " with a vote for %" PRIu64,
                         info.group, start->i + 1, r->durable_term, r->durable_vote, info.term, info.vote);
    }
    r->durable_term = info.term;
    r->durable_vote = info.vote;
    for (uint64_t i = 1; i <= r->stored; i++) {
        uint64_t term = i > info.last_index ? 0 : wal_group_term(w, i);
        if (term != r->terms[i]) {
            oracle_violation(o, "durability: group %" PRIu64 " on node %u: entry %" PRIu64 ".%" PRIu64
                             " was reported durable, recovered was term %" PRIu64 " (log %" PRIu64 "..%" PRIu64 ")",
                             info.group, start->i + 1, i, r->terms[i], term, info.first_index, info.last_index);
        }
    }
    r->terms = grow(r->terms, &r->capacity, info.last_index, sizeof *r->terms);
    for (uint64_t i = 1; i <= info.last_index; i++) {
        r->terms[i] = wal_group_term(w, i);
    }
    r->last = info.last_index;
    r->stored = info.last_index;
    r->commit = 0;
    if (r->group->voters == 1 && info.last_index >= r->group->n_committed) {
        forget_lost(r->group, info.last_index);
    }
}

void oracle_node_started(struct oracle *o, unsigned i, struct node *node)
{
    struct start start = {o, i};
    struct shards *shards = control_shards(node_control(node));
    struct seen_replica *r, *next;

    o->sessions[i]++;
    o->leaving[i] = false;
    o->counts.node_starts++;
    for (uint32_t s = 0; s < shards_count(shards); s++) {
        const struct wal_recovery *recovery = shard_recovery(shards_at(shards, s));
        o->counts.torn_tails += recovery->torn_bytes > 0;
        o->counts.stale_records += recovery->stale_records;
        o->counts.recovered += recovery->entries;
        if ((recovery->all_damaged || recovery->groups_damaged > 0) && !o->rotten[i]) {
            oracle_violation(o, "node %u: shard log damaged, though no disk has rotted", i + 1);
        }
        wal_group_each(shard_wal(shards_at(shards, s)), look_recovered, &start);
    }
    HASH_ITER(hh, o->replicas, r, next)
    {
        if (r->key.node == i && r->session != o->sessions[i] && r->stored > 0) {
            if (!oracle_group_doomed(o, r->key.group)) {
                oracle_violation(o, "durability: node %u forgot its replica of group %" PRIu64 " with %" PRIu64
                                 " durable entries", i + 1, r->key.group, r->stored);
            }
            r->last = 0;
            r->stored = 0;
        }
    }
}

void oracle_node_rots(struct oracle *o, unsigned i)
{
    o->rotten[i] = true;
    o->counts.rots++;
}

void oracle_node_wiped(struct oracle *o, unsigned i)
{
    struct seen_replica *r, *next;

    o->wiped[i] = true;
    o->counts.wipes++;
    HASH_ITER(hh, o->replicas, r, next)
    {
        if (r->key.node == i) {
            r->lost_end = r->stored;
            r->last = r->stored = r->durable_term = r->durable_vote = 0;
        }
    }
}

void oracle_node_leaves(struct oracle *o, unsigned i)
{
    o->leaving[i] = true;
}

void oracle_node_ended(struct oracle *o, unsigned i, struct node *node)
{
    struct shards *shards = control_shards(node_control(node));

    for (uint32_t s = 0; s < shards_count(shards); s++) {
        struct shard *shard = shards_at(shards, s);
        struct wal_stats wal;
        struct group_host_stats host;
        wal_stats(shard_wal(shard), &wal);
        group_host_stats(shard_host(shard), &host);
        o->counts.files_recycled += wal.files_recycled;
        o->counts.carried_bytes += wal.bytes_carried;
        o->counts.disk_reads += wal.cache_misses;
        o->counts.duplicates += shard->stats.duplicates;
        o->counts.reopened += host.reopened;
    }
}

/* ---- convergence ----------------------------------------------------------------------------------------------------- */

static bool group_converged(struct oracle *o, struct seen_group *all, struct node *const *nodes, unsigned n, char *why,
                            size_t size)
{
    unsigned replicas = 0;
    unsigned leaders = 0;
    unsigned lost = 0;

    for (unsigned i = 0; i < n; i++) {
        struct shard *shard;
        struct group *g;
        struct seen_replica *r;
        uint32_t digest;
        int64_t high_watermark;
        if (nodes[i] == NULL) {
            lost++;
            continue;
        }
        shard = shards_of_group(control_shards(node_control(nodes[i])), all->id);
        g = group_host_find(shard_host(shard), all->id);
        if (g == NULL) {
            continue;
        }
        replicas++;
        leaders += g->ready;
        if (g->state != GROUP_OPEN || g->applied != all->n_committed || core_last(g->core) != all->n_committed) {
            snprintf(why, size, "group %" PRIu64 " on node %u: state %d, applied %" PRIu64 ", log's end %" PRIu64
                     ", committed %" PRIu64, all->id, i + 1, g->state, g->applied,
                     g->core == NULL ? 0 : core_last(g->core), all->n_committed);
            return false;
        }
        r = find_replica(o, i, all->id);
        if (r != NULL && digest_of(nodes[i], shard, all->id, &digest, &high_watermark)) {
            note_state(o, r, g->applied, digest);
        }
    }
    if (all->n_committed > 0 && !oracle_group_doomed(o, all->id) && (leaders != 1 || replicas + lost < all->voters)) {
        snprintf(why, size, "group %" PRIu64 ": %u replicas of %u, %u leaders", all->id, replicas, all->voters, leaders);
        return false;
    }
    return true;
}

bool oracle_converged(struct oracle *o, struct node *const *nodes, unsigned n, char *why, size_t size)
{
    struct seen_group *g, *next;

    HASH_ITER(hh, o->groups, g, next)
    {
        if (!group_converged(o, g, nodes, n, why, size)) {
            return false;
        }
    }
    return true;
}
