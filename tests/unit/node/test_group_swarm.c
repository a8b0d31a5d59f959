/* A consumer group on whole nodes that are killed, paused and cut off, with members that fall asleep, die and come back; seeded, in
 * virtual time. Always: no partition has two owners in one generation; what was acknowledged as committed is found by whoever
 * asks after that, and nobody of an older generation commits behind a later one; who was heard of within its session is not
 * told that it is unknown; when all is well again the group works.
 *
 *   test_group_swarm [first seed [seeds]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/node/group_swarm.h"

static uint64_t draw(struct swarm *s, uint64_t n)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (s->random * 0x2545f4914f6cdd1dull >> 33) % n;
}

/* ---- what must be ------------------------------------------------------------------------------------------------------ */

/* A static member may come back under another id, and takes over what it had. */
static void note_owner(struct swarm *s, const struct member *m, int partition)
{
    const char *name = m->number == 0 ? "instance" : m->id;
    char *owner = s->owners[m->generation][partition];
    if (owner[0] == '\0') {
        snprintf(owner, GROUP_MEMBER_ID_MAX + 1, "%s", name);
    }
    if (strcmp(owner, name) != 0) {
        fail_msg("generation %d: partition %d belongs to %s and to %s", m->generation, partition, owner, name);
    }
}

static void note_found(struct swarm *s, const struct member *m, int partition, int64_t offset)
{
    if (offset < s->committed[partition]) {
        fail_msg("generation %d: partition %d is found at %" PRId64 ", but %" PRId64 " was acknowledged", m->generation, partition,
                 offset, s->committed[partition]);
    }
    assert_in_range(s->n_found[partition], 0, GENERATIONS_MAX - 1);
    s->found[partition][s->n_found[partition]++] = (struct found){m->generation, offset};
}

static void note_acked(struct swarm *s, int32_t generation, int partition, int64_t offset)
{
    for (unsigned i = 0; i < s->n_found[partition]; i++) {
        const struct found *f = &s->found[partition][i];
        if (f->generation > generation && f->offset < offset) {
            fail_msg("partition %d: generation %d committed %" PRId64 " behind generation %d, which had found %" PRId64, partition,
                     generation, offset, f->generation, f->offset);
        }
    }
    s->committed[partition] = offset > s->committed[partition] ? offset : s->committed[partition];
    s->acked[partition]++;
}

/* ---- a member's answers ------------------------------------------------------------------------------------------------- */

static void start_over(struct member *m, bool nameless)
{
    m->phase = JOINING;
    m->heard_ms = 0;
    m->next_ms = m->swarm->now_ms + draw(m->swarm, 300);
    if (nameless) {
        m->id[0] = '\0';
    }
}

static void joined(struct member *m, const struct coordinator_join *j)
{
    if (j->member_out != NULL) {
        snprintf(m->id, sizeof m->id, "%s", j->member_out->data);
    }
    if (j->request.error != 0) {
        start_over(m, j->request.error == ERR_UNKNOWN_MEMBER);
        return;
    }
    assert_in_range(j->generation, 1, GENERATIONS_MAX - 1);
    m->generation = j->generation;
    m->swarm->newest = j->generation > m->swarm->newest ? j->generation : m->swarm->newest;
    m->leads = group_blob_is(j->leader, m->id);
    m->n_everybody = 0;
    for (uint32_t i = 0; i < j->n_members && i < MEMBERS * 4; i++) {
        snprintf(m->everybody[m->n_everybody++], sizeof m->everybody[0], "%s", j->members[i].id->data);
    }
    m->phase = SYNCING;
}

static void synced(struct member *m, const struct coordinator_sync *r)
{
    if (r->request.error != 0) {
        start_over(m, r->request.error == ERR_UNKNOWN_MEMBER);
        return;
    }
    for (int p = 0; p < PARTITIONS; p++) {
        m->owns[p] = r->assignment != NULL && r->assignment->size == PARTITIONS && r->assignment->data[p] != 0;
        if (m->owns[p]) {
            note_owner(m->swarm, m, p);
        }
    }
    m->phase = FETCHING;
}

static void fetched(struct member *m, const struct coordinator_fetch *f)
{
    if (f->request.error != 0) {
        return; /* asked again */
    }
    for (int p = 0; p < PARTITIONS; p++) {
        if (m->owns[p]) {
            int64_t offset = f->parts[p].offset < 0 ? 0 : f->parts[p].offset;
            note_found(m->swarm, m, p, offset);
            m->position[p] = offset + 1;
        }
    }
    m->phase = LIVING;
    m->heartbeat_ms = 0;
}

static bool thrown_out(struct member *m, int error)
{
    if (error == ERR_UNKNOWN_MEMBER && m->heard_ms != 0 && m->swarm->now_ms < m->heard_ms + SESSION_MS - 500) {
        fail_msg("%s is unknown, but was heard of %" PRIu64 " ms ago", m->id, m->swarm->now_ms - m->heard_ms);
    }
    if (error == ERR_UNKNOWN_MEMBER || error == ERR_ILLEGAL_GENERATION || error == ERR_REBALANCE) {
        m->swarm->zombies += error != ERR_REBALANCE;
        start_over(m, error == ERR_UNKNOWN_MEMBER);
        return true;
    }
    return false;
}

void group_swarm_answered(struct service_groups *g)
{
    struct request *r = g->data;
    const struct coordinator_op *op = &g->calls[0].op;
    struct member *m = r->member;
    int error = service_group_error(&g->calls[0]);
    r->done = true;
    if (op->verb == COORDINATOR_COMMIT && error == 0) { /* whoever waits for it */
        for (uint32_t i = 0; i < op->u.commit.n_parts; i++) {
            note_acked(r->swarm, r->generation, r->parts[i].partition, r->parts[i].offset);
        }
    }
    for (uint32_t i = 0; op->verb == COORDINATOR_FETCH && error == 0 && i < PARTITIONS; i++) {
        if (r->parts[i].offset < r->committed[i]) {
            fail_msg("node %u: partition %u: fetched %" PRId64 ", but %" PRId64 " was acknowledged before", r->at, i,
                     r->parts[i].offset, r->committed[i]);
        }
    }
    if (m == NULL) {
        return;
    }
    m->waiting = NULL;
    r->member = NULL;
    if ((op->verb == COORDINATOR_COMMIT || op->verb == COORDINATOR_HEARTBEAT) && error == 0) {
        m->heard_ms = r->begin_ms;
    }
    if (op->verb == COORDINATOR_JOIN) {
        joined(m, &op->u.join);
    } else if (op->verb == COORDINATOR_SYNC) {
        synced(m, &op->u.sync);
    } else if (op->verb == COORDINATOR_FETCH) {
        fetched(m, &op->u.fetch);
    } else if (op->verb == COORDINATOR_COMMIT && error == 0) {
        for (uint32_t i = 0; i < op->u.commit.n_parts; i++) {
            m->position[r->parts[i].partition] = r->parts[i].offset + 1;
        }
    } else if (op->verb != COORDINATOR_LEAVE && !thrown_out(m, error) && error != 0) {
        m->next_ms = m->swarm->now_ms + 50;
    }
}

/* As somebody knows who is up: perhaps one that is cut off itself. */
static unsigned ask_for_coordinator(struct swarm *s)
{
    const struct door_node *n = &s->d.nodes[draw(s, 3)];
    return n->node == NULL ? 0 : service_coordinator_of(node_service(n->node), GROUP);
}

static void act(struct member *m)
{
    struct swarm *s = m->swarm;
    unsigned at;
    if (m->waiting != NULL || s->now_ms < m->next_ms || s->now_ms < m->asleep_until_ms) {
        return;
    }
    m->next_ms = s->now_ms + STEP_MS + draw(s, 100);
    if (!s->healing && draw(s, 150) == 0) { /* asleep longer than its session, or dead: another one takes its place */
        m->asleep_until_ms = s->now_ms + draw(s, 2 * SESSION_MS);
        if (draw(s, 3) == 0) {
            start_over(m, true);
        }
        return;
    }
    at = ask_for_coordinator(s);
    if (at == 0) {
        return;
    }
    if (m->phase == JOINING) {
        ask_join(m, at);
    } else if (m->phase == SYNCING) {
        ask_sync(m, at);
    } else if (m->phase == FETCHING) {
        ask_fetch(s, m, at);
    } else if (s->now_ms >= m->heartbeat_ms) {
        ask_heartbeat(m, at);
    } else {
        ask_commit(m, at, m->generation > 1 && draw(s, 50) == 0);
    }
}

struct start {
    struct request *request;
    struct node *node;
};

static void start(struct env *env, void *data)
{
    struct start *start = data;
    service_groups(node_service(start->node), start->request->g);
}

/* Requests reach who is there and awake; clients lose their patience; what is done is freed. */
static void step_requests(struct swarm *s)
{
    list_for_each_safe (pos, &s->requests) {
        struct request *r = list_entry(pos, struct request, link);
        struct door_node *n = &s->d.nodes[r->at - 1];
        if (!r->started && n->node == NULL) {
            request_free(r);
            continue;
        }
        if (!r->started && !sim_node_paused(n->machine)) {
            struct start begin = {r, n->node};
            r->started = true;
            (void)sim_node_call(n->machine, start, &begin);
        }
        if (r->member != NULL && !r->done && s->now_ms >= r->deadline_ms) {
            r->member->waiting = NULL;
            r->member = NULL;
        }
        if (r->done || (!r->started && s->now_ms >= r->deadline_ms)) {
            request_free(r);
        }
    }
}

/* ---- faults ------------------------------------------------------------------------------------------------------------ */

enum { FAULT_NONE, FAULT_KILL, FAULT_PAUSE, FAULT_CUT_OFF };

static void begin_fault(struct swarm *s)
{
    s->faults++;
    s->victim = draw(s, 3) == 0 ? 1 + (unsigned)draw(s, 3) : ask_for_coordinator(s);
    s->victim = s->victim == 0 ? 1 : s->victim;
    s->fault = FAULT_KILL + (int)draw(s, 3);
    s->fault_ms = s->now_ms + 100 + draw(s, 2 * SESSION_MS);
    if (s->fault == FAULT_PAUSE) {
        sim_node_pause(s->d.nodes[s->victim - 1].machine);
    } else if (s->fault == FAULT_CUT_OFF) {
        sim_net_partition(s->d.world, 1ull << (s->victim - 1));
    } else {
        door_kill(&s->d, s->victim);
        list_for_each_safe (pos, &s->requests) {
            struct request *r = list_entry(pos, struct request, link);
            if (r->at == s->victim) {
                request_free(r);
            }
        }
    }
}

static void end_fault(struct swarm *s)
{
    if (s->fault == FAULT_PAUSE) {
        sim_node_resume(s->d.nodes[s->victim - 1].machine);
    } else if (s->fault == FAULT_CUT_OFF) {
        sim_net_heal(s->d.world);
    } else if (s->fault == FAULT_KILL) {
        door_start(&s->d, s->victim);
    }
    s->fault = FAULT_NONE;
    s->fault_ms = s->now_ms + 300 + draw(s, 4000);
}

static void step(struct swarm *s)
{
    door_run(&s->d, STEP_MS);
    s->now_ms += STEP_MS;
    if (s->now_ms >= s->fault_ms && !s->healing) {
        if (s->fault == FAULT_NONE) {
            begin_fault(s);
        } else {
            end_fault(s);
        }
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        act(&s->members[i]);
    }
    if (draw(s, 3) == 0) {
        ask_fetch(s, NULL, 1 + (unsigned)draw(s, 3)); /* whoever answers must know it all */
    }
    step_requests(s);
}

/* ---- a run ------------------------------------------------------------------------------------------------------------- */

static void find_done(struct service_find_coordinator *f)
{
    *(bool *)f->data = true;
}

static void start_find(struct env *env, void *data)
{
    struct service_find_coordinator *f = data;
    service_find_coordinator(f->service, f);
}

static bool is_true(void *data)
{
    return *(bool *)data;
}

static void make_coordinators(struct swarm *s)
{
    static const struct request_context ctx = {"anonymous", "client", "test"};
    bool done = false;
    struct service_find_coordinator f = {
        .service = node_service(s->d.nodes[0].node), .ctx = &ctx, .group = GROUP, .done = find_done, .data = &done};
    (void)sim_node_call(s->d.nodes[0].machine, start_find, &f);
    assert_true(door_until(&s->d, is_true, &done, 10000));
    assert_int_equal(f.error, 0);
}

static bool works(const struct swarm *s, const unsigned before[PARTITIONS])
{
    for (int p = 0; p < PARTITIONS; p++) {
        if (s->acked[p] < before[p] + 5) {
            return false;
        }
    }
    return true;
}

static void heal(struct swarm *s)
{
    unsigned before[PARTITIONS];
    uint64_t end_ms = s->now_ms + HEALED_MS;
    if (s->fault != FAULT_NONE) {
        end_fault(s);
    }
    s->healing = true;
    for (unsigned i = 0; i < MEMBERS; i++) {
        s->members[i].asleep_until_ms = 0;
    }
    memcpy(before, s->acked, sizeof before);
    while (!works(s, before)) {
        if (s->now_ms >= end_ms) {
            fail_msg("the group does not work again, generation %d", s->newest);
        }
        step(s);
    }
}

static void run(uint64_t seed, unsigned totals[4])
{
    struct swarm *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->random = seed * 0x9e3779b97f4a7c15ull + 1;
    list_init(&s->requests);
    door_defaults(&s->d);
    s->d.seed = seed;
    s->d.shards = 1 + (unsigned)draw(s, 2);
    door_open(&s->d, 3);
    assert_int_equal(door_create_topic(&s->d, "t", PARTITIONS, 3, &s->topic), 0);
    make_coordinators(s);
    for (unsigned i = 0; i < MEMBERS; i++) {
        s->members[i] = (struct member){.swarm = s, .number = i, .generation = -1};
    }
    for (int p = 0; p < PARTITIONS; p++) {
        s->committed[p] = -1;
    }
    s->fault_ms = 5000 + draw(s, 5000);
    while (s->now_ms < FAULTS_MS) {
        step(s);
    }
    heal(s);
    totals[0] += s->faults;
    totals[1] += s->zombies;
    totals[2] += (unsigned)s->newest;
    for (int p = 0; p < PARTITIONS; p++) {
        totals[3] += s->acked[p];
    }
    door_close(&s->d);
    while (!list_empty(&s->requests)) { /* as the doors do, but for the order: nothing looks at them any more */
        request_free(list_entry(s->requests.next, struct request, link));
    }
    free(s);
}

static unsigned long first_seed = 1;
static unsigned long seeds = 30;

static void a_group_works_through_everything(void **state)
{
    unsigned totals[4] = {0};
    for (unsigned long seed = first_seed; seed < first_seed + seeds; seed++) {
        print_message("seed %lu\n", seed);
        run(seed, totals);
    }
    print_message("%u faults, %u zombies refused, %u generations, %u commits\n", totals[0], totals[1], totals[2], totals[3]);
    assert_true(totals[0] > 0 && totals[1] > 0 && totals[3] > 0); /* else nothing was shown */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_group_works_through_everything)};
    first_seed = argc > 1 ? strtoul(argv[1], NULL, 10) : first_seed;
    seeds = argc > 2 ? strtoul(argv[2], NULL, 10) : seeds;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
