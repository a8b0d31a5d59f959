/* The configuration in force, and the CHANGE entries that stand in the log above the snapshot. */
#include <stdlib.h>
#include <string.h>

#include "raft/core/core_internal.h"

static_assert((int)CORE_VOTER == (int)RAFT_VOTER && (int)CORE_LEARNER == (int)RAFT_STANDBY, "roles are libraft's");

int core_config_to_raft(const struct core_config *config, struct raft_configuration *out)
{
    raft_configuration_init(out);
    for (uint32_t i = 0; i < config->n; i++) {
        const struct core_member *m = &config->members[i];
        if (raft_configuration_add(out, m->id, m->address, m->role) != 0) {
            raft_configuration_close(out);
            return ERR_NOMEM;
        }
    }
    return 0;
}

void core_config_refresh(struct core *core)
{
    const struct raft_configuration *from = &core->raft.configuration;

    if (!core->config_stale && core->config_seen[0] == core->raft.configuration_committed_index &&
        core->config_seen[1] == core->raft.configuration_uncommitted_index) {
        return;
    }
    core->config_stale = false;
    core->config_seen[0] = core->raft.configuration_committed_index;
    core->config_seen[1] = core->raft.configuration_uncommitted_index;
    core->config.n = 0;
    for (unsigned i = 0; i < from->n; i++) {
        int rv = core_config_add(&core->config, from->servers[i].id, (enum core_member_role)from->servers[i].role,
                                 from->servers[i].address);
        assert(rv == 0); /* all that libraft knows has passed our decoder */
        (void)rv;
    }
}

bool core_self_votes(const struct core *core)
{
    const struct core_member *self = core_config_find(&core->config, core->raft.id);
    return self != NULL && self->role == CORE_VOTER;
}

int core_changes_record(struct core *core, const struct entry *entry)
{
    struct core_change_record *record;

    assert(core->changes_n == 0 || core->changes[core->changes_n - 1].index < entry->index);
    if (core->changes_n == core->changes_size) {
        uint32_t size = core->changes_size == 0 ? 1 : core->changes_size * 2;
        struct core_change_record *changes = realloc(core->changes, size * sizeof *changes);
        if (changes == NULL) {
            return ERR_NOMEM;
        }
        core->changes = changes;
        core->changes_size = size;
    }
    record = &core->changes[core->changes_n];
    record->index = entry->index;
    if (core_config_decode(entry->data, entry->length, &record->config) != 0) {
        return ERR_MALFORMED;
    }
    core->changes_n++;
    core->config_stale = true;
    return 0;
}

void core_changes_truncate(struct core *core, uint64_t first)
{
    while (core->changes_n > 0 && core->changes[core->changes_n - 1].index >= first) {
        core->changes_n--;
        core->config_stale = true;
    }
}

void core_changes_forget(struct core *core, uint64_t index)
{
    uint32_t n = 0;
    while (n < core->changes_n && core->changes[n].index <= index) {
        n++;
    }
    if (n > 0) {
        core->changes_n -= n;
        memmove(core->changes, core->changes + n, core->changes_n * sizeof *core->changes);
    }
}
