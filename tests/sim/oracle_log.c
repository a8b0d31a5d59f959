/* Replicas from the inside: Raft's safety properties, and equal states. */
#include "tests/sim/oracle_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"
#include "node/fsm/group/group_fsm.h"
#include "node/fsm/partition/partition_fsm.h"
#include "node/shard/group_runtime.h"
#include "node/node.h"
#include "node/shard/shard_internal.h"
#include "raft/core/core_internal.h"
#include "raft/group/internal.h"

/* ---- log matching ---------------------------------------------------------------------------------------------------- */

/* The leaders' clocks jump, the entries' time does not go back: retention and expiry go by it. */
static void check_time(struct oracle *o, const struct seen_replica *r, const struct seen_entry *e)
{
    const struct seen_entry *before;
    struct seen_entry key;

    memset(&key, 0, sizeof key);
    key.key.index = e->key.index - 1;
    key.key.term = e->prev_term;
    HASH_FIND(hh, r->group->entries, &key.key, sizeof key.key, before);
    if (before != NULL && before->has_crc && before->time_ms > e->time_ms) {
        oracle_violation(o, "group %" PRIu64 " entry %" PRIu64 ".%" PRIu64 " on node %" PRIu64 " is of time %" PRId64
                         ", the one before it of %" PRId64, r->group->id, e->key.index, e->key.term, r->key.node + 1,
                         e->time_ms, before->time_ms);
    }
}

/* The stamps that readers go by. */
static void check_stamps(struct oracle *o, const struct seen_replica *r, const struct entry *entry)
{
    struct record_batch_header h = {0};

    if (entry->kind == ENTRY_BATCH &&
        (record_batch_peek(entry->data, entry->length, &h) != 0 || h.size != entry->length ||
         h.base_offset != entry->base_offset || (uint64_t)h.leader_epoch != entry->term)) {
        oracle_violation(o, "group %" PRIu64 " entry %" PRIu64 ".%" PRIu64 " on node %" PRIu64 ": a batch of epoch %d at offset %" PRId64
                         " in an entry at %" PRId64, r->group->id, entry->index, entry->term, r->key.node + 1,
                         h.leader_epoch, h.base_offset, entry->base_offset);
    }
}

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
        e->time_ms = entry->time_ms;
        check_time(o, r, e);
        check_stamps(o, r, entry);
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
    r->terms = oracle_grow(r->terms, &r->capacity, last, sizeof *r->terms);
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

/* Its topic was deleted, and it was dropped in a turn that may have stored and acknowledged something before. */
static bool dropped(const struct oracle *o, const struct seen_replica *r)
{
    unsigned node = (unsigned)r->key.node;

    return r->session == o->sessions[node] && r->turn != o->turns[node][r->shard] && oracle_group_doomed(o, r->key.group);
}

/* I1: what is committed is durable on a majority, of which the dead are part as well. */
static void check_majority(struct oracle *o, const struct seen_group *g, const struct seen_replica *by, uint64_t index,
                           uint64_t term)
{
    uint32_t durable = 0;

    for (unsigned node = 0; node < o->nodes; node++) {
        const struct seen_replica *r = oracle_find_replica(o, node, g->id);
        /* A node that is stopping flushes what it has; its very last turn is not seen. */
        uint64_t end = r == NULL ? 0 : o->leaving[node] || (r->stored < index && dropped(o, r)) ? r->last : r->stored;
        if (r != NULL && end < r->gone.end) {
            end = r->gone.end;
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
            all->committed = oracle_grow(all->committed, &all->capacity, i, sizeof *all->committed);
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
        const struct seen_replica *r = oracle_find_replica(o, node, g->id);
        if (r != NULL) {
            uint64_t at = o->leaving[node] ? r->term : r->durable_term;
            votes += at > term || r->gone.term > term ||
                     (at == term && (o->leaving[node] ? r->vote : r->durable_vote) == replica) ||
                     (r->gone.term == term && r->gone.vote == replica);
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

uint64_t oracle_succession(struct oracle *o, const struct oracle_part *part, unsigned *leader, unsigned *before)
{
    const struct seen_group *g = oracle_group(o, part->group);
    const struct leadership *newest = NULL;

    for (size_t i = 0; i < g->n_leaders; i++) {
        newest = newest == NULL || g->leaders[i].term > newest->term ? &g->leaders[i] : newest;
    }
    for (unsigned node = 0; newest != NULL && node < o->nodes; node++) {
        const struct seen_replica *r = oracle_find_replica(o, node, g->id);
        if (r != NULL && r->leads && node != newest->node) {
            *leader = newest->node + 1;
            *before = node + 1;
            return newest->term;
        }
    }
    return 0;
}

bool oracle_leads(const struct oracle *o, unsigned i)
{
    const struct seen_replica *r, *next;

    HASH_ITER(hh, o->replicas, r, next)
    {
        if (r->key.node == i && r->leads && r->key.group != METADATA_GROUP) {
            return true;
        }
    }
    return false;
}

/* ---- states ---------------------------------------------------------------------------------------------------------- */

void oracle_note_state(struct oracle *o, struct seen_replica *r, uint64_t applied, uint32_t digest)
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

bool oracle_digest(struct node *node, struct shard *shard, uint64_t group, uint32_t *digest, int64_t *high_watermark)
{
    struct partition *p;
    struct group_runtime *r;

    if (group == METADATA_GROUP) {
        *digest = metadata_fsm_digest(control_metadata(node_control(node)));
        *high_watermark = 0;
        return true;
    }
    if (metadata_is_coordinator(group)) {
        r = group_runtime_find(shard, group);
        *digest = r == NULL ? 0 : groups_fsm_digest(group_runtime_state(r));
        *high_watermark = 0;
        return r != NULL;
    }
    p = partition_find(shard, group);
    if (p == NULL) {
        return false;
    }
    *high_watermark = partition_fsm_high_watermark(p->fsm);
    *digest = partition_fsm_digest(p->fsm);
    return true;
}

/* Digests cost as much as the state is large: at a fourth of the indexes, less often when there is much, the same ones
 * everywhere. */
static bool sampled(uint64_t group, uint64_t index)
{
    unsigned shift = index < 128 ? 62 : index < 1024 ? 60 : 58;
    return ((group * 31 + index) * 0x9e3779b97f4a7c15ull) >> shift == 0;
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
    if (sampled(r->key.group, g->applied) && oracle_digest(node, shard, r->key.group, &digest, &high_watermark)) {
        oracle_note_state(o, r, g->applied, digest);
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
    uint32_t voters = 0;

    if (g->fail_err != 0 && !o->rotten[t->i]) {
        oracle_violation(o, "group %" PRIu64 ": the replica on node %u stopped: %s: %s", g->id, t->i + 1,
                         err_name(g->fail_err), g->fail_text == NULL ? "" : g->fail_text);
    }
    if (g->state == GROUP_FAILED && (r = oracle_find_replica(o, t->i, g->id)) != NULL && r->last > r->gone.end) {
        r->gone.end = r->last; /* what became durable in its very last turn was not seen */
    }
    if (g->state != GROUP_OPEN || core_failed(g->core)) {
        return;
    }
    if (o->wiped[t->i]) {
        oracle_violation(o, "group %" PRIu64 ": node %u, whose disk was wiped, has replica %" PRIu64 " again", g->id, t->i + 1,
                         core_replica(g->core));
    }
    r = oracle_get_replica(o, t->i, g->id);
    oracle_same_replica(r, core_replica(g->core));
    r->shard = t->shard->id;
    r->turn = o->turns[t->i][r->shard];
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
    if (core_role(g->core) == CORE_LEADER) {
        voters = core_config_voters(core_config(g->core));
        if (voters < r->group->voters || r->group->voters == 0) {
            r->group->voters = voters; /* what this turn has committed may have been before the change */
        }
    }
    if (core_role(g->core) == CORE_LEADER && (!r->leads || r->term != core_term(g->core))) {
        note_leader(o, r, g->replica, core_term(g->core));
    }
    r->leads = core_role(g->core) == CORE_LEADER;
    r->term = core_term(g->core);
    r->vote = g->core->raft.voted_for;
    if (r->commit != core_commit(g->core)) {
        follow_commit(o, r, g);
    }
    if (r->leads) {
        r->group->voters = voters;
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
    static_assert(SHARDS_MAX <= ORACLE_SHARDS_MAX, "a counter each");
    o->turns[i][shard->id]++;
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
