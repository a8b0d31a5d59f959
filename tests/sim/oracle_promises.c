/* What a replica said rests on its disk: entries reported durable, changes of membership, and the founding. */
#include "tests/sim/oracle_internal.h"

#include <inttypes.h>

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
