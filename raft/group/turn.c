/* What a group does at the end of a turn: follow the core's state, apply, submit. And the care of a core that failed. */
#include "proto/base/mutant.h"
#include "raft/group/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- up-calls of the core: record and wake ---- */

static void on_commit(struct core *core, uint64_t index)
{
    (void)index;
    group_dirty(core_data(core));
}

static void on_state_changed(struct core *core)
{
    struct group *g = core_data(core);

    g->state_changed = true;
    group_dirty(g);
}

const struct core_ops group_core_ops = {
    .persist = group_persist,
    .send = group_send,
    .commit = on_commit,
    .state_changed = on_state_changed,
};

bool group_still_leads(const struct group *g)
{
    return g->leading && core_role(g->core) == CORE_LEADER && core_term(g->core) == g->lead_term;
}

/* ---- after the core was moved ---- */

void group_after(struct group *g)
{
    if (g->state == GROUP_OPEN && core_failed(g->core)) {
        g->state = GROUP_BROKEN;
    }
    if (g->state == GROUP_BROKEN) {
        group_dirty(g);
        return;
    }
    if (g->state == GROUP_OPEN) {
        wheel_file(g, core_timeout_ms(g->core));
    }
}

void group_timer(struct group *g)
{
    struct group_host *host = g->host;
    int rv;

    if (g->state == GROUP_BROKEN) {
        group_dirty(g);
        return;
    }
    if (g->state != GROUP_OPEN) {
        return;
    }
    if (core_timeout_ms(g->core) <= host->now_ms) {
        rv = core_tick(g->core);
        assert(rv == 0 || rv == ERR_SHUTDOWN);
        (void)rv;
    }
    /* A hand-over may have ended, or a read has to be tried again. */
    if (!list_empty(&g->queued) || !list_empty(&g->barriers) || g->applied < core_commit(g->core)) {
        group_dirty(g);
    }
    group_after(g);
}

/* ---- the turn ---- */

void group_step_down(struct group *g, int submitted, int queued)
{
    if (g->leading) {
        g->leading = false;
        g->ready = false;
        g->fsm->leadership(g->data, false, false, g->lead_term);
    }
    proposals_end(g, submitted, queued);
}

static void tell_leader(struct group *g)
{
    struct group_host *host = g->host;
    uint64_t leader = core_leader(g->core);
    const struct core_member *member = leader != 0 ? core_config_find(core_config(g->core), leader) : NULL;
    uint32_t node = member != NULL ? group_address_node(member->address) : 0;
    uint64_t term = core_term(g->core);

    if (node == g->hint_node && (term == g->hint_term || node == 0)) {
        return;
    }
    g->hint_node = node;
    g->hint_term = term;
    if (host->params.leader != NULL) {
        host->params.leader(host->params.data, g, term, node);
    }
}

static void follow_state(struct group *g)
{
    g->state_changed = false;
    if (g->leading && !group_still_leads(g)) {
        group_step_down(g, MUTANT(DEFINITE_FOR_UNKNOWN) ? ERR_NOT_LEADER : ERR_UNKNOWN_OUTCOME, ERR_NOT_LEADER);
    }
    if (!g->leading && core_role(g->core) == CORE_LEADER) {
        g->leading = true;
        g->ready = false;
        g->confirmed = true; /* a quorum has just said so */
        g->lead_term = core_term(g->core);
        g->lead_index = core_last(g->core);
        g->fsm->leadership(g->data, true, false, g->lead_term);
    }
    tell_leader(g);
}

static void check_ready(struct group *g)
{
    if (!group_still_leads(g)) {
        return;
    }
    if (!g->confirmed && g->applied >= g->confirm_index) {
        g->confirmed = true;
    }
    /* The entry applied last is of the own term: everything of earlier ones is behind it (Raft 8). A single voter leads
     * again in the term of its earlier life, so its own term alone says nothing: also all that it began with. */
    if (!g->ready && ((core_leader_ready(g->core) && core_term_at(g->core, g->applied) == g->lead_term &&
                       g->applied >= g->lead_index) ||
                      MUTANT(SERVE_BEFORE_OWN_TERM))) {
        g->ready = true;
        g->fsm->leadership(g->data, true, true, g->lead_term);
    }
}

static void fail(struct group *g)
{
    char quoted[ERRMSG_SIZE];
    const char *text = g->fail_text != NULL ? g->fail_text : err_text(g->fail_err);

    log_event(g->host->env->logger, LOG_ERROR, "replica_failed", "group=%llu replica=%llu error=%s text=%s",
              (unsigned long long)g->id, (unsigned long long)g->replica, err_name(g->fail_err),
              log_quote(quoted, sizeof(quoted), text));
    g->state = GROUP_FAILED;
    group_step_down(g, ERR_UNKNOWN_OUTCOME, ERR_NOT_LEADER);
    g->generation++;
    core_close(g->core);
    g->core = NULL;
    wheel_remove(g);
    load_drop(g);
    peers_clear(g);
    apply_drop(g);
    g->fsm->failed(g->data, g->fail_err, text);
}

/* The core is closed at once; when all that it has written is durable, a new one starts from that (libraft.md, 20). */
static void mend(struct group *g)
{
    if (g->core != NULL) {
        log_event(g->host->env->logger, LOG_WARN, "core_reopened", "group=%llu replica=%llu times=%u",
                  (unsigned long long)g->id, (unsigned long long)g->replica, g->reopened + 1);
        group_step_down(g, ERR_UNKNOWN_OUTCOME, ERR_NOT_LEADER);
        g->generation++;
        core_close(g->core);
        g->core = NULL;
        g->host->stats.reopened++;
        peers_clear(g);
        apply_drop(g);
        if (++g->reopened > REOPEN_MAX) {
            group_fail(g, ERR_CORRUPT, "the Raft core fails again and again");
            return;
        }
    } else if (list_empty(&g->writes)) {
        load_start(g);
        return;
    }
    wheel_file(g, g->host->now_ms + 1);
}

void group_fail(struct group *g, int err, const char *text)
{
    if (g->fail_err != 0) {
        return;
    }
    g->fail_err = err;
    g->fail_text = strdup(text);
    group_dirty(g);
}

void group_damaged(struct group *g, const char *text)
{
    wal_group_damage(g->host->wal, g->wal);
    group_fail(g, ERR_CORRUPT, text);
}

void group_turn(struct group *g, uint32_t *budget)
{
    g->in_turn = true;
    if (g->fail_err != 0) {
        if (g->state != GROUP_FAILED) {
            fail(g);
        }
        goto out;
    }
    if (g->state == GROUP_BROKEN) {
        mend(g);
        goto out;
    }
    if (g->state != GROUP_OPEN) {
        goto out;
    }
    if (g->state_changed) {
        follow_state(g);
    }
    if (!group_apply(g, budget)) {
        group_dirty(g);
    }
    if (g->fail_err != 0) {
        group_dirty(g);
        goto out;
    }
    barriers_applied(g);
    check_ready(g);
    group_submit(g);
    group_after(g);
out:
    g->in_turn = false;
}
