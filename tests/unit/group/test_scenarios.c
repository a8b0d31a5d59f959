/* Single scenarios in virtual time: what a stall, a partition, a dead leader and a rotten byte do to groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sim/world.h"
#include "tests/unit/group/member.h"

#define NODES 3
#define LIMIT (30 * SIM_S)

struct scene {
    struct sim_world *world;
    struct sim_node *machines[NODES + 1];
    struct member members[NODES + 1];
    struct sim_program programs[NODES + 1];
    struct who {
        struct scene *scene;
        uint32_t node;
    } whos[NODES + 1];
    unsigned n_groups;
    uint64_t cache_bytes;
    uint64_t boot;
    int refused[NODES + 1]; /* what starting group 0 said */
    bool open[NODES + 1];
};

static void on_start(struct env *env, void *data)
{
    static const uint32_t ids[NODES] = {1, 2, 3};
    struct who *who = data;
    struct scene *s = who->scene;
    struct member *m = &s->members[who->node];
    char listen[16];
    struct member_params params = {.env = env, .node = who->node, .dir = "/data", .listen = listen,
                                   .boot = ++s->boot, .cache_bytes = s->cache_bytes};

    snprintf(listen, sizeof(listen), "n%u:7000", who->node);
    if (member_open(m, &params) != 0) {
        fail_msg("node %u: %s", who->node, m->error);
    }
    for (uint32_t i = 1; i <= NODES; i++) {
        char address[16];
        snprintf(address, sizeof(address), "n%u:7000", i);
        if (i != who->node) {
            assert_int_equal(transport_peer_set(m->transport, i, address), 0);
        }
    }
    for (unsigned g = 0; g < s->n_groups; g++) {
        struct core_config founders;
        member_founders(g, ids, NODES, &founders);
        s->refused[who->node] = member_group(m, g, &founders, 1);
    }
    s->open[who->node] = true;
}

static void on_ended(struct sim_node *machine, enum sim_end how, void *data)
{
    struct who *who = data;

    assert_int_not_equal(how, SIM_END_FATAL);
    who->scene->open[who->node] = false;
    member_abandon(&who->scene->members[who->node]);
}

static void start(struct scene *s, uint32_t node)
{
    s->programs[node] = (struct sim_program){.start = on_start, .ended = on_ended, .data = &s->whos[node]};
    sim_node_start(s->machines[node], &s->programs[node]);
}

static struct scene *scene_new(uint64_t seed, unsigned n_groups)
{
    struct scene *s = calloc(1, sizeof(*s));
    struct sim_params params;

    assert_non_null(s);
    sim_params_default(&params);
    params.log_level = getenv("CAIRN_TEST_LOG") != NULL ? LOG_DEBUG : 0;
    s->world = sim_world_new(seed, &params);
    s->n_groups = n_groups;
    s->cache_bytes = 1u << 20;
    for (uint32_t i = 1; i <= NODES; i++) {
        char host[8];
        snprintf(host, sizeof(host), "n%u", i);
        s->whos[i] = (struct who){s, i};
        s->machines[i] = sim_node_new(s->world, host);
        sim_node_make_dirs(s->machines[i], "/data");
        start(s, i);
    }
    return s;
}

static void scene_free(struct scene *s)
{
    sim_world_free(s->world);
    free(s);
}

static struct mgroup *leader_except(struct scene *s, unsigned group, uint32_t except)
{
    for (uint32_t i = 1; i <= NODES; i++) {
        if (i != except && s->open[i] && s->members[i].groups[group].ready) {
            return &s->members[i].groups[group];
        }
    }
    return NULL;
}

struct wanted {
    struct scene *s;
    uint32_t except;
};

static bool has_leader(void *data)
{
    struct wanted *w = data;
    for (unsigned g = 0; g < w->s->n_groups; g++) {
        if (leader_except(w->s, g, w->except) == NULL) {
            return false;
        }
    }
    return true;
}

static struct mgroup *wait_leader(struct scene *s, uint32_t except)
{
    struct wanted w = {s, except};
    assert_true(sim_world_run_until_true(s->world, has_leader, &w, LIMIT));
    return leader_except(s, 0, except);
}

/* Things done to a group in a turn of its node. */
struct act {
    struct mgroup *mg;
    struct group_proposal p;
    struct group_barrier b;
    struct env *env;
    uint64_t value;
    uint32_t size;
    int rv;
    int status;
    bool ended;
    bool answer;
};

static void act_proposed(struct group_proposal *p, int status)
{
    struct act *a = container_of(p, struct act, p);
    a->ended = true;
    a->status = status;
}

static void act_propose(struct env *env, void *data)
{
    struct act *a = data;
    a->p.entry = member_entry(a->mg->member, a->value, a->size);
    a->p.done = act_proposed;
    a->rv = group_propose(a->mg->g, &a->p);
    if (a->rv != 0) {
        entry_release(a->p.entry);
    }
}

static void act_passed(struct group_barrier *b, int status)
{
    struct act *a = container_of(b, struct act, b);
    a->ended = true;
    a->status = status;
}

static void act_barrier(struct env *env, void *data)
{
    struct act *a = data;
    a->b.done = act_passed;
    a->rv = group_barrier(a->mg->g, &a->b);
}

static void act_confirmed(struct env *env, void *data)
{
    struct act *a = data;
    a->answer = group_confirmed(a->mg->g);
}

static bool act_ended(void *data)
{
    return ((struct act *)data)->ended;
}

static bool is_confirmed(struct scene *s, struct mgroup *mg)
{
    struct act a = {.mg = mg};
    assert_true(sim_node_call(s->machines[mg->member->node], act_confirmed, &a));
    return a.answer;
}

static void put(struct scene *s, struct mgroup *mg, uint64_t value, uint32_t size)
{
    struct act a = {.mg = mg, .value = value, .size = size};
    assert_true(sim_node_call(s->machines[mg->member->node], act_propose, &a));
    assert_int_equal(a.rv, 0);
    assert_true(sim_world_run_until_true(s->world, act_ended, &a, LIMIT));
    assert_int_equal(a.status, 0);
}

static int pass_barrier(struct scene *s, struct mgroup *mg)
{
    struct act a = {.mg = mg};
    assert_true(sim_node_call(s->machines[mg->member->node], act_barrier, &a));
    if (a.rv != 0) {
        return a.rv;
    }
    assert_true(sim_world_run_until_true(s->world, act_ended, &a, LIMIT));
    return a.status;
}

static void a_leader_that_stood_still_is_not_confirmed_until_a_barrier(void **state)
{
    struct scene *s = scene_new(1, 1);
    struct mgroup *mg = wait_leader(s, 0);

    put(s, mg, 1, 100);
    assert_true(is_confirmed(s, mg));
    sim_node_pause(s->machines[mg->member->node]);
    sim_world_run_for(s->world, 500 * SIM_MS);
    sim_node_resume(s->machines[mg->member->node]);
    assert_false(is_confirmed(s, mg)); /* asked before its own timer has noticed */
    assert_int_equal(pass_barrier(s, mg), 0);
    assert_true(is_confirmed(s, mg));
    scene_free(s);
}

static void a_leader_that_slept_through_an_election_learns_it(void **state)
{
    struct scene *s = scene_new(2, 1);
    struct mgroup *old = wait_leader(s, 0);
    struct mgroup *mg;

    put(s, old, 1, 100);
    sim_node_pause(s->machines[old->member->node]);
    mg = wait_leader(s, old->member->node);
    put(s, mg, 2, 100);
    sim_node_resume(s->machines[old->member->node]);
    assert_false(is_confirmed(s, old));
    assert_int_not_equal(pass_barrier(s, old), 0);
    sim_world_run_for(s->world, 2 * SIM_S);
    assert_false(old->leading);
    assert_int_equal(old->n, mg->n);
    scene_free(s);
}

static void a_short_stall_of_a_follower_starts_no_election(void **state)
{
    struct scene *s = scene_new(3, 1);
    struct mgroup *mg = wait_leader(s, 0);
    uint64_t term = mg->term;

    put(s, mg, 1, 100);
    for (uint32_t i = 1; i <= NODES; i++) {
        if (i != mg->member->node) {
            sim_node_pause(s->machines[i]);
            sim_world_run_for(s->world, 5 * SIM_S); /* heartbeats pile up in its socket */
            sim_node_resume(s->machines[i]);
            sim_world_run_for(s->world, 2 * SIM_S);
        }
    }
    assert_true(mg->ready);
    assert_int_equal(mg->term, term);
    scene_free(s);
}

static void a_cut_off_leader_passes_no_barrier_and_steps_down(void **state)
{
    struct scene *s = scene_new(4, 1);
    struct mgroup *old = wait_leader(s, 0);
    struct mgroup *mg;
    uint64_t begin;

    put(s, old, 1, 100);
    sim_net_partition(s->world, 1u << (old->member->node - 1));
    begin = sim_world_now(s->world);
    assert_int_not_equal(pass_barrier(s, old), 0);
    assert_true(sim_world_now(s->world) - begin < 3 * SIM_S);
    mg = wait_leader(s, old->member->node);
    put(s, mg, 2, 100);
    sim_net_heal(s->world);
    sim_world_run_for(s->world, 5 * SIM_S);
    assert_true(mg->ready);
    assert_int_equal(old->n, mg->n);
    scene_free(s);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* I5: writes are accepted within 2 s of a leader's death, for 99 of 100. */
static void another_leads_soon_after_a_death(void **state)
{
    enum { RUNS = 200 };
    static uint64_t took[RUNS];

    for (unsigned i = 0; i < RUNS; i++) {
        struct scene *s = scene_new(1000 + i, 1);
        struct mgroup *mg = wait_leader(s, 0);
        uint32_t old = mg->member->node;
        uint64_t begin;
        put(s, mg, 1, 100);
        sim_world_run_for(s->world, (i % 10) * 37 * SIM_MS);
        begin = sim_world_now(s->world);
        sim_node_kill(s->machines[old], i % 2 == 0 ? SIM_END_KILL : SIM_END_POWER);
        mg = wait_leader(s, old);
        put(s, mg, 2, 100);
        took[i] = sim_world_now(s->world) - begin;
        scene_free(s);
    }
    qsort(took, RUNS, sizeof(took[0]), compare);
    print_message("failover: p50 %.0f ms, p99 %.0f ms, max %.0f ms\n", (double)took[RUNS / 2] / 1e6,
                  (double)took[RUNS * 99 / 100 - 1] / 1e6, (double)took[RUNS - 1] / 1e6);
    assert_true(took[RUNS * 99 / 100 - 1] < 2 * SIM_S);
}

/* DESIGN section 3: each message of all groups between two nodes in one frame a tick. */
static void heartbeats_of_many_groups_share_frames(void **state)
{
    struct scene *s = scene_new(5, MEMBER_GROUPS_MAX);
    struct transport_stats before, after;

    (void)wait_leader(s, 0);
    sim_world_run_for(s->world, 2 * SIM_S);
    transport_stats(s->members[1].transport, &before);
    sim_world_run_for(s->world, 10 * SIM_S);
    transport_stats(s->members[1].transport, &after);
    /* Two peers, 20 ticks a second at most, two directions of talk; and pings. */
    assert_true(after.frames_out - before.frames_out < 2 * (20 * 2 + 3) * 10);
    assert_true(after.messages_out - before.messages_out > MEMBER_GROUPS_MAX * 3 * 10);
    scene_free(s);
}

struct find {
    struct sim_node *machine;
    const uint8_t *needle;
    size_t size;
    unsigned flipped;
};

static void flip_in_file(void *data, const char *name)
{
    struct find *f = data;
    char path[256];
    uint64_t size;
    uint8_t *bytes;

    snprintf(path, sizeof(path), "/data/%s", name);
    size = sim_node_file_size(f->machine, path);
    bytes = malloc(size + 1);
    assert_non_null(bytes);
    size = sim_node_file_peek(f->machine, path, 0, bytes, size);
    for (uint64_t at = 0; at + f->size <= size; at++) {
        if (memcmp(bytes + at, f->needle, f->size) == 0) {
            assert_true(sim_node_flip_bit(f->machine, path, at + f->size / 2, 3));
            f->flipped++;
        }
    }
    free(bytes);
}

/* The payload of value @value, wherever it stands on the machine's disk, rots; or is what it was (@again). */
static void rot(struct scene *s, uint32_t node, uint64_t value, uint32_t size, bool again)
{
    uint8_t needle[64];
    struct find f = {.machine = s->machines[node], .needle = needle, .size = sizeof(needle)};

    assert_true(size >= sizeof(needle));
    memset(needle, (int)(value & 0xff), sizeof(needle));
    memcpy(needle, &value, sizeof(value));
    needle[sizeof(needle) / 2] ^= again ? 1u << 3 : 0;
    assert_true(sim_node_list(s->machines[node], "/data", flip_in_file, &f));
    assert_true(f.flipped > 0);
}

static bool follower_failed(void *data)
{
    return ((struct mgroup *)data)->failed != 0;
}

/* Not after a restart either, though the disk reads well again: whoever failed once is replaced. */
static void a_rotten_entry_met_while_running_stops_its_replica_only(void **state)
{
    struct scene *s = scene_new(7, 1);
    struct mgroup *mg;
    struct mgroup *victim;
    uint32_t behind;

    s->cache_bytes = 1; /* from the next start on */
    mg = wait_leader(s, 0);
    for (uint64_t i = 1; i <= 30; i++) {
        put(s, mg, i, 500);
    }
    behind = mg->member->node == 1 ? 2 : 1;
    sim_world_run_for(s->world, SIM_S);
    /* The follower starts with nothing cached, and the byte rots before it has applied it. */
    sim_node_kill(s->machines[behind], SIM_END_KILL);
    start(s, behind);
    sim_world_run_for(s->world, 0);
    while (!s->open[behind]) {
        assert_true(sim_world_step(s->world));
    }
    if (s->refused[behind] == 0) {
        rot(s, behind, 7, 500, false);
        victim = &s->members[behind].groups[0];
        assert_true(sim_world_run_until_true(s->world, follower_failed, victim, LIMIT));
        assert_int_equal(victim->failed, ERR_CORRUPT);
        assert_true(victim->n < 30);
        sim_world_run_for(s->world, SIM_S);
        sim_node_kill(s->machines[behind], SIM_END_KILL);
        rot(s, behind, 7, 500, true);
        start(s, behind);
        sim_world_run_for(s->world, SIM_S);
        assert_int_equal(s->refused[behind], ERR_CORRUPT);
    }
    mg = wait_leader(s, behind);
    put(s, mg, 31, 100);
    scene_free(s);
}

static void a_rotten_entry_met_at_start_is_not_resumed(void **state)
{
    struct scene *s = scene_new(8, 1);
    struct mgroup *mg = wait_leader(s, 0);
    uint32_t behind;

    for (uint64_t i = 1; i <= 30; i++) {
        put(s, mg, i, 500);
    }
    behind = mg->member->node == 1 ? 2 : 1;
    sim_world_run_for(s->world, SIM_S);
    sim_node_kill(s->machines[behind], SIM_END_KILL);
    rot(s, behind, 7, 500, false);
    start(s, behind);
    sim_world_run_for(s->world, SIM_S);
    assert_int_equal(s->refused[behind], ERR_CORRUPT);
    mg = wait_leader(s, behind);
    put(s, mg, 31, 100);
    scene_free(s);
}

static void act_strangers(struct env *env, void *data)
{
    struct act *a = data;
    struct core_message m = {.type = CORE_VOTE_RESULT, .version = 2, .to = member_replica(0, a->mg->member->node), .term = 1};
    uint8_t header[CORE_MESSAGE_ENCODED_MAX];
    size_t size;

    for (uint64_t i = 0; i < 100; i++) {
        m.from = 1000000 + i;
        assert_int_equal(core_message_encode(&m, header, sizeof(header), &size), 0);
        group_host_receive(a->mg->member->host, 2, 1, header, size, NULL, 0);
    }
}

/* Heard of before anybody else, they take up the places that a group has for its peers. */
static void replicas_that_are_no_members_do_not_crowd_members_out(void **state)
{
    struct scene *s = scene_new(9, 1);
    struct mgroup *mg = wait_leader(s, 0);
    uint32_t behind = mg->member->node == 1 ? 2 : 1;
    struct act a = {.mg = &s->members[behind].groups[0]};

    sim_node_kill(s->machines[behind], SIM_END_KILL);
    put(s, mg, 1, 100);
    start(s, behind);
    while (!s->open[behind] || group_core(a.mg->g) == NULL) {
        assert_true(sim_world_step(s->world));
    }
    assert_true(sim_node_call(s->machines[behind], act_strangers, &a));
    mg = wait_leader(s, behind);
    sim_node_kill(s->machines[6 - behind - mg->member->node], SIM_END_KILL);
    put(s, mg, 2, 100); /* its word is needed */
    scene_free(s);
}

static void act_close(struct env *env, void *data)
{
    struct act *a = data;
    group_close(a->mg->g);
    a->mg->g = NULL;
}

static bool has_everything(void *data)
{
    struct act *a = data;
    return a->mg->n >= a->value;
}

/* libraft sends what is not acknowledged with every heartbeat; the node is there, the replica is not. */
static void a_replica_that_is_gone_is_asked_and_not_fed(void **state)
{
    struct scene *s = scene_new(10, 1);
    struct mgroup *mg = wait_leader(s, 0);
    uint32_t gone = mg->member->node == 1 ? 2 : 1;
    struct act a = {.mg = &s->members[gone].groups[0]};
    struct transport_stats before;
    struct transport_stats after;

    assert_true(sim_node_call(s->machines[gone], act_close, &a));
    for (uint64_t i = 1; i <= 50; i++) {
        put(s, mg, i, 2000);
    }
    sim_world_run_for(s->world, 2 * SIM_S);
    transport_stats(mg->member->transport, &before);
    sim_world_run_for(s->world, 10 * SIM_S);
    transport_stats(mg->member->transport, &after);
    assert_true(after.bytes_out - before.bytes_out < 100 * 1000); /* less than these entries once */
    /* When it is there again it gets all of them. */
    sim_node_kill(s->machines[gone], SIM_END_KILL);
    start(s, gone);
    mg = wait_leader(s, gone);
    a.value = mg->n;
    assert_true(sim_world_run_until_true(s->world, has_everything, &a, LIMIT));
    scene_free(s);
}

/* @bad_ns: so long the disk reads nothing, from when the follower has nothing cached and much to apply. */
static struct mgroup *read_with_a_bad_disk(struct scene *s, uint64_t bad_ns)
{
    struct mgroup *mg;
    struct act a;
    uint32_t behind;

    s->cache_bytes = 1; /* from the next start on */
    mg = wait_leader(s, 0);
    for (uint64_t i = 1; i <= 30; i++) {
        put(s, mg, i, 500);
    }
    behind = mg->member->node == 1 ? 2 : 1;
    a = (struct act){.mg = &s->members[behind].groups[0]};
    sim_node_kill(s->machines[behind], SIM_END_KILL);
    start(s, behind);
    while (!s->open[behind] || group_core(a.mg->g) == NULL) {
        assert_true(sim_world_step(s->world));
    }
    assert_true(a.mg->n < 30);
    sim_node_disk_knobs(s->machines[behind])->read_error_ppm = 1000000;
    sim_world_run_for(s->world, bad_ns);
    sim_node_disk_knobs(s->machines[behind])->read_error_ppm = 0;
    return a.mg;
}

static void a_read_that_the_disk_fails_is_tried_again(void **state)
{
    struct scene *s = scene_new(11, 1);
    struct act a = {.mg = read_with_a_bad_disk(s, 500 * SIM_MS), .value = 31};

    assert_true(a.mg->n < 30);
    assert_int_equal(a.mg->failed, 0);
    assert_true(sim_world_run_until_true(s->world, has_everything, &a, LIMIT));
    scene_free(s);
}

static void a_place_that_stays_unreadable_counts_as_corrupt(void **state)
{
    struct scene *s = scene_new(12, 1);

    assert_int_equal(read_with_a_bad_disk(s, 5 * SIM_S)->failed, ERR_CORRUPT);
    scene_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leader_that_stood_still_is_not_confirmed_until_a_barrier),
        cmocka_unit_test(a_leader_that_slept_through_an_election_learns_it),
        cmocka_unit_test(a_short_stall_of_a_follower_starts_no_election),
        cmocka_unit_test(a_cut_off_leader_passes_no_barrier_and_steps_down),
        cmocka_unit_test(another_leads_soon_after_a_death),
        cmocka_unit_test(heartbeats_of_many_groups_share_frames),
        cmocka_unit_test(a_rotten_entry_met_while_running_stops_its_replica_only),
        cmocka_unit_test(a_rotten_entry_met_at_start_is_not_resumed),
        cmocka_unit_test(replicas_that_are_no_members_do_not_crowd_members_out),
        cmocka_unit_test(a_replica_that_is_gone_is_asked_and_not_fed),
        cmocka_unit_test(a_read_that_the_disk_fails_is_tried_again),
        cmocka_unit_test(a_place_that_stays_unreadable_counts_as_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
