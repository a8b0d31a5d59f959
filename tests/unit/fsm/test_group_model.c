/* Many consumers in a few groups, a log that is slow, coordinators that die between any two steps; seeded. Always:
 * a partition has one owner in a generation, and a generation is given out once; what was answered as committed is in
 * the log, and offsets go forward (each owner goes on where the group stands, so a zombie's commit would go back). At
 * the end, after quiet time, the group is stable with all who live, and every partition is owned.
 *
 *   test_group_model [first seed [seeds [steps]]] */
#include "tests/unit/fsm/group_world.h"

#define CONSUMERS 8
#define PARTITIONS 6
#define GENERATIONS_MAX 20000

enum phase {
    GONE,    /* not running */
    OUT,     /* running, not in the group */
    JOINING, /* a join is under way */
    SYNCING,
    FETCHING, /* asks where to go on */
    MEMBER
};

struct consumer {
    struct call call; /* join, sync, heartbeat, fetch, leave: one at a time */
    struct call commit;
    struct coordinator_part parts[PARTITIONS];
    struct coordinator_part commit_part;
    struct coordinator_assignment assignments[CONSUMERS];
    uint8_t assigned[CONSUMERS][PARTITIONS];
    struct coordinator_leaver leaver;
    struct coordinator_protocol protocols[2];
    struct model *model;
    unsigned number;
    enum phase phase;
    bool is_static;
    bool stuck;     /* alive, but does nothing: a long pause */
    bool rejoin;    /* was told of a rebalance */
    bool leaves;    /* its call is a leave */
    bool answered;  /* its call has an answer to be looked at */
    bool abandoned; /* what comes back was meant for a process that is gone */
    bool commit_open;
    bool commit_delayed; /* on its way: what it says may be history when it arrives */
    char commit_id[400];
    char instance[16];
    char id[400];
    int32_t generation;
    uint32_t n_partitions;
    uint8_t partitions[PARTITIONS];
    int64_t position[PARTITIONS];
    uint64_t next_ms;
};

struct model {
    struct group_world world;
    uint64_t random;
    uint64_t uuids;
    uint32_t pace_ms;   /* time between steps, by seed: from busy to sleepy */
    uint32_t disturbed; /* a thousandth of the steps */
    struct consumer consumers[CONSUMERS];
    /* oracles */
    uint8_t owner[GENERATIONS_MAX][PARTITIONS]; /* 1 + consumer, by generation */
    int64_t applied[PARTITIONS];                /* newest offset in the log */
    int64_t acknowledged[PARTITIONS];
    uint64_t commits, rebalances, leaders, fenced;
};

static uint64_t dice(struct model *m)
{
    uint64_t z = (m->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t below(struct model *m, uint32_t n)
{
    return (uint32_t)(dice(m) % n);
}

/* Every commit in the log goes forward. */
static void applied(struct group_world *w, const struct entry *entry, const struct group_reply *reply)
{
    struct model *m = w->owner;
    Cairn__Command__GroupCommand *c = cairn__command__group_command__unpack(NULL, entry->length, entry->data);
    assert_non_null(c);
    if (c->kind_case == CAIRN__COMMAND__GROUP_COMMAND__KIND_COMMIT && reply->error == 0) {
        const Cairn__Command__GroupOffset *o = c->commit->offsets[0];
        if (o->offset < m->applied[o->partition]) {
            fail_msg("partition %d: %s commits %d in generation %d, after %d", o->partition, c->commit->member,
                     (int)o->offset, c->commit->generation, (int)m->applied[o->partition]);
        }
        m->applied[o->partition] = o->offset;
    } else if (c->kind_case == CAIRN__COMMAND__GROUP_COMMAND__KIND_COMMIT) {
        m->fenced++;
    } else {
        assert_int_equal(reply->error, 0);
    }
    cairn__command__group_command__free_unpacked(c, NULL);
}

static void check_log(struct model *m)
{
    const struct saved_group *g = groups_fsm_find(m->world.fsm, "g");
    for (int p = 0; p < PARTITIONS && g != NULL; p++) {
        struct uuid topic = topic_uuid(0);
        const struct group_offset *o = groups_fsm_offset(g, &topic, p);
        assert_int_equal(o == NULL ? 0 : o->offset, m->applied[p]);
        assert_true(m->applied[p] >= m->acknowledged[p]);
    }
}

static void answered(struct call *call)
{
    struct consumer *k = call->owner;
    k->answered = true;
}

static void commit_answered(struct call *call)
{
    struct consumer *k = call->owner;
    struct model *m = k->model;
    if (call->request.error == 0) {
        int32_t p = k->commit_part.partition;
        m->commits++;
        if (k->commit_part.offset > m->acknowledged[p]) {
            m->acknowledged[p] = k->commit_part.offset;
        }
        assert_true(m->applied[p] >= k->commit_part.offset);
    }
    k->commit_open = false;
}

static struct call *fresh_call(struct consumer *k)
{
    call_reset(&k->call);
    k->call.answered = answered;
    k->call.owner = k;
    k->answered = false;
    return &k->call;
}

static void join(struct model *m, struct consumer *k)
{
    static const char topics[] = "\0\0\0\0\0\1\0\1a\0\0\0\0";
    struct group_world *w = &m->world;
    struct call *call = fresh_call(k);
    k->protocols[0] = (struct coordinator_protocol){
        .name = below(m, 4) == 0 ? "sticky" : "range", .metadata = topics, .size = below(m, 6) == 0 ? 12 : 13};
    k->protocols[1] = (struct coordinator_protocol){.name = "common", .metadata = topics, .size = 13};
    call->join = (struct coordinator_join){
        .group = "g",
        .member = k->id,
        .instance = k->is_static ? k->instance : NULL,
        .client_id = "c",
        .client_host = "/h",
        .protocol_type = "consumer",
        .session_timeout_ms = 6000 + (int32_t)below(m, 4) * 1000,
        .rebalance_timeout_ms = 10000 + (int32_t)below(m, 3) * 5000,
        .protocols = k->protocols,
        .n_protocols = 2,
        .id_required = below(m, 2) == 0,
        .skip_assignment_known = below(m, 2) == 0,
        .uuid = uuid_from_random(9, ++m->uuids),
    };
    k->phase = JOINING;
    k->rejoin = false;
    k->n_partitions = 0; /* eager: it gives up what it has */
    coordinator_join(w->c, w->now_ms, &call->join);
}

/* Round robin over the members, from a random one on. */
static void assign(struct model *m, struct consumer *k, struct coordinator_join *j, struct coordinator_sync *s)
{
    uint32_t shift = below(m, j->n_members);
    assert_true(j->n_members <= 3 * CONSUMERS);
    for (uint32_t i = 0; i < j->n_members && i < CONSUMERS; i++) {
        uint32_t size = 0;
        uint32_t live = j->n_members < CONSUMERS ? j->n_members : CONSUMERS;
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            if ((p + shift) % live == i) {
                k->assigned[i][size++] = (uint8_t)p;
            }
        }
        k->assignments[i] =
            (struct coordinator_assignment){.member = j->members[i].id->data, .data = k->assigned[i], .size = size};
    }
    s->assignments = k->assignments;
    s->n_assignments = j->n_members < CONSUMERS ? j->n_members : CONSUMERS;
}

static void sync_up(struct model *m, struct consumer *k)
{
    struct call joined = k->call;
    struct call *call = &k->call;
    bool leads = joined.join.n_members > 0 && !joined.join.skip_assignment;
    call->answers = 0;
    k->answered = false;
    call->sync = (struct coordinator_sync){
        .group = "g", .member = k->id, .generation = k->generation, .instance = k->is_static ? k->instance : NULL};
    if (leads) {
        assign(m, k, &joined.join, &call->sync);
    }
    k->phase = SYNCING;
    coordinator_sync(m->world.c, m->world.now_ms, &call->sync);
    coordinator_request_release(&joined.request);
    call->sync.assignments = NULL; /* they pointed into the join's answer, and are copied by now */
}

static void own(struct model *m, struct consumer *k, const struct group_blob *assignment)
{
    assert_true(k->generation < GENERATIONS_MAX);
    k->n_partitions = 0;
    for (uint32_t i = 0; assignment != NULL && i < assignment->size; i++) {
        uint8_t p = (uint8_t)assignment->data[i];
        uint8_t *owner = &m->owner[k->generation][p];
        if (*owner != 0 && *owner != k->number + 1) {
            fail_msg("generation %d: partition %u belongs to %u and to %u", k->generation, p, *owner - 1u, k->number);
        }
        *owner = (uint8_t)(k->number + 1);
        k->partitions[k->n_partitions++] = p;
    }
}

static void fetch(struct model *m, struct consumer *k)
{
    struct call *call = fresh_call(k);
    for (uint32_t i = 0; i < k->n_partitions; i++) {
        k->parts[i] = (struct coordinator_part){.topic = topic_uuid(0), .partition = k->partitions[i]};
    }
    call->fetch = (struct coordinator_fetch){.group = "g", .parts = k->parts, .n_parts = k->n_partitions};
    k->phase = FETCHING;
    coordinator_fetch(m->world.c, m->world.now_ms, &call->fetch);
}

static void out(struct consumer *k, bool forget_id)
{
    k->phase = OUT;
    k->n_partitions = 0;
    if (forget_id) {
        k->id[0] = '\0';
    }
}

/* What a good client does with an answer. */
static void look(struct model *m, struct consumer *k)
{
    int error = k->call.request.error;
    k->answered = false;
    if (k->abandoned) {
        k->abandoned = false;
        return;
    }
    if (k->phase == GONE) {
        return;
    }
    if (k->leaves) {
        k->leaves = false;
        out(k, true);
        k->phase = GONE;
    } else if (error == ERR_FENCED_INSTANCE) {
        fail_msg("consumer %u: fenced by nobody", k->number);
    } else if (error == ERR_UNKNOWN_MEMBER) {
        out(k, true);
    } else if (error == ERR_NOT_COORDINATOR) {
        /* looks for the coordinator, and asks again */
        if (k->phase == JOINING || k->phase == SYNCING) {
            out(k, false);
        } else if (k->phase == FETCHING) {
            fetch(m, k);
        }
    } else if (k->phase == JOINING && error == ERR_MEMBER_ID_REQUIRED) {
        snprintf(k->id, sizeof k->id, "%s", k->call.join.member_out->data);
        k->phase = OUT;
    } else if (k->phase == JOINING && error == 0) {
        snprintf(k->id, sizeof k->id, "%s", k->call.join.member_out->data);
        k->generation = k->call.join.generation;
        sync_up(m, k);
    } else if (k->phase == SYNCING && error == 0) {
        own(m, k, k->call.sync.assignment);
        fetch(m, k);
    } else if (k->phase == FETCHING && error == 0) {
        for (uint32_t i = 0; i < k->n_partitions; i++) {
            k->position[k->partitions[i]] = k->parts[i].offset < 0 ? 0 : k->parts[i].offset;
        }
        /* A consumer that only asked again within its generation knows of its own last commit, which the answer may not
         * have seen. */
        if (k->commit.commit.generation == k->generation && strcmp(k->commit_id, k->id) == 0 &&
            k->position[k->commit_part.partition] < k->commit_part.offset) {
            k->position[k->commit_part.partition] = k->commit_part.offset;
        }
        k->phase = MEMBER;
    } else if (k->phase == MEMBER && error == 0) {
        /* a heartbeat */
    } else if (error == ERR_REBALANCE || error == ERR_ILLEGAL_GENERATION) {
        k->rejoin = true;
        if (k->phase != MEMBER) {
            out(k, false);
        }
    } else if (error != ERR_BUSY) {
        fail_msg("consumer %u in phase %d is told %s", k->number, k->phase, err_name(error));
    } else if (k->phase != MEMBER) {
        out(k, false);
    }
}

static void heartbeat(struct model *m, struct consumer *k)
{
    struct call *call = fresh_call(k);
    call->heartbeat = (struct coordinator_heartbeat){
        .group = "g", .member = k->id, .generation = k->generation, .instance = k->is_static ? k->instance : NULL};
    coordinator_heartbeat(m->world.c, m->world.now_ms, &call->heartbeat);
}

static void leave(struct model *m, struct consumer *k)
{
    struct call *call = fresh_call(k);
    k->leaver = (struct coordinator_leaver){.member = k->id, .instance = k->is_static ? k->instance : NULL};
    call->leave = (struct coordinator_leave){.group = "g", .members = &k->leaver, .n_members = 1};
    k->leaves = true;
    coordinator_leave(m->world.c, m->world.now_ms, &call->leave);
}

static void deliver_commit(struct model *m, struct consumer *k)
{
    k->commit_delayed = false;
    coordinator_commit(m->world.c, m->world.now_ms, &k->commit.commit);
}

static void commit(struct model *m, struct consumer *k)
{
    uint8_t p = k->partitions[below(m, k->n_partitions)];
    call_reset(&k->commit);
    k->position[p] += 1 + below(m, 5);
    k->commit_part = (struct coordinator_part){.topic = topic_uuid(0), .partition = p, .offset = k->position[p]};
    memcpy(k->commit_id, k->id, sizeof k->commit_id);
    k->commit.commit = (struct coordinator_commit){.group = "g",
                                                   .member = k->commit_id,
                                                   .generation = k->generation,
                                                   .instance = k->is_static ? k->instance : NULL,
                                                   .retention_ms = -1,
                                                   .parts = &k->commit_part,
                                                   .n_parts = 1};
    k->commit.answered = commit_answered;
    k->commit.owner = k;
    k->commit_open = true;
    k->commit_delayed = true;
    if (below(m, 4) != 0) {
        deliver_commit(m, k);
    }
}

static bool call_open(const struct consumer *k)
{
    return k->call.request.verb != 0 && k->call.answers == 0;
}

/* One step of a consumer that is awake. */
static void act(struct model *m, struct consumer *k, bool quiet)
{
    if (k->answered) {
        look(m, k);
        return;
    }
    if (call_open(k)) {
        return;
    }
    if (k->phase == OUT || (k->phase == MEMBER && k->rejoin && below(m, 3) == 0)) {
        join(m, k);
    } else if (k->phase == MEMBER && !quiet && below(m, 60) == 0) {
        leave(m, k);
    } else if (k->phase == MEMBER && k->n_partitions > 0 && !k->commit_open && below(m, 2) == 0) {
        commit(m, k);
    } else if (k->phase == MEMBER && m->world.now_ms >= k->next_ms) {
        k->next_ms = m->world.now_ms + 1000;
        heartbeat(m, k);
    }
}

static void disturb(struct model *m)
{
    struct consumer *k = &m->consumers[below(m, CONSUMERS)];
    switch (below(m, 12)) {
    case 0: /* the process dies; a static one comes back under its instance */
        if (k->phase != GONE) {
            k->phase = GONE;
            k->abandoned = call_open(k) || k->answered;
            k->leaves = false;
            k->id[0] = '\0';
            k->n_partitions = 0;
        }
        break;
    case 1: /* stops for a while, with all that it believes */
        k->stuck = true;
        break;
    case 2:
        world_change_leader(&m->world, below(m, (uint32_t)m->world.n_queue + 1));
        m->leaders++;
        break;
    case 3:
        if (m->world.n_queue > 0) {
            world_fail_one(&m->world, ERR_BUSY);
        }
        break;
    case 4:
        m->world.refuse = ERR_BUSY;
        break;
    case 5:
        m->world.refuse = 0;
        break;
    default:
        if (k->phase == GONE && !call_open(k)) {
            k->phase = OUT;
            k->rejoin = false;
        }
        k->stuck = false;
        break;
    }
}

static void pass(struct model *m, uint64_t ms)
{
    m->world.now_ms += ms;
    m->world.wall_ms += (int64_t)ms;
    coordinator_tick(m->world.c, m->world.now_ms);
}

static void step(struct model *m)
{
    uint32_t d = below(m, 100);
    struct consumer *late = &m->consumers[below(m, CONSUMERS)];
    if (late->commit_delayed && below(m, 50) == 0) {
        deliver_commit(m, late);
    }
    if (below(m, 1000) < m->disturbed) {
        disturb(m);
    } else if (d < 60) {
        struct consumer *k = &m->consumers[below(m, CONSUMERS)];
        if (!k->stuck) {
            act(m, k, false);
        }
    } else if (d < 85) {
        (void)world_commit_one(&m->world);
        check_log(m);
    } else {
        pass(m, below(m, m->pace_ms));
    }
}

static void become_quiet(struct model *m)
{
    struct call call = {0};
    uint8_t owned[PARTITIONS] = {0};
    unsigned alive = 0;
    m->world.refuse = 0;
    for (unsigned i = 0; i < CONSUMERS; i++) {
        m->consumers[i].stuck = false;
        if (m->consumers[i].commit_delayed) {
            deliver_commit(m, &m->consumers[i]);
        }
    }
    m->consumers[0].phase = m->consumers[0].phase == GONE && !call_open(&m->consumers[0]) ? OUT : m->consumers[0].phase;
    for (unsigned t = 0; t < 1500; t++) {
        for (unsigned i = 0; i < CONSUMERS; i++) {
            act(m, &m->consumers[i], true);
        }
        world_commit(&m->world);
        pass(m, 100);
    }
    send_describe(&m->world, &call);
    world_commit(&m->world);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        struct consumer *k = &m->consumers[i];
        alive += k->phase != GONE;
        if (k->phase != GONE && k->phase != MEMBER) {
            fail_msg("consumer %u is stuck in phase %d", i, k->phase);
        }
        for (uint32_t p = 0; p < k->n_partitions; p++) {
            owned[k->partitions[p]]++;
        }
    }
    if (alive > 0) {
        assert_string_equal(coordinator_state_name(call.describe.state), "Stable");
        assert_int_equal(call.describe.n_members, alive);
        for (unsigned p = 0; p < PARTITIONS; p++) {
            assert_int_equal(owned[p], 1);
        }
    } else {
        assert_true(call.describe.request.error == ERR_GROUP_NOT_FOUND || call.describe.state == COORDINATOR_EMPTY);
    }
    check_log(m);
    m->rebalances += (uint64_t)(call.describe.generation > 0 ? call.describe.generation : 0);
    call_reset(&call);
}

static unsigned long first_seed = 1;
static unsigned long seeds = 100;
static unsigned long steps = 20000;
static bool verbose; /* names each seed before it runs */

static void run(uint64_t seed, uint64_t totals[4])
{
    struct model *m = test_calloc(1, sizeof *m);
    world_open(&m->world);
    m->random = seed;
    m->pace_ms = 50u << below(m, 6);
    m->disturbed = 2u << below(m, 5);
    m->world.owner = m;
    m->world.applied = applied;
    for (unsigned i = 0; i < CONSUMERS; i++) {
        struct consumer *k = &m->consumers[i];
        k->model = m;
        k->number = i;
        k->is_static = i % 3 == 2;
        snprintf(k->instance, sizeof k->instance, "i%u", i);
        k->phase = below(m, 2) == 0 ? OUT : GONE;
    }
    for (unsigned long i = 0; i < steps; i++) {
        step(m);
    }
    become_quiet(m);
    totals[0] += m->commits;
    totals[1] += m->rebalances;
    totals[2] += m->leaders;
    totals[3] += m->fenced;
    for (unsigned i = 0; i < CONSUMERS; i++) {
        if (m->consumers[i].commit_delayed) {
            deliver_commit(m, &m->consumers[i]);
        }
    }
    world_close(&m->world);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        call_reset(&m->consumers[i].call);
        call_reset(&m->consumers[i].commit);
    }
    test_free(m);
}

static void consumers_come_and_go_while_coordinators_die(void **state)
{
    uint64_t totals[4] = {0};
    for (unsigned long seed = first_seed; seed < first_seed + seeds; seed++) {
        if (verbose) {
            print_message("seed %lu\n", seed);
        }
        run(seed, totals);
    }
    print_message(
        "%lu seeds: %llu commits, %llu generations, %llu changes of leaders, %llu commits fenced when applied\n", seeds,
        (unsigned long long)totals[0], (unsigned long long)totals[1], (unsigned long long)totals[2],
        (unsigned long long)totals[3]);
    assert_true(totals[0] > 0 && totals[1] > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(consumers_come_and_go_while_coordinators_die)};
    verbose = argc > 1;
    first_seed = argc > 1 ? strtoul(argv[1], NULL, 10) : first_seed;
    seeds = argc > 2 ? strtoul(argv[2], NULL, 10) : seeds;
    steps = argc > 3 ? strtoul(argv[3], NULL, 10) : steps;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
