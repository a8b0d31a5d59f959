/* Own snapshots (rule 6), and the metadata of one that is being installed. */
#include <stdlib.h>
#include <string.h>

#include "raft/core/core_internal.h"

static bool snapshot_allowed(const struct core *core, uint64_t index)
{
    uint64_t limit = core->commit < core->raft.last_stored ? core->commit : core->raft.last_stored;

    if (!RULE(core, 6)) {
        return trail_term(&core->raft.trail, index) != 0 && index > core_snapshot_index(core);
    }
    return index >= 2 && index > core_snapshot_index(core) && index <= limit && core->install == NULL;
}

int core_snapshot_meta(const struct core *core, uint64_t index, struct core_snapshot_meta *out)
{
    if (core->failed) {
        return ERR_SHUTDOWN;
    }
    if (!snapshot_allowed(core, index)) {
        return ERR_INVALID;
    }
    out->index = index;
    out->term = trail_term(&core->raft.trail, index);
    out->config_index = 0;
    if (core->snapshot != NULL) {
        out->config_index = core->snapshot->config_index;
        out->config = core->snapshot->config;
    }
    for (uint32_t i = 0; i < core->changes_n && core->changes[i].index <= index; i++) {
        out->config_index = core->changes[i].index;
        out->config = core->changes[i].config;
    }
    return out->config_index == 0 ? ERR_INVALID : 0;
}

int core_snapshot(struct core *core, uint64_t index, uint64_t first_kept)
{
    struct core_snapshot_meta *meta;
    struct raft_event event;
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    meta = malloc(sizeof *meta);
    if (meta == NULL) {
        return core_leave(core, core_fail(core));
    }
    rv = core_snapshot_meta(core, index, meta);
    if (rv != 0 || first_kept > index + 1 || first_kept < core->raft.trail.offset + 1) {
        rv = ERR_INVALID;
        goto err;
    }
    memset(&event, 0, sizeof event);
    event.type = RAFT_SNAPSHOT;
    event.snapshot.metadata.index = meta->index;
    event.snapshot.metadata.term = meta->term;
    event.snapshot.metadata.configuration_index = meta->config_index;
    event.snapshot.trailing = (unsigned)(index + 1 - first_kept);
    if (core_config_to_raft(&meta->config, &event.snapshot.metadata.configuration) != 0) {
        rv = core_fail(core);
        goto err;
    }
    free(core->snapshot);
    core->snapshot = meta;
    core_changes_forget(core, index);
    return core_leave(core, core_step(core, &event, NULL, NULL));

err:
    free(meta);
    return core_leave(core, rv);
}

int core_install_offer(struct core *core, const struct core_message *message)
{
    core->offer = malloc(sizeof *core->offer);
    if (core->offer == NULL) {
        return ERR_NOMEM;
    }
    core->offer->index = message->install.last_index;
    core->offer->term = message->install.last_term;
    core->offer->config_index = message->install.config_index;
    core->offer->config = message->install.config;
    return 0;
}

bool core_installing(const struct core *core)
{
    return core->install != NULL;
}
