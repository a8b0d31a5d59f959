/* Replicas at a start (what was durable is there again) and at the end (all are equal). */
#include "tests/sim/oracle_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/control/control_internal.h"
#include "node/node.h"
#include "node/shard/shard_internal.h"
#include "raft/core/core_internal.h"
#include "raft/group/internal.h"

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
        r = oracle_get_replica(o, start->i, info.group);
        r->session = o->sessions[start->i];
        r->generation = UINT32_MAX;
        oracle_forget_replica(r); /* a successor may come in its place */
        return;
    }
    if (info.damaged) {
        oracle_violation(o, "group %" PRIu64 ": damaged on node %u, though no disk has rotted", info.group, start->i + 1);
    }
    r = oracle_get_replica(o, start->i, info.group);
    oracle_same_replica(r, info.replica);
    r->session = o->sessions[start->i]; /* met */
    r->generation = UINT32_MAX;
    if (info.tombstone) {
        if (!oracle_group_doomed(o, info.group)) {
            oracle_violation(o, "group %" PRIu64 " has a tombstone on node %u, though nobody deleted it", info.group,
                             start->i + 1);
        }
        oracle_forget_replica(r);
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
        bool stands = i > r->group->n_committed || r->group->committed[i].term == term;
        if (term > r->terms[i] && stands) {
            break; /* what nobody had committed gave way to a later leader's, in the turn that the node died in */
        }
        if (term != r->terms[i]) {
            oracle_violation(o, "durability: group %" PRIu64 " on node %u: entry %" PRIu64 ".%" PRIu64
                             " was reported durable, recovered was term %" PRIu64 " (log %" PRIu64 "..%" PRIu64 ")",
                             info.group, start->i + 1, i, r->terms[i], term, info.first_index, info.last_index);
        }
    }
    r->terms = oracle_grow(r->terms, &r->capacity, info.last_index, sizeof *r->terms);
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
            if (!oracle_group_doomed(o, r->key.group) && !o->rotten[i]) { /* a corrupt one is dropped */
                oracle_violation(o, "durability: node %u forgot its replica of group %" PRIu64 " with %" PRIu64
                                 " durable entries", i + 1, r->key.group, r->stored);
            }
            oracle_forget_replica(r);
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
            oracle_forget_replica(r);
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
        r = oracle_find_replica(o, i, all->id);
        if (r != NULL && oracle_digest(nodes[i], shard, all->id, &digest, &high_watermark)) {
            const struct partition *p = partition_find(shard, all->id);
            oracle_note_state(o, r, g->applied, digest);
            if (p != NULL && g->applied == all->n_committed && !oracle_group_doomed(o, all->id)) {
                oracle_check_epochs(o, all, i, partition_state(p));
            }
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

static bool group_whole(const struct seen_group *all, struct node *const *nodes, unsigned n, char *why, size_t size)
{
    for (unsigned i = 0; i < n; i++) {
        const struct group *g = nodes[i] == NULL ? NULL
            : group_host_find(shard_host(shards_of_group(control_shards(node_control(nodes[i])), all->id)), all->id);
        const struct core_config *config = g == NULL || g->core == NULL ? NULL : core_config(g->core);
        const struct core_member *self;
        if (config == NULL) {
            continue;
        }
        self = core_config_find(config, g->replica);
        if (self == NULL || self->role != CORE_VOTER || core_config_voters(config) != config->n ||
            config->n > 3) {
            snprintf(why, size, "group %" PRIu64 " on node %u: %u members, %u of them voters, replica %" PRIu64 " is %s", all->id,
                     i + 1, config->n, core_config_voters(config), g->replica, self == NULL ? "none" : "one");
            return false;
        }
    }
    return true;
}

bool oracle_members_whole(struct oracle *o, struct node *const *nodes, unsigned n, char *why, size_t size)
{
    struct seen_group *g, *next;

    HASH_ITER(hh, o->groups, g, next)
    {
        if (!oracle_group_doomed(o, g->id) && g->id != METADATA_GROUP && !group_whole(g, nodes, n, why, size)) {
            return false;
        }
    }
    return true;
}
