/* The log against a model, over many seeds: random groups, appends, replacements, trims, installs, deletions, crashes in
 * the middle of anything, recoveries that crash themselves. What was reported done is there; what was replaced does not
 * come back; nothing is taken for damage.
 *
 *   test_wal_model [first seed] [seeds] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/wal/fixture.h"

/* A program that dies inside wal_open() leaves its memory behind, as programs do. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "detect_leaks=0";
}

#define GROUPS 6
#define INDEX_MAX 6000
#define OPS_MAX 4096
#define ROUNDS 5
#define STEPS 70

struct state {
    bool exists;
    bool tombstone;
    bool founder;
    uint64_t replica;
    uint64_t incarnation;
    uint64_t term;
    uint64_t vote;
    uint64_t first;
    uint64_t last;
    uint16_t terms[INDEX_MAX];
};

struct op {
    enum { OP_CREATE, OP_APPEND, OP_DELETE, OP_FORGET, OP_INSTALL } kind;
    uint64_t replica; /* CREATE */
    uint64_t index;   /* INSTALL: next; APPEND: first */
    uint32_t n;
    uint64_t entry_term;
    bool founder;
    bool has_hard_state;
    uint64_t term;
    uint64_t vote;
    struct fx_write *w; /* NULL: FORGET */
};

struct group {
    uint64_t id;
    struct state base; /* as recovered, or at the beginning */
    struct state now;  /* with all ops */
    struct op ops[OPS_MAX];
    uint32_t n_ops;
    uint64_t trim_base; /* the first index at the base */
    uint64_t trim_asked;
    uint64_t replicas; /* given so far */
};

struct run {
    struct fx fx;
    uint64_t seed;
    struct group groups[GROUPS];
    uint64_t entry_term;
    bool mortal; /* a crash is set */
};

#define CHECK(run, cond)                                                                                               \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "seed %llu: %s:%d: %s\n", (unsigned long long)(run)->seed, __FILE__, __LINE__, #cond);     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static uint64_t draw(struct run *run, uint64_t below)
{
    return sim_world_random(run->fx.world) % below;
}

static bool chance(struct run *run, unsigned percent)
{
    return draw(run, 100) < percent;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* @n: how many of an append's entries. */
static void state_apply(struct state *s, const struct op *op, uint32_t n)
{
    switch (op->kind) {
    case OP_CREATE:
        memset(s, 0, sizeof(*s));
        s->exists = true;
        s->founder = op->founder;
        s->replica = op->replica;
        s->incarnation = 1;
        s->first = 1;
        break;
    case OP_APPEND:
        for (uint32_t i = 0; i < n; i++) {
            s->last = op->index + i;
            s->terms[s->last] = (uint16_t)op->entry_term;
        }
        break;
    case OP_DELETE:
        s->tombstone = true;
        break;
    case OP_FORGET:
        memset(s, 0, sizeof(*s));
        break;
    case OP_INSTALL:
        s->incarnation++;
        s->first = op->index;
        s->last = op->index - 1;
        break;
    }
    if (op->has_hard_state) {
        s->term = op->term;
        s->vote = op->vote;
    }
}

/* Whether what was recovered is @s, give or take trims that were not durable. */
static bool state_matches(struct run *run, const struct group *group, const struct state *s)
{
    struct wal_group_info info = fx_info(&run->fx, group->id);
    struct wal_group *g = wal_group_find(run->fx.wal, group->id);
    uint64_t upper = s->incarnation == group->now.incarnation && s->replica == group->now.replica
                         ? group->trim_asked
                         : INDEX_MAX;

    if ((info.group != 0) != s->exists || info.tombstone != s->tombstone) {
        return false;
    }
    if (!s->exists) {
        return true;
    }
    if (info.replica != s->replica || info.founder != s->founder || info.term != s->term || info.vote != s->vote ||
        info.incarnation != s->incarnation || info.damaged) {
        return false;
    }
    if (s->tombstone) {
        return true;
    }
    if (info.first_index < s->first || (info.first_index > s->first && info.first_index > upper)) {
        return false;
    }
    if (info.last_index != (s->last + 1 < info.first_index ? info.first_index - 1 : s->last)) {
        return false;
    }
    for (uint64_t i = info.first_index; i <= info.last_index; i++) {
        if (wal_group_term(g, i) != s->terms[i]) {
            return false;
        }
    }
    return true;
}

static struct state scratch;

/* The state after some prefix of what was queued, at least all that was done. */
static void group_verify(struct run *run, struct group *group)
{
    struct state *s = &scratch;
    uint32_t done = 0;
    bool found = false;

    for (uint32_t i = 0; i < group->n_ops; i++) {
        if (group->ops[i].w != NULL && group->ops[i].w->done) {
            done = i + 1;
        }
    }
    *s = group->base;
    for (uint32_t i = 0; i <= group->n_ops && !found; i++) {
        found = i >= done && state_matches(run, group, s);
        if (found || i == group->n_ops) {
            break;
        }
        /* A write that did not fit into one flush may be there in part. */
        for (uint32_t n = 0; i >= done && group->ops[i].kind == OP_APPEND && n < group->ops[i].n && !found; n++) {
            struct state before = *s;
            state_apply(s, &group->ops[i], n);
            found = state_matches(run, group, s);
            if (!found) {
                *s = before;
            }
        }
        if (!found) {
            state_apply(s, &group->ops[i], group->ops[i].n);
        }
    }
    if (!found) {
        struct wal_group_info info = fx_info(&run->fx, group->id);
        fprintf(stderr,
                "seed %llu group %llu: recovered replica %llu inc %llu term %llu [%llu, %llu] tomb %d damaged %d; "
                "model replica %llu inc %llu term %llu [%llu, %llu] trim %llu tomb %d, %u ops, %u done\n",
                (unsigned long long)run->seed, (unsigned long long)group->id, (unsigned long long)info.replica,
                (unsigned long long)info.incarnation, (unsigned long long)info.term,
                (unsigned long long)info.first_index, (unsigned long long)info.last_index, info.tombstone, info.damaged,
                (unsigned long long)group->now.replica, (unsigned long long)group->now.incarnation,
                (unsigned long long)group->now.term, (unsigned long long)group->now.first,
                (unsigned long long)group->now.last, (unsigned long long)group->trim_asked, group->now.tombstone,
                group->n_ops, done);
        for (uint32_t i = 0; i < group->n_ops; i++) {
            const struct op *op = &group->ops[i];
            fprintf(stderr, "  %u: kind %d index %llu n %u of term %llu, hard state %d (%llu, %llu), done %d\n", i, op->kind,
                    (unsigned long long)op->index, op->n, (unsigned long long)op->entry_term, op->has_hard_state,
                    (unsigned long long)op->term, (unsigned long long)op->vote, op->w != NULL && op->w->done);
        }
        for (uint64_t i = info.first_index; i <= info.last_index; i++) {
            fprintf(stderr, " %llu", (unsigned long long)wal_group_term(wal_group_find(run->fx.wal, group->id), i));
        }
        fprintf(stderr, "\n");
        abort();
    }
}

static void ops_forget(struct group *group)
{
    for (uint32_t i = 0; i < group->n_ops; i++) {
        if (group->ops[i].w != NULL) {
            fx_write_free(group->ops[i].w);
        }
    }
    group->n_ops = 0;
}

/* What was recovered is where the model goes on from. */
static void group_rebase(struct run *run, struct group *group)
{
    struct wal_group_info info = fx_info(&run->fx, group->id);
    struct state *s = &scratch;

    s->first = info.first_index > s->first ? info.first_index : s->first;
    s->last = s->exists && !s->tombstone ? info.last_index : s->last;
    group->base = *s;
    group->now = *s;
    group->trim_base = info.first_index;
    group->trim_asked = info.first_index;
    ops_forget(group);
}

static void read_all(struct run *run, struct group *group)
{
    struct wal_group_info info = fx_info(&run->fx, group->id);

    if (!group->now.exists || group->now.tombstone) {
        return;
    }
    CHECK(run, info.first_index == group->now.first && info.last_index == group->now.last);
    for (uint64_t i = info.first_index; i <= info.last_index;) {
        uint32_t n;
        int rv = fx_read(&run->fx, group->id, i, WAL_READ_ENTRIES_MAX, 256u << 10, &n);
        if (rv != 0) {
            fprintf(stderr, "seed %llu group %llu index %llu [%llu, %llu]: %s\n", (unsigned long long)run->seed,
                    (unsigned long long)group->id, (unsigned long long)i, (unsigned long long)info.first_index,
                    (unsigned long long)info.last_index, err_name(rv));
        }
        CHECK(run, rv == 0);
        i += n;
    }
}

/* ---- what happens ------------------------------------------------------------------------------------------------ */

static uint32_t draw_size(struct run *run)
{
    uint64_t kind = draw(run, 20);

    if (kind < 12) {
        return (uint32_t)draw(run, 300);
    }
    return kind < 18 ? (uint32_t)draw(run, 3000) : 4000 + (uint32_t)draw(run, 6000);
}

static void op_hard_state(struct run *run, struct group *group, struct op *op, unsigned percent)
{
    if (chance(run, percent)) {
        op->has_hard_state = true;
        op->term = group->now.term + draw(run, 3);
        op->vote = draw(run, 5);
        op->w->write.has_hard_state = true;
        op->w->write.term = op->term;
        op->w->write.vote = op->vote;
    }
}

static void op_entries(struct run *run, struct group *group, struct op *op, uint64_t first)
{
    op->index = first;
    op->n = 1 + (uint32_t)draw(run, chance(run, 10) ? 60 : 6);
    op->entry_term = run->entry_term;
    for (uint32_t i = 0; i < op->n; i++) {
        op->w->entries[i] = fx_entry(&run->fx, group->id, first + i, op->entry_term, draw_size(run));
    }
    op->w->write.n_entries = op->n;
}

struct turn {
    struct run *run;
    unsigned writes;
};

static void do_create(struct run *run, struct group *group, struct op *op)
{
    struct wal_group *g;
    op->kind = OP_CREATE;
    op->founder = chance(run, 50);
    op->replica = ++group->replicas;
    op_hard_state(run, group, op, 50);
    int rv = wal_group_create(run->fx.wal, group->id, op->replica, op->founder, &op->w->write, &g);
    CHECK(run, rv == 0);
    group->trim_asked = 1;
}

static void do_append(struct run *run, struct group *group, struct op *op)
{
    struct state *s = &group->now;
    uint64_t first = s->last + 1;

    op->kind = OP_APPEND;
    if (chance(run, 12) && s->last >= s->first) {
        uint64_t back = 1 + draw(run, 12);
        first = s->last + 1 - s->first > back ? s->last + 1 - back : s->first;
        run->entry_term++;
    }
    op_hard_state(run, group, op, 10);
    if (!(op->has_hard_state && chance(run, 50)) && wal_accepts(run->fx.wal) == 0 && first + 64 < INDEX_MAX) {
        op_entries(run, group, op, first);
    }
    op->w->write.group = wal_group_find(run->fx.wal, group->id);
    wal_append(run->fx.wal, &op->w->write);
}

static void do_trim(struct run *run, struct group *group)
{
    struct state *s = &group->now;
    uint64_t kept = s->last + 1 - s->first;
    uint64_t to = s->first + draw(run, kept + 1);

    if (chance(run, 20)) {
        to = s->last + 1;
    }
    wal_group_trim(run->fx.wal, wal_group_find(run->fx.wal, group->id), to);
    s->first = to;
    group->trim_asked = to;
}

static void one_change(struct run *run)
{
    struct group *group = &run->groups[draw(run, GROUPS)];
    struct wal_group *g = wal_group_find(run->fx.wal, group->id);
    uint64_t kind = draw(run, 100);
    struct op *op;

    if (group->n_ops == OPS_MAX) {
        return;
    }
    if (group->now.exists && !group->now.tombstone && kind < 12) {
        do_trim(run, group);
        return;
    }
    op = &group->ops[group->n_ops++];
    memset(op, 0, sizeof(*op));
    if (group->now.tombstone && chance(run, 60)) {
        op->kind = OP_FORGET;
        wal_tombstone_forget(run->fx.wal, group->id);
    } else if (group->now.tombstone) {
        group->n_ops--;
        return;
    } else {
        op->w = fx_write_new(&run->fx);
        if (!group->now.exists) {
            do_create(run, group, op);
        } else if (kind < 14) {
            op->kind = OP_DELETE;
            wal_group_delete(run->fx.wal, g, &op->w->write);
        } else if (kind < 17) {
            op->kind = OP_INSTALL;
            op->index = group->now.last + 1 + draw(run, 30);
            op->index = op->index + 200 < INDEX_MAX ? op->index : 1 + draw(run, 100);
            op_hard_state(run, group, op, 50);
            group->trim_asked = op->index;
            wal_group_install(run->fx.wal, g, op->index, &op->w->write);
        } else {
            do_append(run, group, op);
        }
    }
    /* The trims that callers saw stay in .now; ops alone make the prefixes. */
    uint64_t first = group->now.first;
    state_apply(&group->now, op, op->n);
    if (op->kind == OP_APPEND) {
        group->now.first = first;
    }
}

static void turn(struct fx *fx, void *arg)
{
    struct turn *t = arg;
    for (unsigned i = 0; i < t->writes; i++) {
        one_change(t->run);
    }
}

static void random_read(struct run *run)
{
    struct group *group = &run->groups[draw(run, GROUPS)];
    struct state *s = &group->now;
    uint32_t n;
    uint64_t first;
    int rv;

    if (!s->exists || s->tombstone || s->last + 1 <= s->first) {
        return;
    }
    first = s->first + draw(run, s->last + 1 - s->first);
    rv = fx_read(&run->fx, group->id, first, 1 + (uint32_t)draw(run, 40), (uint32_t)draw(run, 20000), &n);
    CHECK(run, rv == 0);
}

static void run_for(struct run *run)
{
    uint64_t kind = draw(run, 10);
    sim_world_run_for(run->fx.world, kind == 0 ? 3 * SIM_S : kind < 3 ? draw(run, 60 * SIM_MS) : draw(run, 2 * SIM_MS));
}

/* Live until the crash, which may come by itself in the middle of something. */
static void live(struct run *run)
{
    struct fx *fx = &run->fx;
    unsigned steps = (unsigned)draw(run, STEPS);

    run->mortal = chance(run, 40);
    if (run->mortal) {
        sim_node_kill_at_op(fx->node, draw(run, 300), chance(run, 70) ? SIM_END_POWER : SIM_END_KILL);
    }
    sim_node_disk_knobs(fx->node)->sync_error_ppm = chance(run, 15) ? 20000 : 0;
    for (unsigned i = 0; i < steps && sim_node_running(fx->node); i++) {
        struct turn t = {run, 1 + (unsigned)draw(run, chance(run, 20) ? 40 : 4)};
        (void)fx_call(fx, turn, &t);
        if (sim_node_running(fx->node) && chance(run, 70)) {
            run_for(run);
        }
        /* A read waits, so not while the program may die. */
        if (sim_node_running(fx->node) && sim_node_disk_knobs(fx->node)->sync_error_ppm == 0 && chance(run, 5) &&
            !run->mortal) {
            random_read(run);
        }
    }
    sim_node_disk_knobs(fx->node)->sync_error_ppm = 0;
    if (sim_node_running(fx->node)) {
        fx_crash(fx, chance(run, 70) ? SIM_END_POWER : SIM_END_KILL);
    } else if (chance(run, 50)) {
        fx_crash(fx, SIM_END_POWER);
    }
}

static void recover(struct run *run)
{
    struct fx *fx = &run->fx;

    for (int i = 0; i < 3 && chance(run, 50); i++) {
        fx_start_and_crash(fx, draw(run, 40), chance(run, 70) ? SIM_END_POWER : SIM_END_KILL);
    }
    fx_start(fx);
    if (fx->open_status != 0) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)run->seed, fx->errmsg);
        abort();
    }
    CHECK(run, fx->recovery.groups_damaged == 0 && !fx->recovery.all_damaged);
    for (unsigned i = 0; i < GROUPS; i++) {
        group_verify(run, &run->groups[i]);
        group_rebase(run, &run->groups[i]);
    }
    for (unsigned i = 0; i < GROUPS; i++) {
        read_all(run, &run->groups[i]);
    }
}

/* Everything trimmed: nothing may hold on to its file. */
static void trim_all(struct fx *fx, void *arg)
{
    struct run *run = arg;
    for (unsigned i = 0; i < GROUPS; i++) {
        struct group *group = &run->groups[i];
        if (group->now.exists && !group->now.tombstone) {
            wal_group_trim(fx->wal, wal_group_find(fx->wal, group->id), group->now.last + 1);
        }
    }
}

static void one_seed(uint64_t seed)
{
    struct run *run = calloc(1, sizeof(*run));

    run->seed = seed;
    fx_init(&run->fx, seed);
    run->fx.params.file_size_bytes = 64u << 10;
    run->fx.params.size_max_bytes = 3u << 20;
    run->fx.params.reserve_bytes = 512u << 10;
    run->fx.params.cache_max_bytes = seed % 3 == 0 ? 0 : 20000;
    run->fx.params.inline_max_bytes = seed % 2;
    run->entry_term = 1;
    for (unsigned i = 0; i < GROUPS; i++) {
        run->groups[i].id = 10 + i;
    }
    fx_open(&run->fx);
    for (int round = 0; round < ROUNDS; round++) {
        live(run);
        recover(run);
    }
    CHECK(run, fx_call(&run->fx, trim_all, run));
    fx_settle(&run->fx);
    struct wal_stats stats = fx_stats(&run->fx);
    CHECK(run, stats.bytes_live == 0);
    CHECK(run, stats.files <= 2);
    CHECK(run, stats.cache_bytes == 0);
    fx_close(&run->fx);
    fx_free(&run->fx);
    for (unsigned i = 0; i < GROUPS; i++) {
        ops_forget(&run->groups[i]);
    }
    free(run);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 200;

    for (uint64_t seed = first; seed < first + n; seed++) {
        one_seed(seed);
    }
    printf("%llu seeds\n", (unsigned long long)n);
    return 0;
}
