/* The metadata group grows: every registered node gets a replica, learners become voters while there are fewer than
 * METADATA_VOTERS_MAX. One change at a time, on the leader, driven by what the state machine and the configuration
 * say, so a leader that dies in between is simply continued. */
#include <stdio.h>

#include "node/control/control_internal.h"

static void say(struct control *c, const char *what, uint64_t replica, uint32_t node)
{
    log_event(c->env->logger, LOG_INFO, what, "replica=%llu node=%u", (unsigned long long)replica, node);
}

/* True when a change was begun, or has to be waited for. */
static bool add_missing(struct control *c, const struct core_config *config)
{
    for (uint32_t i = 0; i < metadata_fsm_nodes(c->metadata.fsm); i++) {
        const struct metadata_node *n = metadata_fsm_node_at(c->metadata.fsm, i);
        int rv;
        if (n->metadata_replica == 0 || core_config_find(config, n->metadata_replica) != NULL ||
            config->n == CORE_MEMBERS_MAX) {
            continue;
        }
        rv = group_change(c->metadata.group, CORE_ADD_LEARNER, n->metadata_replica, n->node);
        if (rv == 0) {
            say(c, "metadata_learner_added", n->metadata_replica, n->node);
        }
        return true; /* refused: it is tried again */
    }
    return false;
}

static void promote_one(struct control *c, const struct core_config *config)
{
    const struct core *core = group_core(c->metadata.group);

    for (uint32_t i = 0; i < config->n; i++) {
        const struct core_member *member = &config->members[i];
        uint32_t node = group_address_node(member->address);
        enum core_catch_up_status status;
        if (member->role == CORE_VOTER || !control_node_alive(c, node)) {
            continue;
        }
        status = core_catch_up_status(core, member->id);
        if (status == CORE_CATCH_UP_DONE) {
            uint64_t replica = member->id;
            if (group_change(c->metadata.group, CORE_PROMOTE, replica, node) == 0) {
                say(c, "metadata_voter_promoted", replica, node);
            }
            return;
        }
        if (status == CORE_CATCH_UP_RUNNING) {
            return; /* one at a time */
        }
        if (group_catch_up(c->metadata.group, member->id) == 0) {
            return;
        }
    }
}

void members_tick(struct control *c)
{
    const struct core_config *config;
    uint32_t voters;

    if (!c->metadata.ready || uuid_is_nil(metadata_fsm_cluster_id(c->metadata.fsm))) {
        return;
    }
    config = group_config(c->metadata.group);
    voters = core_config_voters(config);
    if (voters < 2) {
        return; /* a single voter stays alone until growing it is shown to be safe */
    }
    if (!add_missing(c, config) && voters < METADATA_VOTERS_MAX) {
        promote_one(c, config);
    }
}
