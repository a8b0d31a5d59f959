/* The coordinator, request by request: Kafka's classic group protocol. */
#include "tests/unit/fsm/group_world.h"

struct member {
    struct call call;
    char id[400];
};

static int setup(void **state)
{
    struct group_world *w = test_calloc(1, sizeof *w);
    world_open(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_close(*state);
    test_free(*state);
    return 0;
}

static void learn_id(struct member *m)
{
    snprintf(m->id, sizeof m->id, "%s", m->call.join.member_out->data);
}

/* A group of @n members through its first generation: joined, assigned ("a0", "a1", ...), stable. */
static void form(struct group_world *w, struct member *members, unsigned n)
{
    struct coordinator_assignment assignments[8];
    static const char *const texts[8] = {"a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"};
    for (unsigned i = 0; i < n; i++) {
        send_join(w, &members[i].call, "");
    }
    world_pass(w, 2 * GROUP_INITIAL_DELAY_MS);
    for (unsigned i = 0; i < n; i++) {
        assert_answer(&members[i].call, 0);
        assert_int_equal(members[i].call.join.generation, 1);
        learn_id(&members[i]);
        assignments[i] = (struct coordinator_assignment){.member = members[i].id, .data = texts[i], .size = 2};
    }
    assert_int_equal(members[0].call.join.n_members, n);
    for (unsigned i = n; i-- > 0;) {
        call_reset(&members[i].call);
        members[i].call.sync = (struct coordinator_sync){
            .group = "g", .member = members[i].id, .generation = 1, .protocol_type = "consumer", .protocol = "range"};
        if (i == 0) {
            members[0].call.sync.assignments = assignments;
            members[0].call.sync.n_assignments = n;
        }
        coordinator_sync(w->c, w->now_ms, &members[i].call.sync);
        assert_parked(&members[i].call);
    }
    world_commit(w);
    for (unsigned i = 0; i < n; i++) {
        assert_answer(&members[i].call, 0);
        assert_string_equal(members[i].call.sync.assignment->data, texts[i]);
    }
}

static void reset_all(struct member *members, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        call_reset(&members[i].call);
    }
}

static enum coordinator_state state_of(struct group_world *w)
{
    struct call call = {0};
    enum coordinator_state state;
    send_describe(w, &call);
    world_commit(w);
    state = call.describe.state;
    call_reset(&call);
    return state;
}

static void a_group_forms_and_nobody_learns_a_generation_that_is_not_saved(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    send_join(w, &m.call, "");
    w->now_ms += GROUP_INITIAL_DELAY_MS;
    coordinator_tick(w->c, w->now_ms);
    assert_int_equal(w->n_queue, 1);
    assert_parked(&m.call);
    assert_null(groups_fsm_find(w->fsm, "g"));
    world_commit(w);
    assert_answer(&m.call, 0);
    assert_int_equal(groups_fsm_find(w->fsm, "g")->generation, 1);
    assert_false(groups_fsm_find(w->fsm, "g")->assigned);
    assert_string_equal(m.call.join.leader->data, m.call.join.member_out->data);
    assert_string_equal(m.call.join.protocol->data, "range");
    assert_int_equal(m.call.join.members[0].metadata->size, 13);
    assert_int_equal(state_of(w), COORDINATOR_COMPLETING);
    call_reset(&m.call);
}

static void three_members_share_a_group(void **state)
{
    struct group_world *w = *state;
    struct member m[3] = {0};
    struct call beat = {0};
    form(w, m, 3);
    assert_int_equal(state_of(w), COORDINATOR_STABLE);
    assert_true(groups_fsm_find(w->fsm, "g")->assigned);
    assert_string_equal(groups_fsm_find(w->fsm, "g")->members[2].assignment->data, "a2");
    for (unsigned i = 0; i < 3; i++) {
        send_heartbeat(w, &beat, m[i].id, 1);
        assert_answer(&beat, 0);
        call_reset(&beat);
    }
    send_heartbeat(w, &beat, m[0].id, 2);
    assert_answer(&beat, ERR_ILLEGAL_GENERATION);
    send_heartbeat(w, &beat, "stranger", 1);
    assert_answer(&beat, ERR_UNKNOWN_MEMBER);
    call_reset(&beat);
    reset_all(m, 3);
}

static void the_first_rebalance_waits_for_more_members_but_not_forever(void **state)
{
    struct group_world *w = *state;
    struct member m[8] = {0};
    for (unsigned i = 0; i < 8; i++) {
        send_join(w, &m[i].call, "");
        world_pass(w, GROUP_INITIAL_DELAY_MS - 100);
        assert_parked(&m[0].call);
    }
    world_pass(w, 2 * GROUP_INITIAL_DELAY_MS);
    for (unsigned i = 0; i < 8; i++) {
        assert_answer(&m[i].call, 0);
        assert_int_equal(m[i].call.join.generation, 1);
    }
    reset_all(m, 8);
}

static void a_new_member_is_told_its_id_first_and_forgotten_if_it_does_not_come_back(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    for (unsigned round = 0; round < 2; round++) {
        call_reset(&m.call);
        m.call.join = (struct coordinator_join){.group = "g",
                                                .member = round == 0 ? "" : m.id,
                                                .client_id = "client",
                                                .client_host = "/h",
                                                .protocol_type = "consumer",
                                                .session_timeout_ms = 10000,
                                                .rebalance_timeout_ms = 20000,
                                                .protocols = range_protocol,
                                                .n_protocols = 1,
                                                .id_required = true};
        coordinator_join(w->c, w->now_ms, &m.call.join);
        if (round == 0) {
            assert_answer(&m.call, ERR_MEMBER_ID_REQUIRED);
            learn_id(&m);
            assert_memory_equal(m.id, "client-", 7);
        }
    }
    assert_parked(&m.call);
    world_pass(w, GROUP_INITIAL_DELAY_MS);
    assert_answer(&m.call, 0);
    assert_string_equal(m.call.join.member_out->data, m.id);

    struct member late = {0};
    late.call.join = m.call.join;
    late.call.join.protocol_type_out = NULL;
    late.call.join.member = "";
    late.call.request.verb = 0;
    coordinator_join(w->c, w->now_ms, &late.call.join);
    assert_answer(&late.call, ERR_MEMBER_ID_REQUIRED);
    learn_id(&late);
    world_pass(w, 10001);
    send_join(w, &late.call, late.id);
    assert_answer(&late.call, ERR_UNKNOWN_MEMBER);
    call_reset(&late.call);
    call_reset(&m.call);
}

static void a_member_that_joins_makes_all_rejoin_and_who_does_not_is_out(void **state)
{
    struct group_world *w = *state;
    struct member m[3] = {0};
    struct call beat = {0};
    form(w, m, 2);
    send_join(w, &m[2].call, "");
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, ERR_REBALANCE);
    send_join(w, &m[0].call, m[0].id);
    for (unsigned i = 0; i < 10; i++) { /* the other one is alive, but never rejoins */
        send_heartbeat(w, &beat, m[1].id, 1);
        world_pass(w, 6001);
    }
    assert_answer(&m[0].call, 0);
    assert_answer(&m[2].call, 0);
    assert_int_equal(m[0].call.join.generation, 2);
    assert_int_equal(m[0].call.join.n_members, 2);
    send_heartbeat(w, &beat, m[1].id, 1);
    assert_answer(&beat, ERR_UNKNOWN_MEMBER);
    call_reset(&beat);
    reset_all(m, 3);
}

static void a_silent_member_loses_its_session(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct call beat = {0};
    form(w, m, 2);
    world_pass(w, 9000);
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, 0);
    world_pass(w, 2000);
    send_heartbeat(w, &beat, m[1].id, 1);
    assert_answer(&beat, ERR_UNKNOWN_MEMBER);
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, ERR_REBALANCE);
    send_join(w, &m[0].call, m[0].id);
    world_commit(w);
    assert_answer(&m[0].call, 0);
    assert_int_equal(m[0].call.join.n_members, 1);
    call_reset(&beat);
    reset_all(m, 2);
}

static void who_does_not_ask_for_its_assignment_is_out(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct call beat = {0};
    send_join(w, &m[0].call, "");
    send_join(w, &m[1].call, "");
    world_pass(w, 2 * GROUP_INITIAL_DELAY_MS);
    learn_id(&m[0]);
    learn_id(&m[1]);
    send_sync(w, &m[1].call, m[1].id, 1); /* the leader never does */
    for (unsigned i = 0; i < 13; i++) {
        send_heartbeat(w, &beat, m[0].id, 1);
        world_pass(w, 5000);
    }
    assert_answer(&m[1].call, ERR_REBALANCE);
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, ERR_UNKNOWN_MEMBER);
    send_join(w, &m[1].call, m[1].id);
    world_commit(w);
    assert_answer(&m[1].call, 0);
    assert_string_equal(m[1].call.join.leader->data, m[1].id);
    call_reset(&beat);
    reset_all(m, 2);
}

static void a_member_that_the_leader_leaves_out_gets_nothing(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct coordinator_assignment only;
    form(w, m, 2);
    send_join(w, &m[0].call, m[0].id);
    send_join(w, &m[1].call, m[1].id);
    world_commit(w);
    assert_answer(&m[1].call, 0);
    send_sync(w, &m[1].call, m[1].id, 1);
    assert_answer(&m[1].call, ERR_ILLEGAL_GENERATION);
    send_sync(w, &m[1].call, m[1].id, 2);
    only = (struct coordinator_assignment){.member = m[0].id, .data = "b0", .size = 2};
    call_reset(&m[0].call);
    m[0].call.sync = (struct coordinator_sync){
        .group = "g", .member = m[0].id, .generation = 2, .assignments = &only, .n_assignments = 1};
    coordinator_sync(w->c, w->now_ms, &m[0].call.sync);
    world_commit(w);
    assert_answer(&m[1].call, 0);
    assert_null(m[1].call.sync.assignment);
    assert_string_equal(m[0].call.sync.assignment->data, "b0");
    reset_all(m, 2);
}

static void a_group_does_not_wait_for_an_id_that_is_back(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    form(w, m, 1);
    m[1].call.join = (struct coordinator_join){.group = "g",
                                               .member = "",
                                               .client_id = "client",
                                               .client_host = "/h",
                                               .protocol_type = "consumer",
                                               .session_timeout_ms = 10000,
                                               .rebalance_timeout_ms = 20000,
                                               .protocols = range_protocol,
                                               .n_protocols = 1,
                                               .id_required = true,
                                               .uuid = uuid_from_random(3, 3)};
    coordinator_join(w->c, w->now_ms, &m[1].call.join);
    assert_answer(&m[1].call, ERR_MEMBER_ID_REQUIRED);
    learn_id(&m[1]);
    assert_int_equal(state_of(w), COORDINATOR_STABLE);
    send_join(w, &m[0].call, m[0].id);
    world_commit(w);
    assert_parked(&m[0].call); /* one more is about to come */
    send_join(w, &m[1].call, m[1].id);
    world_commit(w);
    assert_answer(&m[0].call, 0);
    assert_answer(&m[1].call, 0);
    assert_int_equal(m[0].call.join.n_members, 2);
    reset_all(m, 2);
}

static void the_last_one_to_leave_leaves_an_empty_group_behind(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct coordinator_leaver leaver = {0};
    struct call leave = {0};
    form(w, &m, 1);
    leaver.member = m.id;
    send_leave(w, &leave, &leaver);
    assert_parked(&leave);
    world_commit(w);
    assert_answer(&leave, 0);
    assert_int_equal(leaver.error, 0);
    assert_int_equal(groups_fsm_find(w->fsm, "g")->generation, 2);
    assert_int_equal(groups_fsm_find(w->fsm, "g")->n_members, 0);
    assert_int_equal(state_of(w), COORDINATOR_EMPTY);
    send_leave(w, &leave, &leaver);
    assert_int_equal(leaver.error, ERR_UNKNOWN_MEMBER);
    send_join(w, &m.call, "");
    world_pass(w, 2 * GROUP_INITIAL_DELAY_MS);
    assert_answer(&m.call, 0);
    assert_int_equal(m.call.join.generation, 3);
    call_reset(&leave);
    call_reset(&m.call);
}

static void protocols_must_have_one_in_common(void **state)
{
    struct group_world *w = *state;
    struct coordinator_protocol both[2] = {{.name = "roundrobin", .metadata = "x", .size = 1}, range_protocol[0]};
    struct coordinator_protocol other[1] = {{.name = "sticky", .metadata = "x", .size = 1}};
    struct member m[3] = {0};
    form(w, m, 1);
    send_join(w, &m[1].call, "");
    m[2].call.join = m[1].call.join;
    m[2].call.join.protocols = other;
    m[2].call.join.member = "";
    coordinator_join(w->c, w->now_ms, &m[2].call.join);
    assert_answer(&m[2].call, ERR_INCONSISTENT_PROTOCOL);
    call_reset(&m[2].call);
    m[2].call.join = m[1].call.join;
    m[2].call.join.protocol_type = "connect";
    coordinator_join(w->c, w->now_ms, &m[2].call.join);
    assert_answer(&m[2].call, ERR_INCONSISTENT_PROTOCOL);
    call_reset(&m[2].call);
    m[2].call.join = m[1].call.join;
    m[2].call.join.protocols = both;
    m[2].call.join.n_protocols = 2;
    coordinator_join(w->c, w->now_ms, &m[2].call.join);
    assert_parked(&m[2].call);
    send_join(w, &m[0].call, m[0].id);
    world_commit(w);
    assert_answer(&m[2].call, 0);
    assert_string_equal(m[2].call.join.protocol->data, "range");
    reset_all(m, 3);
}

static void a_rejoin_that_says_nothing_new_does_not_disturb_the_group(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    form(w, m, 2);
    send_join(w, &m[1].call, m[1].id); /* a follower */
    assert_answer(&m[1].call, 0);
    assert_int_equal(m[1].call.join.generation, 1);
    assert_int_equal(m[1].call.join.n_members, 0);
    assert_int_equal(state_of(w), COORDINATOR_STABLE);
    send_join(w, &m[0].call, m[0].id); /* the leader wants to assign anew */
    assert_parked(&m[0].call);
    assert_int_equal(state_of(w), COORDINATOR_PREPARING);
    send_join(w, &m[1].call, m[1].id);
    world_commit(w);
    assert_answer(&m[0].call, 0);
    assert_int_equal(m[0].call.join.generation, 2);
    reset_all(m, 2);
}

/* A group of one static member, stable in generation 1. */
static void form_static(struct group_world *w, struct member *m)
{
    send_static_join(w, &m->call, "", "i1");
    world_pass(w, 2 * GROUP_INITIAL_DELAY_MS);
    learn_id(m);
    send_sync(w, &m->call, m->id, 1);
    world_commit(w);
    assert_answer(&m->call, 0);
}

static void a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct member back = {0};
    struct call beat = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 7};
    form_static(w, &m);
    send_static_join(w, &back.call, "", "i1");
    assert_parked(&back.call);
    world_commit(w);
    assert_answer(&back.call, 0);
    learn_id(&back);
    assert_string_not_equal(back.id, m.id);
    assert_int_equal(back.call.join.generation, 1);
    assert_string_equal(back.call.join.leader->data, m.id); /* so that it does not assign */
    assert_int_equal(back.call.join.n_members, 0);
    assert_int_equal(state_of(w), COORDINATOR_STABLE);
    beat.heartbeat = (struct coordinator_heartbeat){.group = "g", .member = m.id, .instance = "i1", .generation = 1};
    coordinator_heartbeat(w->c, w->now_ms, &beat.heartbeat);
    assert_answer(&beat, ERR_FENCED_INSTANCE);
    send_commit(w, &beat, m.id, 1, &part);
    assert_answer(&beat, ERR_UNKNOWN_MEMBER);
    world_change_leader(w, 0); /* the new id outlives the coordinator */
    send_heartbeat(w, &beat, back.id, 1);
    assert_answer(&beat, 0);
    send_static_join(w, &m.call, m.id, "i1");
    assert_answer(&m.call, ERR_FENCED_INSTANCE);
    call_reset(&beat);
    call_reset(&m.call);
    call_reset(&back.call);
}

static void a_static_leader_that_knows_how_skips_the_assigning(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct member back = {0};
    form_static(w, &m);
    send_static_join(w, &back.call, "", "i1");
    world_commit(w);
    call_reset(&back.call);
    back.call.join = (struct coordinator_join){.group = "g",
                                               .member = "",
                                               .instance = "i1",
                                               .client_id = "client",
                                               .client_host = "/h",
                                               .protocol_type = "consumer",
                                               .session_timeout_ms = 10000,
                                               .rebalance_timeout_ms = 20000,
                                               .protocols = range_protocol,
                                               .n_protocols = 1,
                                               .id_required = true,
                                               .skip_assignment_known = true,
                                               .uuid = uuid_from_random(5, 5)};
    coordinator_join(w->c, w->now_ms, &back.call.join);
    world_commit(w);
    assert_answer(&back.call, 0);
    assert_true(back.call.join.skip_assignment);
    assert_int_equal(back.call.join.n_members, 1);
    assert_string_equal(back.call.join.leader->data, back.call.join.member_out->data);
    call_reset(&back.call);
    call_reset(&m.call);
}

static void a_static_member_with_new_topics_makes_the_group_rebalance(void **state)
{
    struct group_world *w = *state;
    struct coordinator_protocol b[1] = {{.name = "range", .metadata = "\0\0\0\0\0\1\0\1b\0\0\0\0", .size = 13}};
    struct member m = {0};
    struct member back = {0};
    form_static(w, &m);
    back.call.join = (struct coordinator_join){.group = "g",
                                               .member = "",
                                               .instance = "i1",
                                               .client_id = "client",
                                               .client_host = "/h",
                                               .protocol_type = "consumer",
                                               .session_timeout_ms = 10000,
                                               .rebalance_timeout_ms = 20000,
                                               .protocols = b,
                                               .n_protocols = 1,
                                               .uuid = uuid_from_random(5, 5)};
    coordinator_join(w->c, w->now_ms, &back.call.join);
    world_commit(w);
    assert_answer(&back.call, 0);
    assert_int_equal(back.call.join.generation, 2);
    call_reset(&back.call);
    call_reset(&m.call);
}

static void a_static_member_may_leave_by_its_instance_alone(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct call leave = {0};
    struct coordinator_leaver leavers[3] = {
        {.member = "", .instance = "i2"}, {.member = "", .instance = "i1"}, {.member = ""}};
    form_static(w, &m);
    leave.leave = (struct coordinator_leave){.group = "g", .members = leavers, .n_members = 3};
    coordinator_leave(w->c, w->now_ms, &leave.leave);
    world_commit(w);
    assert_answer(&leave, 0);
    assert_int_equal(leavers[0].error, ERR_UNKNOWN_MEMBER);
    assert_int_equal(leavers[1].error, 0);
    assert_int_equal(leavers[2].error, ERR_UNKNOWN_MEMBER);
    assert_int_equal(state_of(w), COORDINATOR_EMPTY);
    call_reset(&leave);
    call_reset(&m.call);
}

static void commits_are_fenced_by_generation_and_member(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct call call = {0};
    struct coordinator_part part = {.topic = topic_uuid(1),
                                    .partition = 3,
                                    .offset = 42,
                                    .leader_epoch = 5,
                                    .metadata = "note",
                                    .metadata_size = 4};
    struct coordinator_part got = {.topic = topic_uuid(1), .partition = 3};
    form(w, m, 2);
    send_commit(w, &call, m[0].id, 1, &part);
    assert_parked(&call);
    world_commit(w);
    assert_answer(&call, 0);
    send_commit(w, &call, m[0].id, 2, &part);
    assert_answer(&call, ERR_ILLEGAL_GENERATION);
    send_commit(w, &call, "stranger", 1, &part);
    assert_answer(&call, ERR_UNKNOWN_MEMBER);
    send_commit(w, &call, "", -1, &part);
    assert_answer(&call, ERR_UNKNOWN_MEMBER);
    send_fetch(w, &call, &got);
    assert_parked(&call);
    world_commit(w);
    assert_answer(&call, 0);
    assert_int_equal(got.offset, 42);
    assert_int_equal(got.leader_epoch, 5);
    assert_string_equal(got.metadata_out->data, "note");
    call_reset(&call);

    /* While the others rejoin, what was done in the old generation may still be committed; once it is over, not. */
    send_join(w, &m[0].call, m[0].id);
    send_commit(w, &call, m[1].id, 1, &part);
    world_commit(w);
    assert_answer(&call, 0);
    send_join(w, &m[1].call, m[1].id);
    world_commit(w);
    send_commit(w, &call, m[1].id, 1, &part);
    assert_answer(&call, ERR_ILLEGAL_GENERATION);
    send_commit(w, &call, m[1].id, 2, &part);
    assert_answer(&call, ERR_REBALANCE);
    call_reset(&call);
    reset_all(m, 2);
}

static void anybody_commits_to_a_group_without_members(void **state)
{
    struct group_world *w = *state;
    struct call call = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 1};
    struct coordinator_part big = {
        .topic = topic_uuid(1), .offset = 1, .metadata = w, .metadata_size = GROUP_COMMIT_METADATA_MAX + 1};
    send_commit(w, &call, "someone", 3, &part);
    assert_answer(&call, ERR_ILLEGAL_GENERATION);
    send_commit(w, &call, "", -1, &part);
    world_commit(w);
    assert_answer(&call, 0);
    send_commit(w, &call, "", -1, &big);
    assert_answer(&call, 0);
    assert_int_equal(big.error, ERR_OFFSET_METADATA_TOO_BIG);
    send_fetch(w, &call, NULL);
    world_commit(w);
    assert_answer(&call, 0);
    assert_int_equal(call.fetch.n_parts, 1);
    assert_int_equal(call.fetch.parts[0].offset, 1);
    call_reset(&call);
}

static void offsets_expire_some_time_after_the_group_is_empty(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct call call = {0};
    struct coordinator_leaver leaver = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 1};
    w->config.offset_retention_ms = 3600000;
    world_change_leader(w, 0);
    form(w, &m, 1);
    send_commit(w, &call, m.id, 1, &part);
    world_commit(w);
    for (unsigned i = 0; i < 1000; i++) { /* it lives longer than the retention */
        send_heartbeat(w, &call, m.id, 1);
        assert_answer(&call, 0);
        world_pass(w, 9000);
    }
    leaver.member = m.id;
    send_leave(w, &call, &leaver);
    world_commit(w);
    world_pass(w, 3600000 - GROUP_EXPIRE_EVERY_MS);
    assert_int_equal(groups_fsm_find(w->fsm, "g")->n_offsets, 1);
    world_pass(w, 3 * GROUP_EXPIRE_EVERY_MS);
    assert_null(groups_fsm_find(w->fsm, "g"));
    call_reset(&call);
    call_reset(&m.call);
}

static void groups_are_deleted_when_empty_and_offsets_when_not_subscribed(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct call call = {0};
    struct coordinator_leaver leaver = {0};
    struct coordinator_part commit = {.topic = topic_uuid(2), .offset = 1};
    struct coordinator_part parts[2] = {{.topic = topic_uuid(1), .topic_name = "a"},
                                        {.topic = topic_uuid(2), .topic_name = "b"}};
    call.del.group = "g";
    coordinator_delete(w->c, w->now_ms, &call.del);
    assert_answer(&call, ERR_GROUP_NOT_FOUND);
    form(w, &m, 1);
    send_commit(w, &call, m.id, 1, &commit);
    world_commit(w);
    call_reset(&call);
    call.forget = (struct coordinator_forget){.group = "g", .parts = parts, .n_parts = 2};
    coordinator_forget(w->c, w->now_ms, &call.forget);
    world_commit(w);
    assert_answer(&call, 0);
    assert_int_equal(parts[0].error, ERR_SUBSCRIBED);
    assert_int_equal(parts[1].error, 0);
    assert_int_equal(groups_fsm_find(w->fsm, "g")->n_offsets, 0);
    call_reset(&call);
    call.del.group = "g";
    coordinator_delete(w->c, w->now_ms, &call.del);
    assert_answer(&call, ERR_NON_EMPTY_GROUP);
    leaver.member = m.id;
    send_leave(w, &call, &leaver);
    world_commit(w);
    call_reset(&call);
    call.del.group = "g";
    coordinator_delete(w->c, w->now_ms, &call.del);
    assert_parked(&call);
    world_commit(w);
    assert_answer(&call, 0);
    assert_null(groups_fsm_find(w->fsm, "g"));
    send_describe(w, &call);
    assert_answer(&call, ERR_GROUP_NOT_FOUND);
    assert_string_equal(coordinator_state_name(call.describe.state), "Dead");
    call_reset(&call);
    call_reset(&m.call);
}

static void groups_are_listed_and_described(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct call call = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 1};
    form(w, m, 2);
    call.commit = (struct coordinator_commit){
        .group = "simple", .member = "", .generation = -1, .retention_ms = -1, .parts = &part, .n_parts = 1};
    coordinator_commit(w->c, w->now_ms, &call.commit);
    world_commit(w);
    call_reset(&call);
    coordinator_list(w->c, w->now_ms, &call.list);
    assert_answer(&call, 0);
    assert_int_equal(call.list.n_groups, 2);
    call_reset(&call);
    call.list.states = 1u << COORDINATOR_STABLE;
    coordinator_list(w->c, w->now_ms, &call.list);
    assert_int_equal(call.list.n_groups, 1);
    assert_string_equal(call.list.groups[0].id->data, "g");
    assert_string_equal(call.list.groups[0].protocol_type->data, "consumer");
    send_describe(w, &call);
    assert_answer(&call, 0);
    assert_string_equal(call.describe.protocol->data, "range");
    assert_int_equal(call.describe.n_members, 2);
    assert_string_equal(call.describe.members[1].info.client_host->data, "/127.0.0.1");
    assert_string_equal(call.describe.members[1].info.assignment->data, "a1");
    assert_int_equal(call.describe.members[1].metadata->size, 13);
    call_reset(&call);
    reset_all(m, 2);
}

static void a_new_coordinator_goes_on_where_the_old_one_died(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct call beat = {0};
    form(w, m, 2);
    world_pass(w, 9000);
    world_change_leader(w, 0);
    world_pass(w, 9000); /* a fresh session each */
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, 0);
    send_heartbeat(w, &beat, m[1].id, 1);
    assert_answer(&beat, 0);
    send_sync(w, &m[1].call, m[1].id, 1);
    assert_answer(&m[1].call, 0);
    assert_string_equal(m[1].call.sync.assignment->data, "a1");
    call_reset(&beat);
    reset_all(m, 2);
}

static void a_coordinator_that_dies_between_join_and_sync_leaves_the_generation_to_its_heir(void **state)
{
    struct group_world *w = *state;
    struct member m[2] = {0};
    struct coordinator_assignment assignments[2];
    send_join(w, &m[0].call, "");
    send_join(w, &m[1].call, "");
    world_pass(w, 2 * GROUP_INITIAL_DELAY_MS);
    learn_id(&m[0]);
    learn_id(&m[1]);
    send_sync(w, &m[1].call, m[1].id, 1);
    assert_parked(&m[1].call);
    world_change_leader(w, 0);
    assert_answer(&m[1].call, ERR_NOT_COORDINATOR);
    assert_int_equal(state_of(w), COORDINATOR_COMPLETING);
    send_sync(w, &m[1].call, m[1].id, 1);
    assert_parked(&m[1].call);
    call_reset(&m[0].call);
    for (unsigned i = 0; i < 2; i++) {
        assignments[i] = (struct coordinator_assignment){.member = m[i].id, .data = "zz", .size = 2};
    }
    m[0].call.sync = (struct coordinator_sync){
        .group = "g", .member = m[0].id, .generation = 1, .assignments = assignments, .n_assignments = 2};
    coordinator_sync(w->c, w->now_ms, &m[0].call.sync);
    world_commit(w);
    assert_answer(&m[0].call, 0);
    assert_answer(&m[1].call, 0);
    reset_all(m, 2);
}

static void whatever_waits_at_step_down_is_told_to_look_elsewhere(void **state)
{
    struct group_world *w = *state;
    struct member m[4] = {0};
    struct call commit = {0};
    struct call fetch = {0};
    struct call beat = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 1};
    struct coordinator_part got = {.topic = topic_uuid(1)};
    form(w, m, 2);
    send_commit(w, &commit, m[0].id, 1, &part);
    send_fetch(w, &fetch, &got);
    send_join(w, &m[2].call, ""); /* parked: the others have not rejoined */
    coordinator_step_down(w->c);
    assert_answer(&commit, ERR_NOT_COORDINATOR);
    assert_answer(&fetch, ERR_NOT_COORDINATOR);
    assert_answer(&m[2].call, ERR_NOT_COORDINATOR);
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, ERR_NOT_COORDINATOR);
    assert_int_equal(coordinator_deadline(w->c), UINT64_MAX);
    world_commit(w); /* completions of the old leadership find nothing, also under the next one */
    assert_int_equal(coordinator_lead(w->c, w->now_ms), 0);
    send_heartbeat(w, &beat, m[0].id, 1);
    assert_answer(&beat, 0);
    call_reset(&beat);
    call_reset(&commit);
    call_reset(&fetch);
    reset_all(m, 3);
}

static void a_save_that_finds_no_room_is_tried_again_and_answers_wait_for_it(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct call beat = {0};
    struct call commit = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 1};
    send_join(w, &m.call, "");
    w->refuse = ERR_BUSY;
    world_pass(w, 4 * GROUP_INITIAL_DELAY_MS);
    assert_parked(&m.call);
    w->refuse = 0;
    world_pass(w, GROUP_SAVE_RETRY_MS);
    assert_answer(&m.call, 0);
    learn_id(&m);
    send_sync(w, &m.call, m.id, 1);
    send_heartbeat(w, &beat, m.id, 1);
    assert_parked(&beat); /* it would tell of a state that is not saved */
    world_fail_one(w, ERR_BUSY);
    assert_parked(&m.call);
    w->refuse = ERR_BUSY;
    send_commit(w, &commit, m.id, 1, &part);
    w->refuse = 0;
    assert_parked(&commit);
    world_pass(w, GROUP_SAVE_RETRY_MS);
    assert_answer(&m.call, 0);
    assert_answer(&beat, 0);
    assert_answer(&commit, ERR_BUSY);
    assert_true(groups_fsm_find(w->fsm, "g")->assigned);
    call_reset(&commit);
    call_reset(&beat);
    call_reset(&m.call);
}

static void bad_requests_are_refused(void **state)
{
    struct group_world *w = *state;
    struct member m = {0};
    struct call call = {0};
    struct coordinator_part part = {.topic = topic_uuid(1), .offset = 1};
    char name[GROUP_NAME_MAX + 2];
    struct coordinator_join good = {.group = "g",
                                    .member = "",
                                    .client_id = "c",
                                    .client_host = "/h",
                                    .protocol_type = "consumer",
                                    .session_timeout_ms = 10000,
                                    .rebalance_timeout_ms = 20000,
                                    .protocols = range_protocol,
                                    .n_protocols = 1};
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    m.call.join = good;
    m.call.join.group = "";
    coordinator_join(w->c, w->now_ms, &m.call.join);
    assert_answer(&m.call, ERR_INVALID_GROUP);
    call_reset(&m.call);
    m.call.join = good;
    m.call.join.group = name;
    coordinator_join(w->c, w->now_ms, &m.call.join);
    assert_answer(&m.call, ERR_INVALID_GROUP);
    call_reset(&m.call);
    m.call.join = good;
    m.call.join.session_timeout_ms = 5999;
    coordinator_join(w->c, w->now_ms, &m.call.join);
    assert_answer(&m.call, ERR_INVALID_SESSION_TIMEOUT);
    call_reset(&m.call);
    m.call.join = good;
    m.call.join.n_protocols = 0;
    coordinator_join(w->c, w->now_ms, &m.call.join);
    assert_answer(&m.call, ERR_INCONSISTENT_PROTOCOL);
    call_reset(&m.call);
    m.call.join = good;
    m.call.join.instance = "";
    coordinator_join(w->c, w->now_ms, &m.call.join);
    assert_answer(&m.call, ERR_INVALID);
    send_join(w, &m.call, "who");
    assert_answer(&m.call, ERR_UNKNOWN_MEMBER);
    send_sync(w, &m.call, "who", 1);
    assert_answer(&m.call, ERR_UNKNOWN_MEMBER);
    call.commit =
        (struct coordinator_commit){.group = "", .member = "", .generation = -1, .parts = &part, .n_parts = 1};
    coordinator_commit(w->c, w->now_ms, &call.commit);
    assert_answer(&call, ERR_INVALID_GROUP);
    call_reset(&call);
    call_reset(&m.call);
}

static void a_group_is_full_at_its_limit(void **state)
{
    struct group_world *w = *state;
    struct member m[3] = {0};
    w->config.members_max = 2;
    world_change_leader(w, 0);
    form(w, m, 2);
    send_join(w, &m[2].call, "");
    assert_answer(&m[2].call, ERR_GROUP_FULL);
    assert_int_equal(state_of(w), COORDINATOR_STABLE);
    reset_all(m, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_group_forms_and_nobody_learns_a_generation_that_is_not_saved),
        T(three_members_share_a_group),
        T(the_first_rebalance_waits_for_more_members_but_not_forever),
        T(a_new_member_is_told_its_id_first_and_forgotten_if_it_does_not_come_back),
        T(a_member_that_joins_makes_all_rejoin_and_who_does_not_is_out),
        T(a_silent_member_loses_its_session),
        T(who_does_not_ask_for_its_assignment_is_out),
        T(a_member_that_the_leader_leaves_out_gets_nothing),
        T(a_group_does_not_wait_for_an_id_that_is_back),
        T(the_last_one_to_leave_leaves_an_empty_group_behind),
        T(protocols_must_have_one_in_common),
        T(a_rejoin_that_says_nothing_new_does_not_disturb_the_group),
        T(a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self),
        T(a_static_leader_that_knows_how_skips_the_assigning),
        T(a_static_member_with_new_topics_makes_the_group_rebalance),
        T(a_static_member_may_leave_by_its_instance_alone),
        T(commits_are_fenced_by_generation_and_member),
        T(anybody_commits_to_a_group_without_members),
        T(offsets_expire_some_time_after_the_group_is_empty),
        T(groups_are_deleted_when_empty_and_offsets_when_not_subscribed),
        T(groups_are_listed_and_described),
        T(a_new_coordinator_goes_on_where_the_old_one_died),
        T(a_coordinator_that_dies_between_join_and_sync_leaves_the_generation_to_its_heir),
        T(whatever_waits_at_step_down_is_told_to_look_elsewhere),
        T(a_save_that_finds_no_room_is_tried_again_and_answers_wait_for_it),
        T(bad_requests_are_refused),
        T(a_group_is_full_at_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
