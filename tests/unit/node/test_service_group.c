/* Consumer groups on whole nodes: who coordinates, what survives a coordinator's death, and that every request ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/service/service_group.h"
#include "tests/unit/node/door.h"

static struct door d;
static struct uuid topic;
static const struct request_context ctx = {"anonymous", "client", "test"};

static int open_nodes(unsigned nodes, unsigned shards)
{
    door_defaults(&d);
    d.shards = shards;
    door_open(&d, nodes);
    return door_create_topic(&d, "t", 4, nodes, &topic);
}

static int open_one(void **state)
{
    return open_nodes(1, 1);
}

static int open_two_shards(void **state)
{
    return open_nodes(1, 2);
}

static int open_three(void **state)
{
    return open_nodes(3, 2);
}

static int close_all(void **state)
{
    door_close(&d);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------ */

static bool is_true(void *data)
{
    return *(bool *)data;
}

struct find {
    struct service_find_coordinator f;
    unsigned at;
    char address[64];
    bool done;
};

static void found(struct service_find_coordinator *f)
{
    struct find *find = container_of(f, struct find, f);
    snprintf(find->address, sizeof find->address, "%s", f->error == 0 ? f->address : "");
    find->done = true;
}

static void start_find(struct env *env, void *data)
{
    struct find *find = data;
    service_find_coordinator(node_service(d.nodes[find->at - 1].node), &find->f);
}

static int find_at(unsigned at, const char *group, unsigned *node)
{
    struct find find = {.at = at, .f = {.ctx = &ctx, .group = group, .done = found}};
    char address[64];
    (void)sim_node_call(d.nodes[at - 1].machine, start_find, &find);
    assert_true(door_until(&d, is_true, &find.done, 10000));
    if (find.f.error == 0) {
        snprintf(address, sizeof address, "n%u:9092", find.f.node);
        assert_string_equal(find.address, address);
    }
    *node = find.f.node;
    return find.f.error;
}

struct ask {
    const char *group;
    unsigned at; /* not this node, where one is down */
    unsigned node;
};

static bool coordinated(void *data)
{
    struct ask *a = data;
    const struct node *n = d.nodes[a->at - 1].node;
    unsigned node = n == NULL ? 0 : service_coordinator_of(node_service(d.nodes[a->at - 1].node), a->group);
    if (node == 0 || d.nodes[node - 1].node == NULL || node == a->node) {
        return false;
    }
    a->node = node;
    return true;
}

/* Who coordinates @group as @at knows, other than @but. */
static unsigned coordinator(unsigned at, const char *group, unsigned but)
{
    struct ask a = {group, at, but};
    assert_true(door_until(&d, coordinated, &a, 20000));
    return a.node;
}

struct op {
    struct service_groups *g;
    unsigned at;
    bool done;
};

static void called(struct service_groups *g)
{
    ((struct op *)g->data)->done = true;
}

static void start_call(struct env *env, void *data)
{
    struct op *c = data;
    service_groups(node_service(d.nodes[c->at - 1].node), c->g);
}

static struct op *call_new(enum coordinator_verb verb, const char *group)
{
    struct op *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->g = service_groups_new(1);
    assert_non_null(c->g);
    c->g->ctx = &ctx;
    c->g->done = called;
    c->g->data = c;
    c->g->calls[0].op.verb = verb;
    switch (verb) {
    case COORDINATOR_JOIN:
        c->g->calls[0].op.u.join.group = group;
        break;
    case COORDINATOR_SYNC:
        c->g->calls[0].op.u.sync.group = group;
        break;
    case COORDINATOR_HEARTBEAT:
        c->g->calls[0].op.u.heartbeat.group = group;
        break;
    case COORDINATOR_LEAVE:
        c->g->calls[0].op.u.leave.group = group;
        break;
    case COORDINATOR_COMMIT:
        c->g->calls[0].op.u.commit.group = group;
        c->g->calls[0].op.u.commit.retention_ms = -1;
        break;
    case COORDINATOR_FETCH:
        c->g->calls[0].op.u.fetch.group = group;
        break;
    case COORDINATOR_FORGET:
        c->g->calls[0].op.u.forget.group = group;
        break;
    case COORDINATOR_DELETE:
        c->g->calls[0].op.u.del.group = group;
        break;
    default:
        c->g->calls[0].op.u.describe.group = group;
        break;
    }
    return c;
}

static void call_start(struct op *c, unsigned at)
{
    c->at = at;
    (void)sim_node_call(d.nodes[at - 1].machine, start_call, c);
}

static int call_wait(struct op *c)
{
    assert_true(door_until(&d, is_true, &c->done, 20000));
    return service_group_error(&c->g->calls[0]);
}

static void call_free(struct op *c)
{
    service_groups_free(c->g);
    free(c);
}

static int call_once(struct op *c, unsigned at)
{
    int rv;
    call_start(c, at);
    rv = call_wait(c);
    call_free(c);
    return rv;
}

/* ---- a member ----------------------------------------------------------------------------------------------------------- */

struct member {
    char id[GROUP_MEMBER_ID_MAX + 1];
    int32_t generation;
    bool leads;
};

static const struct coordinator_protocol range = {"range", "sub", 3};

static struct op *join_start(unsigned at, const char *group, const struct member *m)
{
    struct op *c = call_new(COORDINATOR_JOIN, group);
    struct coordinator_join *j = &c->g->calls[0].op.u.join;
    j->member = m->id;
    j->client_id = "test";
    j->client_host = "/host";
    j->protocol_type = "consumer";
    j->session_timeout_ms = 10000;
    j->rebalance_timeout_ms = 20000;
    j->protocols = &range;
    j->n_protocols = 1;
    call_start(c, at);
    return c;
}

static int join_end(struct op *c, struct member *m)
{
    const struct coordinator_join *j = &c->g->calls[0].op.u.join;
    int rv = call_wait(c);
    if (rv == 0) {
        if (j->member_out != NULL) {
            snprintf(m->id, sizeof m->id, "%s", j->member_out->data);
        }
        m->generation = j->generation;
        m->leads = group_blob_is(j->leader, m->id);
    }
    call_free(c);
    return rv;
}

static int sync(unsigned at, const char *group, const struct member *m, char *assignment, size_t size)
{
    struct op *c = call_new(COORDINATOR_SYNC, group);
    struct coordinator_sync *s = &c->g->calls[0].op.u.sync;
    struct coordinator_assignment own = {m->id, m->id, (uint32_t)strlen(m->id)};
    int rv;
    s->member = m->id;
    s->generation = m->generation;
    s->assignments = &own;
    s->n_assignments = m->leads;
    call_start(c, at);
    rv = call_wait(c);
    if (rv == 0) {
        snprintf(assignment, size, "%s", s->assignment == NULL ? "" : s->assignment->data);
    }
    call_free(c);
    return rv;
}

/* Alone in its group: joined, and with its assignment. */
static struct member enter(unsigned at, const char *group)
{
    struct member m = {.generation = -1};
    char assignment[GROUP_MEMBER_ID_MAX + 1] = "";
    assert_int_equal(join_end(join_start(at, group, &m), &m), 0);
    assert_true(m.leads);
    assert_int_equal(sync(at, group, &m, assignment, sizeof assignment), 0);
    assert_string_equal(assignment, m.id);
    return m;
}

static int heartbeat(unsigned at, const char *group, const struct member *m)
{
    struct op *c = call_new(COORDINATOR_HEARTBEAT, group);
    c->g->calls[0].op.u.heartbeat.member = m->id;
    c->g->calls[0].op.u.heartbeat.generation = m->generation;
    return call_once(c, at);
}

static int leave(unsigned at, const char *group, const struct member *m)
{
    struct op *c = call_new(COORDINATOR_LEAVE, group);
    struct coordinator_leaver leaver = {.member = m->id};
    c->g->calls[0].op.u.leave.members = &leaver;
    c->g->calls[0].op.u.leave.n_members = 1;
    return call_once(c, at);
}

static const struct member nobody = {"", -1, false};

static struct op *commit_start(unsigned at, const char *group, const struct member *m, struct coordinator_part *part)
{
    struct op *c = call_new(COORDINATOR_COMMIT, group);
    c->g->calls[0].op.u.commit.member = m->id;
    c->g->calls[0].op.u.commit.generation = m->generation;
    c->g->calls[0].op.u.commit.parts = part;
    c->g->calls[0].op.u.commit.n_parts = 1;
    call_start(c, at);
    return c;
}

static int commit(unsigned at, const char *group, const struct member *m, int32_t partition, int64_t offset)
{
    struct coordinator_part part = {.topic = topic, .partition = partition, .offset = offset, .leader_epoch = 3,
                                    .metadata = "note", .metadata_size = 4};
    struct op *c = commit_start(at, group, m, &part);
    int rv = call_wait(c);
    call_free(c);
    return rv != 0 ? rv : part.error;
}

/* Error, or the offset in @offset. */
static int fetch(unsigned at, const char *group, int32_t partition, int64_t *offset)
{
    struct coordinator_part part = {.topic_name = "t", .partition = partition};
    struct op *c = call_new(COORDINATOR_FETCH, group);
    int rv;
    c->g->calls[0].op.u.fetch.parts = &part;
    c->g->calls[0].op.u.fetch.n_parts = 1;
    call_start(c, at);
    rv = call_wait(c);
    *offset = part.offset;
    if (rv == 0 && part.offset >= 0) {
        assert_int_equal(part.leader_epoch, 3);
        assert_true(group_blob_is(part.metadata_out, "note"));
    }
    call_free(c);
    return rv;
}

/* ---- who coordinates ------------------------------------------------------------------------------------------------------ */

static void coordinators_are_made_at_first_need_and_spread(void **state)
{
    unsigned led[4] = {0};
    unsigned node;
    assert_null(metadata_fsm_coordinators(service_metadata(node_service(d.nodes[0].node))));
    assert_int_equal(find_at(2, "first", &node), 0);
    door_run(&d, 1000);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "group-%d", i);
        for (unsigned at = 1; at <= 3; at++) {
            unsigned again;
            assert_int_equal(find_at(at, name, &again), 0);
            assert_true(at == 1 || again == node);
            node = again;
        }
        led[node]++;
    }
    for (unsigned i = 1; i <= 3; i++) {
        assert_in_range(led[i], 15, 60);
    }
}

static void a_name_that_is_not_allowed_has_no_coordinator(void **state)
{
    char name[GROUP_NAME_MAX + 2];
    unsigned node;
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(find_at(1, "", &node), ERR_INVALID_GROUP);
    assert_int_equal(find_at(1, name, &node), ERR_INVALID_GROUP);
}

static void others_than_the_coordinator_refuse(void **state)
{
    unsigned node;
    int64_t offset;
    assert_int_equal(fetch(1, "g", 0, &offset), ERR_NOT_COORDINATOR); /* there are none yet */
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    node = coordinator(1, "g", 0);
    assert_int_equal(fetch(node, "g", 0, &offset), 0);
    assert_int_equal(fetch(node % 3 + 1, "g", 0, &offset), ERR_NOT_COORDINATOR);
    assert_int_equal(commit((node + 1) % 3 + 1, "g", &nobody, 0, 5), ERR_NOT_COORDINATOR);
}

/* ---- the whole protocol ----------------------------------------------------------------------------------------------- */

static struct op *described(unsigned at, const char *group, enum coordinator_state state)
{
    struct op *c = call_new(COORDINATOR_DESCRIBE, group);
    call_start(c, at);
    (void)call_wait(c);
    assert_int_equal(c->g->calls[0].op.u.describe.state, state);
    return c;
}

static void a_group_lives(void **state)
{
    struct member m;
    struct member second = {.generation = -1};
    struct op *joining[2];
    struct op *c;
    char assignment[GROUP_MEMBER_ID_MAX + 1];
    unsigned node;
    int64_t offset;

    assert_int_equal(find_at(1, "g", &node), 0);
    m = enter(1, "g");
    assert_int_equal(heartbeat(1, "g", &m), 0);
    assert_int_equal(commit(1, "g", &m, 2, 42), 0);
    assert_int_equal(fetch(1, "g", 2, &offset), 0);
    assert_int_equal(offset, 42);
    assert_int_equal(fetch(1, "g", 1, &offset), 0);
    assert_int_equal(offset, -1);
    c = described(1, "g", COORDINATOR_STABLE);
    assert_int_equal(c->g->calls[0].op.u.describe.n_members, 1);
    assert_true(group_blob_is(c->g->calls[0].op.u.describe.members[0].info.client_host, "/host"));
    call_free(c);

    joining[1] = join_start(1, "g", &second);
    door_run(&d, 100);
    assert_int_equal(heartbeat(1, "g", &m), ERR_REBALANCE);
    joining[0] = join_start(1, "g", &m);
    assert_int_equal(join_end(joining[0], &m), 0);
    assert_int_equal(join_end(joining[1], &second), 0);
    assert_int_equal(m.generation, second.generation);
    assert_int_equal(sync(1, "g", m.leads ? &m : &second, assignment, sizeof assignment), 0);
    assert_int_equal(sync(1, "g", m.leads ? &second : &m, assignment, sizeof assignment), 0);

    assert_int_equal(leave(1, "g", &m), 0);
    assert_int_equal(leave(1, "g", &second), 0);
    assert_int_equal(heartbeat(1, "g", &m), ERR_UNKNOWN_MEMBER);
    call_free(described(1, "g", COORDINATOR_EMPTY));
    assert_int_equal(call_once(call_new(COORDINATOR_DELETE, "g"), 1), 0);
    call_free(described(1, "g", COORDINATOR_DEAD));
    assert_int_equal(fetch(1, "g", 2, &offset), 0);
    assert_int_equal(offset, -1);
}

static void who_is_silent_is_thrown_out(void **state)
{
    struct member m;
    unsigned node;
    assert_int_equal(find_at(1, "g", &node), 0);
    m = enter(1, "g");
    door_run(&d, 8000);
    assert_int_equal(heartbeat(1, "g", &m), 0);
    door_run(&d, 8000); /* the heartbeat began a new session */
    assert_int_equal(heartbeat(1, "g", &m), 0);
    door_run(&d, 11000);
    assert_int_equal(heartbeat(1, "g", &m), ERR_UNKNOWN_MEMBER);
}

static void what_does_not_exist_is_an_error_of_its_part(void **state)
{
    struct coordinator_part parts[3] = {
        {.topic_name = "t", .partition = 1, .offset = 7, .leader_epoch = 3, .metadata = "note", .metadata_size = 4},
        {.topic_name = "t", .partition = 4, .offset = 8},
        {.topic_name = "no such topic", .offset = 9},
    };
    struct op *c;
    unsigned node;
    int64_t offset;
    assert_int_equal(find_at(1, "g", &node), 0);
    c = commit_start(1, "g", &nobody, parts);
    call_wait(c);
    call_free(c);
    c = call_new(COORDINATOR_COMMIT, "g");
    c->g->calls[0].op.u.commit.member = "";
    c->g->calls[0].op.u.commit.generation = -1;
    c->g->calls[0].op.u.commit.parts = parts;
    c->g->calls[0].op.u.commit.n_parts = 3;
    assert_int_equal(call_once(c, 1), 0);
    assert_int_equal(parts[0].error, 0);
    assert_int_equal(parts[1].error, ERR_UNKNOWN_TOPIC);
    assert_int_equal(parts[2].error, ERR_UNKNOWN_TOPIC);
    assert_int_equal(fetch(1, "g", 1, &offset), 0);
    assert_int_equal(offset, 7);

    parts[0] = (struct coordinator_part){.topic = topic, .partition = 1};
    c = call_new(COORDINATOR_FORGET, "g");
    c->g->calls[0].op.u.forget.parts = parts;
    c->g->calls[0].op.u.forget.n_parts = 3;
    assert_int_equal(call_once(c, 1), 0);
    assert_int_equal(parts[0].error, 0);
    assert_string_equal(parts[0].topic_name, "t");
    assert_int_equal(parts[2].error, ERR_UNKNOWN_TOPIC);
    assert_int_equal(fetch(1, "g", 1, &offset), 0);
    assert_int_equal(offset, -1);
}

struct list_call {
    struct service_list_groups l;
    unsigned at;
    bool done;
};

static void groups_listed(struct service_list_groups *l)
{
    container_of(l, struct list_call, l)->done = true;
}

static void start_list(struct env *env, void *data)
{
    struct list_call *c = data;
    service_list_groups(node_service(d.nodes[c->at - 1].node), &c->l);
}

static unsigned listed_at(unsigned at)
{
    struct list_call c = {.at = at, .l = {.done = groups_listed}};
    unsigned n = 0;
    (void)sim_node_call(d.nodes[at - 1].machine, start_list, &c);
    assert_true(door_until(&d, is_true, &c.done, 5000));
    assert_int_equal(c.l.error, 0);
    for (uint32_t i = 0; i < c.l.groups->n; i++) {
        n += service_group_error(&c.l.groups->calls[i]) == 0 ? c.l.groups->calls[i].op.u.list.n_groups : 0;
    }
    service_list_groups_close(&c.l);
    return n;
}

static void each_node_lists_the_groups_that_it_coordinates(void **state)
{
    unsigned node;
    assert_int_equal(listed_at(1), 0);
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 2000);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "group-%d", i);
        assert_int_equal(commit(coordinator(1, name, 0), name, &nobody, 0, i), 0);
    }
    assert_int_equal(listed_at(1) + listed_at(2) + listed_at(3), 20);
}

/* ---- lag ------------------------------------------------------------------------------------------------------------ */

struct lag_call {
    struct service_lag l;
    unsigned at;
    bool done;
};

static void measured(struct service_lag *l)
{
    container_of(l, struct lag_call, l)->done = true;
}

static void start_lag(struct env *env, void *data)
{
    struct lag_call *c = data;
    service_lag(node_service(d.nodes[c->at - 1].node), &c->l);
}

static void lag_at(struct lag_call *c, unsigned at)
{
    c->at = at;
    c->done = false;
    c->l.done = measured;
    (void)sim_node_call(d.nodes[at - 1].machine, start_lag, c);
    assert_true(door_until(&d, is_true, &c->done, 5000));
    assert_int_equal(c->l.error, 0);
}

/* Partitions are led by all nodes: what the coordinator does not lead itself it asks for. */
static void lag_counts_records_and_time(void **state)
{
    struct service_lag_group asked[3] = {{.group = "g"}, {.group = "nobody's"}, {.group = "h"}};
    struct lag_call c = {.l = {.groups = asked, .n_groups = 3}};
    unsigned node;
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    for (int32_t p = 0; p < 4; p++) {
        struct door_conn *conn = door_connect(&d, door_leader(&d, &topic, (uint32_t)p));
        for (int i = 0; i < 5 * p; i++) {
            assert_int_equal(door_produce(conn, &topic, (uint32_t)p, 50), 0);
            door_run(&d, 100);
        }
        assert_int_equal(commit(coordinator(1, "g", 0), "g", &nobody, p, 5), 0);
    }
    node = coordinator(1, "g", 0);
    door_run(&d, 2000);
    lag_at(&c, node);
    assert_int_equal(asked[0].error, 0);
    assert_int_equal(asked[0].n_parts, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct service_lag_part *part = &asked[0].parts[i];
        int32_t p = part->partition;
        int64_t behind = p > 1 ? 5 * p - 5 : 0;
        assert_int_equal(part->error, 0);
        assert_string_equal(part->topic_name, "t");
        assert_int_equal(part->offset, 5);
        assert_int_equal(part->end_offset, 5 * p);
        assert_int_equal(part->lag, behind);
        if (behind == 0) {
            assert_int_equal(part->lag_ms, 0);
        } else { /* the first of those behind; partition 3 was written after 2 */
            assert_in_range(part->lag_ms, 2000 + 100 * behind, 2600 + 100 * behind + (p == 2 ? 1700 : 0));
        }
    }
    assert_true(asked[1].error == ERR_GROUP_NOT_FOUND || asked[1].error == ERR_NOT_COORDINATOR);
    assert_int_equal(asked[1].n_parts, 0);
    service_lag_close(&c.l);

    /* all that are coordinated there */
    c.l = (struct service_lag){.all = true};
    lag_at(&c, node);
    assert_int_equal(c.l.n_groups, 1);
    assert_string_equal(c.l.groups[0].group, "g");
    assert_int_equal(c.l.groups[0].n_parts, 4);
    service_lag_close(&c.l);
}

/* Where nobody leads, or who leads does not answer, the lag is not known; it is not zero. */
static void lag_without_a_leader_is_not_known(void **state)
{
    struct service_lag_group asked = {.group = "g"};
    struct lag_call c = {.l = {.groups = &asked, .n_groups = 1}};
    unsigned node;
    unsigned not_known = 0;
    uint64_t begin;
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    node = coordinator(1, "g", 0);
    for (int32_t p = 0; p < 4; p++) {
        assert_int_equal(commit(node, "g", &nobody, p, 0), 0);
    }
    for (unsigned i = 1; i <= 3; i++) {
        if (i != node && *state == NULL) {
            sim_node_pause(d.nodes[i - 1].machine);
        } else if (i != node) {
            door_kill(&d, i);
        }
    }
    begin = sim_world_now(d.world);
    lag_at(&c, node);
    assert_in_range((sim_world_now(d.world) - begin) / SIM_MS, 0, 3500);
    assert_int_equal(asked.n_parts, 4);
    for (uint32_t i = 0; i < 4; i++) {
        if (asked.parts[i].error != 0) {
            not_known++;
            assert_int_equal(asked.parts[i].lag, -1);
            assert_int_equal(asked.parts[i].lag_ms, -1);
            assert_int_equal(asked.parts[i].end_offset, -1);
        }
    }
    assert_in_range(not_known, 2, 3);
    service_lag_close(&c.l);
}

/* ---- deleted topics --------------------------------------------------------------------------------------------------- */

static uint32_t offsets_of(unsigned at, const char *group)
{
    uint32_t n = 0;
    struct shards *set = control_shards(service_control(node_service(d.nodes[at - 1].node)));
    for (uint64_t id = METADATA_COORDINATOR_GROUP_FIRST; id < METADATA_COORDINATOR_GROUP_FIRST + 16; id++) {
        struct group_runtime *r = group_runtime_find(shards_of_group(set, id), id);
        const struct saved_group *g = r == NULL ? NULL : groups_fsm_find(group_runtime_state(r), group);
        n += g == NULL ? 0 : g->n_offsets;
    }
    return n;
}

static bool has_one_offset(void *data)
{
    return offsets_of(1, data) == 1;
}

/* What else is committed stays. */
static void offsets_of_deleted_topics_go(void **state)
{
    struct uuid other;
    struct uuid kept = topic;
    unsigned node;
    char group[] = "g";
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    assert_int_equal(door_create_topic(&d, "other", 1, d.n, &other), 0);
    door_run(&d, 1000);
    assert_int_equal(commit(coordinator(1, "g", 0), "g", &nobody, 0, 1), 0);
    topic = other;
    assert_int_equal(commit(coordinator(1, "g", 0), "g", &nobody, 0, 1), 0);
    topic = kept;
    door_run(&d, 1000);
    assert_int_equal(offsets_of(1, "g"), 2);
    assert_int_equal(door_delete_topic(&d, "other"), 0);
    assert_true(door_until(&d, has_one_offset, group, 20000));
    door_run(&d, 20000);
    assert_int_equal(offsets_of(1, "g"), 1);
}

/* ---- deaths --------------------------------------------------------------------------------------------------------- */

static void a_coordinators_death_loses_no_commit_and_wakes_no_zombie(void **state)
{
    struct member m;
    struct member other = {.generation = -1};
    struct op *joining;
    struct op *again;
    char assignment[GROUP_MEMBER_ID_MAX + 1];
    unsigned node;
    unsigned next;
    int64_t offset;

    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    node = coordinator(1, "g", 0);
    m = enter(node, "g");
    assert_int_equal(commit(node, "g", &m, 0, 100), 0);
    door_kill(&d, node);
    next = coordinator(node % 3 + 1, "g", node);
    while (heartbeat(next, "g", &m) == ERR_LEADER_NOT_READY) {
        door_run(&d, 50);
    }
    assert_int_equal(heartbeat(next, "g", &m), 0); /* the same generation goes on */
    assert_int_equal(fetch(next, "g", 0, &offset), 0);
    assert_int_equal(offset, 100);
    assert_int_equal(commit(next, "g", &m, 0, 101), 0);

    /* another one takes over; who slept through it is a zombie */
    joining = join_start(next, "g", &other);
    again = join_start(next, "g", &m);
    assert_int_equal(join_end(again, &m), 0);
    assert_int_equal(join_end(joining, &other), 0);
    assert_int_equal(sync(next, "g", m.leads ? &m : &other, assignment, sizeof assignment), 0);
    m.generation--;
    assert_int_equal(commit(next, "g", &m, 0, 77), ERR_ILLEGAL_GENERATION);
    assert_int_equal(heartbeat(next, "g", &m), ERR_ILLEGAL_GENERATION);
    door_start(&d, node);
    door_run(&d, 15000); /* leaders go back; both members are silent: thrown out */
    next = coordinator(1, "g", 0);
    assert_int_equal(commit(next, "g", &m, 0, 78), ERR_UNKNOWN_MEMBER);
    assert_int_equal(fetch(next, "g", 0, &offset), 0);
    assert_int_equal(offset, 101);
}

static void an_isolated_coordinator_serves_nobody(void **state)
{
    struct member m;
    unsigned node;
    struct coordinator_part part = {.topic = topic, .offset = 5};
    struct op *c;
    int64_t offset;
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    node = coordinator(1, "g", 0);
    m = enter(node, "g");
    sim_net_partition(d.world, 1ull << (node - 1));
    c = commit_start(node, "g", &m, &part);
    assert_int_equal(fetch(node, "g", 0, &offset), ERR_NOT_COORDINATOR);
    assert_int_equal(call_wait(c), ERR_NOT_COORDINATOR);
    call_free(c);
}

/* What was committed through another coordinator must not look as if it were nothing, because this one has not heard of
 * the topic yet: consumers would begin anew. */
static void a_topic_not_heard_of_yet_is_not_one_without_offsets(void **state)
{
    struct coordinator_part part;
    unsigned node;
    unsigned leader = 0;
    char group[16];
    struct op *c;
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    for (unsigned at = 1; at <= 3; at++) {
        struct group_info info;
        group_info(control_metadata_group(node_control(d.nodes[at - 1].node)), &info);
        leader = info.leading ? at : leader;
    }
    assert_int_not_equal(leader, 0);
    for (unsigned i = 0;; i++) { /* one that another node coordinates */
        snprintf(group, sizeof group, "g%u", i);
        node = coordinator(1, group, 0);
        if (node != leader) {
            break;
        }
    }
    /* It hears nothing of new topics, and goes on with the third node. */
    sim_net_block(d.world, d.nodes[leader - 1].machine, d.nodes[node - 1].machine, true);
    sim_net_block(d.world, d.nodes[node - 1].machine, d.nodes[leader - 1].machine, true);
    part = (struct coordinator_part){.topic_name = "later"};
    c = call_new(COORDINATOR_FETCH, group);
    c->g->calls[0].op.u.fetch.parts = &part;
    c->g->calls[0].op.u.fetch.n_parts = 1;
    call_start(c, node);
    assert_int_not_equal(call_wait(c), 0);
    call_free(c);
    sim_net_heal(d.world);
    door_run(&d, 3000);
    node = coordinator(1, group, 0);
    part = (struct coordinator_part){.topic_name = "later"};
    c = call_new(COORDINATOR_FETCH, group);
    c->g->calls[0].op.u.fetch.parts = &part;
    c->g->calls[0].op.u.fetch.n_parts = 1;
    call_start(c, node);
    assert_int_equal(call_wait(c), 0); /* there is no such topic: that is known now */
    assert_int_equal(part.offset, -1);
    call_free(c);
}

/* It wakes with all its members' sessions behind it, and must not tell them so: another one has led meanwhile. */
static void a_coordinator_that_slept_throws_nobody_out(void **state)
{
    struct member m;
    struct op *asked[3];
    unsigned node;
    unsigned next;
    int rv;
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    node = coordinator(1, "g", 0);
    m = enter(node, "g");
    sim_node_pause(d.nodes[node - 1].machine);
    next = coordinator(node % 3 + 1, "g", node);
    for (int i = 0; i < 30; i++) { /* the member goes on with the next one for longer than its session */
        door_run(&d, 500);
        rv = heartbeat(next, "g", &m);
        assert_true(rv == 0 || (i == 0 && rv == ERR_LEADER_NOT_READY));
    }
    for (int i = 0; i < 3; i++) {
        asked[i] = call_new(COORDINATOR_HEARTBEAT, "g");
        asked[i]->g->calls[0].op.u.heartbeat.member = m.id;
        asked[i]->g->calls[0].op.u.heartbeat.generation = m.generation;
        asked[i]->at = node;
    }
    sim_node_resume(d.nodes[node - 1].machine);
    for (int i = 0; i < 3; i++) {
        call_start(asked[i], node);
        door_run(&d, (uint64_t)i); /* at once, and while it finds out */
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(call_wait(asked[i]), ERR_NOT_COORDINATOR);
        call_free(asked[i]);
    }
    assert_int_equal(heartbeat(next, "g", &m), 0);
}

static void offsets_and_members_outlive_everybody(void **state)
{
    struct member m;
    unsigned node;
    int64_t offset;
    assert_int_equal(find_at(1, "g", &node), 0);
    m = enter(1, "g");
    assert_int_equal(commit(1, "g", &m, 3, 1234), 0);
    door_kill(&d, 1);
    door_start(&d, 1);
    assert_int_equal(find_at(1, "g", &node), 0);
    while (heartbeat(1, "g", &m) == ERR_LEADER_NOT_READY) {
        door_run(&d, 50);
    }
    assert_int_equal(heartbeat(1, "g", &m), 0);
    assert_int_equal(fetch(1, "g", 3, &offset), 0);
    assert_int_equal(offset, 1234);
}

static void death_with_requests_parked_frees_everything(void **state)
{
    struct member m;
    struct member second = {.generation = -1};
    struct coordinator_part parts[4] = {{.topic = topic}, {.topic = topic}, {.topic = topic}, {.topic = topic}};
    struct op *calls[6];
    unsigned node;
    assert_int_equal(find_at(1, "g", &node), 0);
    m = enter(1, "g");
    calls[0] = join_start(1, "g", &second); /* waits for the first one */
    for (int i = 0; i < 4; i++) {
        calls[1 + i] = commit_start(1, "h", &nobody, &parts[i]);
    }
    calls[5] = call_new(COORDINATOR_FETCH, "h");
    calls[5]->g->calls[0].op.u.fetch.all = true;
    call_start(calls[5], 1);
    door_run(&d, (uint64_t)(uintptr_t)*state);
    for (int i = 0; i < 6; i++) { /* as the doors do: their memory goes before the coordinators' */
        call_free(calls[i]);
    }
    door_kill(&d, 1);
    door_start(&d, 1);
    assert_int_equal(find_at(1, "g", &node), 0);
    (void)m;
}

static bool stopped(void *data)
{
    return ((struct door_node *)data)->stopped;
}

static void a_stop_answers_everybody(void **state)
{
    struct member m;
    struct member second = {.generation = -1};
    struct op *joining;
    unsigned node;
    assert_int_equal(find_at(1, "g", &node), 0);
    door_run(&d, 1000);
    node = coordinator(1, "g", 0);
    m = enter(node, "g");
    joining = join_start(node, "g", &second);
    door_run(&d, 100);
    (void)m;
    door_stop(&d, node);
    assert_int_equal(join_end(joining, &second), ERR_NOT_COORDINATOR);
    assert_true(door_until(&d, stopped, &d.nodes[node - 1], 5000));
}

int main(void)
{
    static void *soon = (void *)1;
    static void *later = (void *)20;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(coordinators_are_made_at_first_need_and_spread, open_three, close_all),
        cmocka_unit_test_setup_teardown(a_name_that_is_not_allowed_has_no_coordinator, open_one, close_all),
        cmocka_unit_test_setup_teardown(others_than_the_coordinator_refuse, open_three, close_all),
        cmocka_unit_test_setup_teardown(a_group_lives, open_one, close_all),
        cmocka_unit_test_setup_teardown(a_group_lives, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(who_is_silent_is_thrown_out, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(what_does_not_exist_is_an_error_of_its_part, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(each_node_lists_the_groups_that_it_coordinates, open_three, close_all),
        cmocka_unit_test_setup_teardown(lag_counts_records_and_time, open_three, close_all),
        cmocka_unit_test_setup_teardown(lag_counts_records_and_time, open_two_shards, close_all),
        cmocka_unit_test_prestate_setup_teardown(lag_without_a_leader_is_not_known, open_three, close_all, NULL),
        cmocka_unit_test_prestate_setup_teardown(lag_without_a_leader_is_not_known, open_three, close_all, soon),
        cmocka_unit_test_setup_teardown(offsets_of_deleted_topics_go, open_three, close_all),
        cmocka_unit_test_setup_teardown(offsets_of_deleted_topics_go, open_two_shards, close_all),
        cmocka_unit_test_setup_teardown(a_coordinators_death_loses_no_commit_and_wakes_no_zombie, open_three, close_all),
        cmocka_unit_test_setup_teardown(an_isolated_coordinator_serves_nobody, open_three, close_all),
        cmocka_unit_test_setup_teardown(a_topic_not_heard_of_yet_is_not_one_without_offsets, open_three, close_all),
        cmocka_unit_test_setup_teardown(a_coordinator_that_slept_throws_nobody_out, open_three, close_all),
        cmocka_unit_test_setup_teardown(offsets_and_members_outlive_everybody, open_one, close_all),
        cmocka_unit_test_setup_teardown(offsets_and_members_outlive_everybody, open_two_shards, close_all),
        cmocka_unit_test_prestate_setup_teardown(death_with_requests_parked_frees_everything, open_one, close_all, soon),
        cmocka_unit_test_prestate_setup_teardown(death_with_requests_parked_frees_everything, open_two_shards, close_all, soon),
        cmocka_unit_test_prestate_setup_teardown(death_with_requests_parked_frees_everything, open_two_shards, close_all, later),
        cmocka_unit_test_setup_teardown(a_stop_answers_everybody, open_three, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
