/* What a replica said rests on its disk: entries reported durable, changes of membership, and the founding. And what nodes
 * say of themselves is so: who leads, where an epoch ends, which producer ids are new. */
#include "tests/sim/oracle_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "node/control/control_internal.h"
#include "node/fsm/partition/partition_fsm.h"
#include "node/node.h"
#include "node/shard/shard_internal.h"
#include "raft/core/core_internal.h"
#include "raft/group/internal.h"
#include "raft/wal/wal_internal.h"

/* The newest entry reported durable stands where a sync has passed; those before it went with it or earlier. */
static void check_stored(struct oracle *o, const struct seen_replica *r, const struct group *g)
{
    uint64_t stored = core_stored(g->core);
    const struct wal_item *item = stored >= core_first(g->core) ? wal_index_at(&g->wal->index, stored) : NULL;
    const struct wal_file *file;

    if (item == NULL) {
        return;
    }
    file = item->file == WAL_AT_QUEUE || item->file == WAL_AT_NONE ? NULL : g->host->wal->slots[item->file];
    if (file == NULL || item->position >= file->synced_end) {
        oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " has entry %" PRIu64 ".%" PRIu64 " for durable before a sync "
                         "has passed it", g->id, r->key.node + 1, stored, core_term_at(g->core, stored));
    }
}

/* The bug of 2015: changes by two leaders who did not know of each other's. */
static void check_change(struct oracle *o, const struct seen_replica *r, const struct group *g)
{
    uint64_t change = g->core->raft.configuration_uncommitted_index;

    if (change > 1 && core_role(g->core) == CORE_LEADER && core_term_at(g->core, change) == core_term(g->core) &&
        core_term_at(g->core, core_commit(g->core)) != core_term(g->core)) {
        oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " changes the members in entry %" PRIu64
                         " with nothing of its term %" PRIu64 " committed", g->id, r->key.node + 1, change, core_term(g->core));
    }
}

/* What a leader has in flight dies with its leadership: whether it is committed shows in what is applied. */
static void check_in_flight(struct oracle *o, const struct seen_replica *r, const struct partition *p)
{
    if (p != NULL && !p->leading && partition_fsm_offset_next(p->fsm) != partition_fsm_high_watermark(p->fsm)) {
        oracle_violation(o, "group %" PRIu64 ": node %" PRIu64 " does not lead, and has offsets up to %" PRId64
                         " in flight above its high watermark %" PRId64, r->key.group, r->key.node + 1,
                         partition_fsm_offset_next(p->fsm), partition_fsm_high_watermark(p->fsm));
    }
}

void oracle_follow_promises(struct oracle *o, struct seen_replica *r, const struct group *g, struct shard *shard)
{
    check_in_flight(o, r, r->key.group == METADATA_GROUP ? NULL : partition_find(shard, r->key.group));
    check_stored(o, r, g);
    check_change(o, r, g);
}

void oracle_follow_founding(struct oracle *o, unsigned i, const struct control *c)
{
    o->pledged[i] |= c->id.pledge.n > 0;
    for (uint32_t k = 0; !o->founded && control_formed(c) && k < c->id.founders.n; k++) {
        uint32_t node = c->id.founders.seeds[k].node;
        if (!o->pledged[node - 1]) {
            oracle_violation(o, "founding: node %u founds, node %u has not pledged to", i + 1, node);
        }
    }
    o->founded |= control_formed(c);
}

/* ---- what nodes say of themselves ------------------------------------------------------------------------------------ */

static const struct leadership *leadership_of(struct oracle *o, const struct oracle_part *part, uint64_t term)
{
    const struct seen_group *g = oracle_group(o, part->group);

    for (size_t i = g->n_leaders; i-- > 0;) {
        if (g->leaders[i].term == term) {
            return &g->leaders[i];
        }
    }
    return NULL;
}

void oracle_answered(struct oracle *o, const struct oracle_part *part, unsigned node, uint64_t leader_epoch)
{
    const struct leadership *l = part->group == 0 ? NULL : leadership_of(o, part, leader_epoch);

    if (part->group != 0 && (l == NULL || l->node + 1 != node)) {
        oracle_violation(o, "group %" PRIu64 " partition %u: node %u answers in epoch %" PRIu64 ", in which it does not lead",
                         part->group, part->key.partition, node, leader_epoch);
    }
}

void oracle_hinted(struct oracle *o, const struct oracle_part *part, unsigned node, uint64_t leader_epoch)
{
    const struct leadership *l = part->group == 0 || node == 0 ? NULL : leadership_of(o, part, leader_epoch);

    if (l != NULL && l->node + 1 != node) {
        oracle_violation(o, "group %" PRIu64 " partition %u: node %u is said to lead in epoch %" PRIu64 ", it is node %u",
                         part->group, part->key.partition, node, leader_epoch, l->node + 1);
    }
}

void oracle_producer_id(struct oracle *o, int64_t asked, int32_t asked_epoch, int64_t id, int32_t epoch)
{
    struct given_id *given;

    if (id < 0 || (asked >= 0 ? id != asked || epoch != asked_epoch + 1 : epoch != 0)) {
        oracle_violation(o, "producer id %" PRId64 " epoch %d asked for, %" PRId64 " epoch %d given", asked, asked_epoch, id, epoch);
    }
    if (asked >= 0) {
        return; /* the answer may have been lost, and be asked for again */
    }
    HASH_FIND(hh, o->given_ids, &id, sizeof id, given);
    if (given != NULL) {
        oracle_violation(o, "producer id %" PRId64 " was given to two", id);
    }
    given = calloc(1, sizeof *given);
    assert(given != NULL);
    given->id = id;
    HASH_ADD(hh, o->given_ids, id, sizeof given->id, given);
}

void oracle_answers_free(struct oracle *o)
{
    struct given_id *given, *next;

    HASH_ITER(hh, o->given_ids, given, next)
    {
        HASH_DEL(o->given_ids, given);
        free(given);
    }
}

static void check_epoch(struct oracle *o, const struct seen_group *g, unsigned i, const struct partition_fsm *fsm,
                        uint64_t asked, uint64_t expected, int64_t expected_end)
{
    uint64_t epoch = 0;
    int64_t end = -1;
    int rv = partition_fsm_epoch_end(fsm, asked, &epoch, &end);

    oracle_counts(o)->epochs_checked++;
    if (rv != 0 || epoch != expected || end != expected_end) {
        oracle_violation(o, "group %" PRIu64 ": node %u says that epoch %" PRIu64 " (%" PRIu64 ") ends at %" PRId64 ": %s, it is %" PRIu64
                         " at %" PRId64, g->id, i + 1, asked, epoch, end, err_name(rv), expected, expected_end);
    }
}

void oracle_check_epochs(struct oracle *o, const struct seen_group *g, unsigned i, const struct partition_fsm *fsm)
{
    uint64_t later = 0; /* the term of the entries behind those of this one */
    int64_t next = partition_fsm_high_watermark(fsm);
    int64_t end = next;

    for (uint64_t k = g->n_committed; k > 0 && g->committed[k].entry->has_crc; k--) {
        const struct committed *c = &g->committed[k];
        next = c->entry->kind == ENTRY_BATCH ? c->entry->base_offset : next;
        if (k > 1 && g->committed[k - 1].term == c->term) {
            continue;
        }
        if (next < end || later == 0) { /* of one without records nobody can have read */
            check_epoch(o, g, i, fsm, c->term, c->term, end);
            check_epoch(o, g, i, fsm, later == 0 ? c->term : later - 1, c->term, end);
        }
        later = c->term;
        end = next;
    }
}
