/* The life of one replica, and what its owner asks it. */
#include "raft/group/group.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/group/internal.h"

uint32_t group_address_node(const char *address)
{
    unsigned long long node = 0;
    const char *p = address;

    for (; *p >= '0' && *p <= '9' && node <= UINT32_MAX; p++) {
        node = 10 * node + (unsigned long long)(*p - '0');
    }
    return *p == '.' && p > address && node <= UINT32_MAX ? (uint32_t)node : 0;
}

/* ---- making and ending ---- */

static struct group *group_new(struct group_host *host, const struct group_params *params, enum group_state state)
{
    struct group *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return NULL;
    }
    g->host = host;
    g->id = params->group;
    g->replica = params->replica;
    g->fsm = params->fsm;
    g->data = params->data;
    g->preferred = params->preferred;
    g->state = state;
    g->wheel_tick = UINT64_MAX;
    list_init(&g->queued);
    list_init(&g->pending);
    list_init(&g->barriers);
    list_init(&g->barriers_pending);
    list_init(&g->writes);
    list_init(&g->ios);
    list_init(&g->dirty_link);
    list_init(&g->wheel_link);
    list_init(&g->link);
    return g;
}

/* Make the CREATED record durable, with entry 1 and term 1 when @first is given; then the core opens. */
static int group_create(struct group_host *host, const struct group_params *params, struct entry *first,
                        struct group **out)
{
    struct group_write *w;
    struct group *g;
    int rv;

    if (group_host_find(host, params->group) != NULL || params->replica == 0) {
        return params->replica == 0 ? ERR_INVALID : ERR_EXISTS;
    }
    g = group_new(host, params, GROUP_CREATING);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    w = write_new(host, g, 1);
    if (w == NULL) {
        rv = ERR_NOMEM;
        goto err_after_new;
    }
    if (first != NULL) {
        w->write.has_hard_state = true;
        w->write.term = first->term;
        w->write.vote = 0;
        w->write.entries[0] = entry_acquire(first);
        w->write.n_entries = 1;
    }
    rv = table_add(&host->table, g->id, g);
    if (rv != 0) {
        goto err_after_write;
    }
    rv = wal_group_create(host->wal, g->id, g->replica, first != NULL, &w->write, &g->wal);
    if (rv != 0) {
        goto err_after_table;
    }
    list_push_back(&host->groups, &g->link);
    wheel_start(host);
    *out = g;
    return 0;

err_after_table:
    table_remove(&host->table, g->id);
err_after_write:
    write_free(w);
err_after_new:
    free(g);
    return rv;
}

int group_found(struct group_host *host, const struct group_params *params, struct group **out)
{
    struct entry *first;
    int rv;

    if (params->founders == NULL || core_config_find(params->founders, params->replica) == NULL) {
        return ERR_INVALID;
    }
    rv = core_bootstrap_entry(params->group, params->founders, &first);
    if (rv != 0) {
        return rv;
    }
    rv = group_create(host, params, first, out);
    entry_release(first);
    return rv;
}

int group_join(struct group_host *host, const struct group_params *params, struct group **out)
{
    return group_create(host, params, NULL, out);
}

int group_resume(struct group_host *host, const struct group_params *params, struct group **out)
{
    struct wal_group *wal = wal_group_find(host->wal, params->group);
    struct wal_group_info info;
    struct group *g;

    if (wal == NULL) {
        return ERR_NOT_FOUND;
    }
    wal_group_info(wal, &info);
    if (info.tombstone) {
        return ERR_NOT_FOUND;
    }
    if (info.damaged) {
        return ERR_CORRUPT;
    }
    if (params->replica != 0 && params->replica != info.replica) {
        return ERR_INVALID;
    }
    if (group_host_find(host, params->group) != NULL) {
        return ERR_EXISTS;
    }
    g = group_new(host, params, GROUP_LOADING);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    g->replica = info.replica;
    g->preferred = false;
    g->wal = wal;
    if (table_add(&host->table, g->id, g) != 0) {
        free(g);
        return ERR_NOMEM;
    }
    list_push_back(&host->groups, &g->link);
    wheel_start(host);
    load_start(g);
    *out = g;
    return 0;
}

void group_close(struct group *g)
{
    struct group_host *host = g->host;

    assert(!g->in_turn);
    g->in_turn = true; /* callbacks of its end must not end it again */
    g->state = GROUP_FAILED;
    group_step_down(g, ERR_UNKNOWN_OUTCOME, ERR_SHUTDOWN);
    list_remove(&g->dirty_link);
    wheel_remove(g);
    ios_orphan(g);
    writes_orphan(g);
    load_drop(g);
    apply_drop(g);
    peers_free(g);
    core_close(g->core);
    table_remove(&host->table, g->id);
    list_remove(&g->link);
    if (list_empty(&host->groups)) {
        wheel_stop(host);
    }
    free(g->fail_text);
    free(g);
}

void group_delete(struct group *g, void (*done)(void *data), void *data)
{
    struct group_host *host = g->host;
    struct wal_group *wal = g->wal;
    struct group_write *w = write_new(host, NULL, 0);

    if (w == NULL) {
        env_fatal(host->env, "out of memory: a group cannot be deleted");
        return;
    }
    w->deleted = done;
    w->deleted_data = data;
    group_close(g);
    wal_group_delete(host->wal, wal, &w->write);
}

/* ---- asking ---- */

bool group_confirmed(struct group *g)
{
    (void)wheel_stalled(g->host);
    return g->leading && g->confirmed;
}

bool group_read(struct group *g, struct wal_read *read)
{
    uint64_t commit = g->core == NULL ? 0 : MUTANT(SERVE_ABOVE_HIGH_WATERMARK) ? core_last(g->core) : core_commit(g->core);
    struct list *node;

    read->group = g->id;
    if (g->state != GROUP_OPEN || read->first > commit || read->first == 0) {
        node = (struct list *)(void *)read->impl;
        list_push_back(&g->host->refused, node);
        env_wake(g->host->env);
        return false;
    }
    if (read->n_max > commit - read->first + 1) {
        read->n_max = (uint32_t)(commit - read->first + 1);
    }
    return wal_read(g->host->wal, read);
}

static int leads(struct group *g)
{
    return g->state == GROUP_OPEN && group_still_leads(g) ? 0 : ERR_NOT_LEADER;
}

/* Out of memory inside libraft ends a core, not the program. */
static int moved(struct group *g, int rv)
{
    group_after(g);
    return rv;
}

int group_transfer(struct group *g, uint32_t node)
{
    const struct core_config *config;
    uint64_t replica = 0;
    int rv = leads(g);

    if (rv != 0) {
        return rv;
    }
    config = core_config(g->core);
    for (uint32_t i = 0; node != 0 && i < config->n; i++) {
        if (config->members[i].role == CORE_VOTER && group_address_node(config->members[i].address) == node) {
            replica = config->members[i].id;
        }
    }
    if (node != 0 && replica == 0) {
        return ERR_NOT_FOUND;
    }
    host_now(g->host);
    return moved(g, core_transfer(g->core, replica));
}

int group_change(struct group *g, enum core_change_kind kind, uint64_t replica, uint32_t node)
{
    char address[CORE_ADDRESS_SIZE];
    int rv = leads(g);

    if (rv != 0) {
        return rv;
    }
    snprintf(address, sizeof(address), "%" PRIu32 ".%" PRIu64, node, replica);
    host_now(g->host);
    return moved(g, core_change(g->core, kind, replica, kind == CORE_ADD_LEARNER ? address : NULL, NULL));
}

int group_catch_up(struct group *g, uint64_t replica)
{
    int rv = leads(g);

    if (rv != 0) {
        return rv;
    }
    host_now(g->host);
    return moved(g, core_catch_up(g->core, replica));
}

void group_info(const struct group *g, struct group_info *info)
{
    const struct core_member *leader;

    memset(info, 0, sizeof(*info));
    info->group = g->id;
    info->replica = g->replica;
    info->failed = g->state == GROUP_FAILED || g->fail_err != 0;
    info->applied = g->applied;
    info->uncommitted_bytes = g->uncommitted_bytes;
    if (g->core == NULL) {
        return;
    }
    info->leading = g->leading;
    info->ready = g->ready;
    info->term = core_term(g->core);
    info->leader_replica = core_leader(g->core);
    leader = info->leader_replica != 0 ? core_config_find(core_config(g->core), info->leader_replica) : NULL;
    info->leader_node = leader != NULL ? group_address_node(leader->address) : 0;
    info->commit = core_commit(g->core);
    info->first = core_first(g->core);
    info->last = core_last(g->core);
}

uint64_t group_id(const struct group *g)
{
    return g->id;
}

void *group_data(const struct group *g)
{
    return g->data;
}

const struct core_config *group_config(const struct group *g)
{
    return g->core != NULL ? core_config(g->core) : NULL;
}

struct core *group_core(struct group *g)
{
    return g->core;
}
