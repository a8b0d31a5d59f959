/* The end of a run: every fault ends, and the cluster must come back to full service within a limit: a leader, a commit
 * that everybody applies, a member added, caught up and promoted, another removed, leadership handed over. */
#include "tests/sim/core/sim.h"

#define HEAL_LIMIT_MS 60000 /* virtual, for each of the stages */
#define HAND_OVER_MS 3000

static bool run_until_ms(struct world *w, bool (*done)(struct world *w, uint64_t argument), uint64_t argument, uint64_t ms)
{
    uint64_t limit = w->now + ms;
    while (!violated(w) && !done(w, argument)) {
        if (w->now >= limit || !world_turn(w)) {
            return false;
        }
    }
    return !violated(w);
}

static bool run_until(struct world *w, bool (*done)(struct world *w, uint64_t argument), uint64_t argument)
{
    return run_until_ms(w, done, argument, HEAL_LIMIT_MS);
}

static bool leader_ready(struct world *w, uint64_t unused)
{
    return world_leader(w) != NULL;
}

static bool committed_all(struct world *w, uint64_t least)
{
    struct replica *leader = world_leader(w);
    return leader != NULL && core_commit(leader->core) >= least && core_commit(leader->core) == core_last(leader->core);
}

/* All members of the leader's configuration have applied its whole log. */
static bool converged(struct world *w, uint64_t least)
{
    struct replica *leader = world_leader(w);
    const struct core_config *config;

    if (leader == NULL || core_commit(leader->core) < least || core_commit(leader->core) != core_last(leader->core)) {
        return false;
    }
    config = core_config(leader->core);
    for (uint32_t i = 0; i < config->n; i++) {
        const struct replica *r = world_replica(w, config->members[i].id);
        if (r->stopped) {
            continue;
        }
        if (!r->up || r->applied != core_commit(leader->core) || core_stored(r->core) != core_last(leader->core)) {
            return false;
        }
    }
    return true;
}

static void stalled(struct world *w, const char *stage)
{
    struct replica *leader = world_leader(w);
    char text[256];
    int n = 0;

    for (unsigned i = 1; i <= w->n_replicas && n < 200; i++) {
        const struct replica *r = &w->replicas[i];
        if (r->up) {
            n += snprintf(text + n, sizeof text - (size_t)n, " %u:%c%llu/%llu/%llu", i,
                          core_role(r->core) == CORE_LEADER ? 'L' : core_role(r->core) == CORE_CANDIDATE ? 'C' : 'F',
                          (unsigned long long)core_term(r->core), (unsigned long long)r->applied,
                          (unsigned long long)core_last(r->core));
        }
    }
    violate(w, "no progress: %s within %d s of a healed cluster (leader %llu; role term/applied/last:%s)", stage,
            HEAL_LIMIT_MS / 1000, (unsigned long long)(leader != NULL ? leader->id : 0), text);
}

/* Try @act on whoever leads until it is accepted. */
struct attempt {
    int (*act)(struct world *w, struct replica *leader, uint64_t argument);
    uint64_t argument;
};

static bool attempt_done(struct world *w, uint64_t argument)
{
    const struct attempt *attempt = (const struct attempt *)(uintptr_t)argument;
    struct replica *leader = world_leader(w);
    int rv;

    if (leader == NULL) {
        return false;
    }
    replica_clock(w, leader);
    rv = attempt->act(w, leader, attempt->argument);
    replica_after(w, leader, rv);
    return rv == 0;
}

static bool attempt(struct world *w, const char *stage, int (*act)(struct world *, struct replica *, uint64_t), uint64_t argument)
{
    struct attempt a = {act, argument};
    if (!run_until(w, attempt_done, (uint64_t)(uintptr_t)&a)) {
        stalled(w, stage);
        return false;
    }
    return true;
}

static int submit_one(struct world *w, struct replica *leader, uint64_t unused)
{
    return act_submit(w, leader, 1) ? 0 : ERR_BUSY;
}

static int add_learner(struct world *w, struct replica *leader, uint64_t id)
{
    char address[CORE_ADDRESS_SIZE];
    int rv;
    snprintf(address, sizeof address, "n%llu.%llu", (unsigned long long)id, (unsigned long long)id);
    rv = core_change(leader->core, CORE_ADD_LEARNER, id, address, NULL);
    return rv == ERR_EXISTS ? 0 : rv;
}

static int catch_up(struct world *w, struct replica *leader, uint64_t id)
{
    enum core_catch_up_status status = core_catch_up_status(leader->core, id);
    if (status == CORE_CATCH_UP_DONE) {
        return 0;
    }
    if (status != CORE_CATCH_UP_RUNNING) {
        int rv = core_catch_up(leader->core, id);
        if (rv == ERR_SHUTDOWN) {
            return rv;
        }
    }
    return ERR_BUSY;
}

static int promote(struct world *w, struct replica *leader, uint64_t id)
{
    int rv = core_change(leader->core, CORE_PROMOTE, id, NULL, NULL);
    return rv == ERR_EXISTS ? 0 : rv;
}

/* A member that is gone, if any; never the leader, so that a hand-over is not part of it. */
static int remove_one(struct world *w, struct replica *leader, uint64_t unused)
{
    const struct core_config *config = core_config(leader->core);
    uint64_t victim = 0;
    for (uint32_t i = 0; i < config->n; i++) {
        uint64_t id = config->members[i].id;
        if (id != leader->id && (victim == 0 || world_replica(w, id)->stopped)) {
            victim = id;
        }
    }
    return victim == 0 ? ERR_NOT_FOUND : core_change(leader->core, CORE_REMOVE, victim, NULL, NULL);
}

static int hand_over(struct world *w, struct replica *leader, uint64_t unused)
{
    int rv = core_transfer(leader->core, 0);
    if (rv == 0) {
        w->counts.transfers++;
    }
    return rv;
}

static bool other_leads(struct world *w, uint64_t old)
{
    struct replica *leader = world_leader(w);
    return leader != NULL && leader->id != old;
}

/* Every configuration that any log knows would keep a majority of its voters without @down. */
static bool majority_without(struct world *w, uint32_t down)
{
    for (unsigned i = 1; i <= w->n_replicas; i++) {
        struct core_config config;
        unsigned up = 0;
        replica_config(&w->replicas[i], &config);
        for (uint32_t j = 0; j < config.n; j++) {
            up += config.members[j].role == CORE_VOTER && (down & (1u << config.members[j].id)) == 0;
        }
        if (config.n > 0 && up <= core_config_voters(&config) / 2) {
            return false;
        }
    }
    return true;
}

/* A minority that stays away for the first stages, or for good. */
static uint32_t draw_absent(struct world *w)
{
    uint32_t down = 0;
    for (unsigned tries = 0; tries < 4 && w->n_replicas > 0; tries++) {
        uint32_t next = down | (1u << (1 + rng_below(&w->rng, w->n_replicas)));
        if (rng_chance(&w->rng, 0.5) && majority_without(w, next)) {
            down = next;
        }
    }
    return down;
}

static void end_faults(struct world *w, uint32_t absent)
{
    w->healing = true;
    TRACE(w, "--- all faults end");
    memset(w->blocked, 0, sizeof w->blocked);
    for (unsigned i = 1; i <= w->n_replicas && !violated(w); i++) {
        struct replica *r = &w->replicas[i];
        if ((absent & (1u << i)) != 0) {
            replica_crash(w, r);
            r->boot++; /* a restart that was under way does not come */
            continue;
        }
        if (r->paused_to > w->now) {
            r->paused_to = w->now;
            r->timer_at = 0; /* what was put off is armed again by the next call */
        }
        if (!r->up && !r->stopped) {
            r->boot++;
            replica_start(w, r);
        } else if (r->up) {
            replica_clock(w, r);
            replica_after(w, r, core_tick(r->core));
        }
    }
}

static bool settle(struct world *w, const char *stage)
{
    uint64_t target = w->committed_n;
    if (!run_until(w, converged, target)) {
        stalled(w, stage);
        return false;
    }
    return true;
}

static bool change_members(struct world *w)
{
    struct replica *joiner = world_spawn(w);

    if (joiner != NULL) {
        replica_start(w, joiner);
        if (!attempt(w, "no learner could be added", add_learner, joiner->id) || !settle(w, "learner not level") ||
            !attempt(w, "a level learner is not called caught up", catch_up, joiner->id) ||
            !attempt(w, "learner not promoted", promote, joiner->id) || !settle(w, "not level after a promotion")) {
            return false;
        }
    }
    if (core_config_voters(core_config(world_leader(w)->core)) < 3) {
        return true;
    }
    return attempt(w, "nobody could be removed", remove_one, 0) && settle(w, "not level after a removal");
}

/* With a bare majority first, then with all (but those that are gone for good). */
static bool serve_again(struct world *w)
{
    uint32_t absent = draw_absent(w);

    end_faults(w, absent);
    if (violated(w)) {
        return false;
    }
    if (!run_until(w, leader_ready, 0)) {
        stalled(w, "no leader");
        return false;
    }
    if (absent == 0) {
        return true;
    }
    if (!attempt(w, "nothing could be submitted", submit_one, 0)) {
        return false;
    }
    if (!run_until(w, committed_all, w->committed_n)) {
        stalled(w, "a majority does not commit");
        return false;
    }
    for (unsigned i = 1; i <= w->n_replicas && !violated(w); i++) {
        struct replica *r = &w->replicas[i];
        if ((absent & (1u << i)) == 0) {
            continue;
        }
        r->boot++;
        if (rng_chance(&w->rng, 0.2)) {
            r->stopped = true;
        } else {
            replica_start(w, r);
        }
    }
    return !violated(w);
}

static bool try_hand_over(struct world *w)
{
    size_t burst = w->swarm.inflight < 8 ? 1 : 2;
    uint64_t old;

    for (int i = 0; i < 3; i++) {
        struct replica *leader = world_leader(w);
        if (leader != NULL && !violated(w)) {
            act_submit(w, leader, burst);
        }
    }
    if (!run_until(w, leader_ready, 0)) {
        stalled(w, "no leader under load");
        return false;
    }
    old = world_leader(w)->id;
    return attempt(w, "no hand-over could begin", hand_over, 0) && run_until_ms(w, other_leads, old, HAND_OVER_MS);
}

/* Under load: the one to take over does not have everything yet. An attempt may fail (members that were removed and do
 * not know it still ask for votes, and may come just then), a few in a row may not. */
static bool hand_over_under_load(struct world *w)
{
    for (int tries = 0; tries < 4 && !violated(w); tries++) {
        if (try_hand_over(w)) {
            return true;
        }
    }
    stalled(w, "leadership not handed over");
    return false;
}

void world_heal(struct world *w)
{
    if (!serve_again(w)) {
        return;
    }
    if (!attempt(w, "nothing could be submitted", submit_one, 0) || !settle(w, "not level")) {
        return;
    }
    if (!change_members(w) || !hand_over_under_load(w)) {
        return;
    }
    if (attempt(w, "nothing could be submitted after the hand-over", submit_one, 0)) {
        settle(w, "not level after the hand-over");
    }
}
