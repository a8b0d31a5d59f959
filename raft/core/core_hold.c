/* The ordered write stream and the messages that wait for it. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/core/core_internal.h"

static struct core_pending_write *write_at(const struct core *core, uint32_t i)
{
    return &core->writes[(core->writes_begin + i) & (core->writes_size - 1)];
}

static int writes_push(struct core *core, const struct core_pending_write *write)
{
    if (core->writes_n == core->writes_size) {
        uint32_t size = core->writes_size == 0 ? 4 : core->writes_size * 2;
        struct core_pending_write *writes = malloc(size * sizeof *writes);
        if (writes == NULL) {
            return ERR_NOMEM;
        }
        for (uint32_t i = 0; i < core->writes_n; i++) {
            writes[i] = *write_at(core, i);
        }
        free(core->writes);
        core->writes = writes;
        core->writes_size = size;
        core->writes_begin = 0;
    }
    core->writes_n++;
    *write_at(core, core->writes_n - 1) = *write;
    return 0;
}

/* Rule 2: what was replaced meanwhile must never be acknowledged. */
static void clamp_pending(struct core *core, const struct core_write *write)
{
    if (!RULE(core, 2) || MUTANT(STALE_COMPLETION)) {
        return;
    }
    for (uint32_t i = 0; i < core->writes_n; i++) {
        struct core_pending_write *pending = write_at(core, i);
        if (write->install != NULL) {
            pending->last = 0;
        } else if (write->n > 0 && pending->last >= write->first && !MUTANT(STALE_COMPLETION)) {
            pending->last = write->first - 1;
        }
    }
}

int core_write_out(struct core *core, struct core_write *write)
{
    struct core_pending_write pending;

    clamp_pending(core, write);
    if (write->n > 0) {
        core_changes_truncate(core, write->first);
        for (size_t i = 0; i < write->n; i++) {
            if (write->entries[i]->kind == ENTRY_CHANGE && core_changes_record(core, write->entries[i]) != 0) {
                return core_fail(core);
            }
        }
    }
    pending.sequence = write->sequence = core->sequence + 1;
    pending.last = write->n > 0 ? write->first + write->n - 1 : 0;
    pending.install = write->install != NULL;
    if (writes_push(core, &pending) != 0) {
        return core_fail(core);
    }
    core->sequence++;
    if (write->has_hard_state) {
        core->sequence_hard = core->sequence;
    }
    core->counters.writes++;
    core->ops->persist(core, write);
    return 0;
}

static struct core_held *held_at(const struct core *core, uint32_t i)
{
    return &core->held[(core->held_begin + i) & (core->held_size - 1)];
}

/* What the type uses; the rest need not be copied. */
static size_t message_size(const struct core_message *m)
{
    return m->type == CORE_INSTALL ? sizeof *m : offsetof(struct core_message, append) + sizeof m->append;
}

static void hold(struct core *core, const struct core_message *message)
{
    struct core_message *copy;

    if (core->held_n == CORE_HELD_MAX) {
        return; /* as lost on the way */
    }
    if (core->held_n == core->held_size) {
        uint32_t size = core->held_size == 0 ? 8 : core->held_size * 2;
        struct core_held *held = malloc(size * sizeof *held);
        if (held == NULL) {
            return;
        }
        for (uint32_t i = 0; i < core->held_n; i++) {
            held[i] = *held_at(core, i);
        }
        free(core->held);
        core->held = held;
        core->held_size = size;
        core->held_begin = 0;
    }
    copy = malloc(sizeof *copy);
    if (copy == NULL) {
        return;
    }
    memcpy(copy, message, message_size(message));
    core->held_n++;
    held_at(core, core->held_n - 1)->sequence = core->sequence_hard;
    held_at(core, core->held_n - 1)->message = copy;
    core->counters.messages_held++;
}

void core_emit(struct core *core, struct core_message *message)
{
    if (core->sequence_hard > core->sequence_durable && RULE(core, 1) && !MUTANT(VOTE_BEFORE_DURABLE)) {
        hold(core, message);
        return;
    }
    core->counters.messages_out++;
    core->ops->send(core, message);
}

void core_held_clear(struct core *core)
{
    for (uint32_t i = 0; i < core->held_n; i++) {
        free(held_at(core, i)->message);
    }
    free(core->held);
    core->held = NULL;
    core->held_n = core->held_size = core->held_begin = 0;
}

static void release_held(struct core *core)
{
    while (core->held_n > 0 && held_at(core, 0)->sequence <= core->sequence_durable) {
        struct core_message *message = held_at(core, 0)->message;
        core->held_begin = (core->held_begin + 1) & (core->held_size - 1);
        core->held_n--;
        core->counters.messages_out++;
        core->ops->send(core, message);
        free(message);
    }
    if (core->held_n == 0 && core->held_size > 64) {
        core_held_clear(core); /* give an election storm's memory back */
    }
}

static int install_durable(struct core *core)
{
    struct core_snapshot_meta *install = core->install;
    struct raft_event event;

    assert(install != NULL && core->raft.state == RAFT_FOLLOWER && core->raft.snapshot.installing);
    memset(&event, 0, sizeof event);
    event.type = RAFT_PERSISTED_SNAPSHOT;
    event.persisted_snapshot.metadata.index = install->index;
    event.persisted_snapshot.metadata.term = install->term;
    event.persisted_snapshot.metadata.configuration_index = install->config_index;
    event.persisted_snapshot.last = true;
    if (core_config_to_raft(&install->config, &event.persisted_snapshot.metadata.configuration) != 0) {
        return core_fail(core);
    }
    free(core->snapshot);
    core->snapshot = install;
    core->install = NULL;
    core->change_applied = install->config_index;
    core->config_stale = true;
    return core_step(core, &event, NULL, NULL);
}

static int entries_durable(struct core *core, uint64_t last)
{
    struct raft_event event;

    memset(&event, 0, sizeof event);
    event.type = RAFT_PERSISTED_ENTRIES;
    event.persisted_entries.index = last;
    return core_step(core, &event, NULL, NULL);
}

int core_persisted(struct core *core, uint64_t sequence)
{
    uint64_t last = 0;
    bool install = false;
    int rv = core_enter(core);

    if (rv != 0) {
        return rv;
    }
    if (sequence <= core->sequence_durable || sequence > core->sequence) {
        return core_leave(core, ERR_INVALID);
    }
    while (core->writes_n > 0 && write_at(core, 0)->sequence <= sequence) {
        const struct core_pending_write *pending = write_at(core, 0);
        if (pending->install) {
            install = true;
            last = 0;
        } else if (pending->last > last) {
            last = pending->last;
        }
        core->writes_begin = (core->writes_begin + 1) & (core->writes_size - 1);
        core->writes_n--;
    }
    core->sequence_durable = sequence;
    release_held(core);
    if (install) {
        rv = install_durable(core);
    }
    /* Strictly increasing, and only what is in the log (rule 2). */
    if (rv == 0 && core->install == NULL && last > core->raft.last_stored && last <= trail_last(&core->raft.trail)) {
        rv = entries_durable(core, last);
    }
    return core_leave(core, rv);
}
