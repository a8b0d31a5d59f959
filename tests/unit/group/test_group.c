/* Groups over real logs, sockets and time. */
#include "tests/unit/group/cluster.h"

static void three_up(struct cluster *c)
{
    for (uint32_t i = 1; i <= NODES; i++) {
        node_up(c, i);
    }
}

static void a_founded_group_elects_its_preferred_replica_and_serves(void **state)
{
    struct cluster *c = *state;
    struct mgroup *mg;
    uint64_t begin;

    three_up(c);
    run_for(c, 150); /* links are up */
    begin = env_now_ms(c->env);
    found(c, 0, 2);
    mg = wait_leader(c, 0);
    assert_int_equal(mg->member->node, 2);
    assert_true(env_now_ms(c->env) - begin < 290); /* it did not wait for an election timeout */
    put(c, mg, 42, 100);
    wait_equal(c, 0);
    assert_int_equal(mg->applied[0].kind, ENTRY_CHANGE);
    assert_int_equal(count_value(&c->members[3].groups[0], 42), 1);
    assert_int_equal(c->members[1].leader_hint[0], 2);
    assert_int_equal(c->members[2].leader_hint[0], 2);
}

static void many_proposals_of_a_turn_are_one_submit(void **state)
{
    enum { N = 400 };
    static struct proposal proposals[N];
    struct cluster *c = *state;
    struct group_host_stats before, after;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    run_for(c, 20);
    group_host_stats(mg->member->host, &before);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(propose(mg, &proposals[i], i, 64), 0);
    }
    until(c, proposal_ended, &proposals[N - 1]);
    group_host_stats(mg->member->host, &after);
    assert_int_equal(after.submits - before.submits, 1);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(proposals[i].status, 0);
        assert_int_equal(mg->applied[mg->n - N + i].value, i); /* in order */
        assert_true(i == 0 || mg->applied[mg->n - N + i].time_ms >= mg->applied[mg->n - N + i - 1].time_ms);
        assert_true(mg->applied[mg->n - N + i].time_ms > 1000);
    }
    wait_equal(c, 0);
}

static void more_than_fits_in_flight_waits_its_turn(void **state)
{
    enum { N = 3000 };
    static struct proposal proposals[N];
    struct cluster *c = *state;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(propose(mg, &proposals[i], i, 8 + i % 2000), 0);
    }
    until(c, proposal_ended, &proposals[N - 1]);
    for (uint64_t i = 0; i < N; i++) {
        assert_true(proposals[i].ended);
        assert_int_equal(proposals[i].status, 0);
    }
    wait_equal(c, 0);
}

static void uncommitted_bytes_have_a_limit(void **state)
{
    struct cluster *c = *state;
    static struct proposal proposals[64];
    struct group_info info;
    struct mgroup *mg;
    int n = 0;
    int rv = 0;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    while (rv == 0 && n < 64) {
        rv = propose(mg, &proposals[n], (uint64_t)n, 1u << 20);
        n += rv == 0;
    }
    assert_int_equal(rv, ERR_BUSY);
    assert_int_equal(n, GROUP_UNCOMMITTED_MAX_BYTES >> 20);
    until(c, proposal_ended, &proposals[n - 1]);
    group_info(mg->g, &info);
    assert_int_equal(info.uncommitted_bytes, 0);
    put(c, mg, 99, 1u << 20);
    wait_equal(c, 0);
    /* 32 MiB went to each follower, in pieces that let others pass. */
    assert_in_range(c->members[2].message_bytes_max, 1u << 20, GROUP_SEND_MAX_BYTES);
    assert_in_range(c->members[3].message_bytes_max, 1u << 20, GROUP_SEND_MAX_BYTES);
}

static void a_follower_refuses_and_names_the_leader(void **state)
{
    struct cluster *c = *state;
    struct group_info info;
    struct proposal proposal;
    struct waiter waiter = {.b = {.done = waiter_done}};

    three_up(c);
    found(c, 0, 1);
    put(c, wait_leader(c, 0), 1, 8);
    wait_equal(c, 0);
    assert_int_equal(propose(&c->members[2].groups[0], &proposal, 1, 8), ERR_NOT_LEADER);
    assert_int_equal(group_barrier(c->members[2].groups[0].g, &waiter.b), ERR_NOT_LEADER);
    group_info(c->members[2].groups[0].g, &info);
    assert_int_equal(info.leader_node, 1);
    assert_false(info.leading);
}

static void when_the_leader_goes_another_serves_and_nothing_is_lost(void **state)
{
    struct cluster *c = *state;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    for (uint64_t i = 0; i < 20; i++) {
        put(c, mg, i, 500);
    }
    node_down(c, 1);
    mg = wait_leader(c, 0);
    assert_int_not_equal(mg->member->node, 1);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(count_value(mg, i), 1);
    }
    put(c, mg, 77, 500);
    node_up(c, 1);
    found(c, 0, 0); /* resumes */
    wait_equal(c, 0);
    assert_int_equal(count_value(&c->members[1].groups[0], 77), 1);
}

static void everything_is_there_after_all_were_down(void **state)
{
    struct cluster *c = *state;
    struct mgroup *mg;

    three_up(c);
    for (unsigned g = 0; g < 8; g++) {
        found(c, g, 1 + g % 3);
    }
    for (unsigned g = 0; g < 8; g++) {
        mg = wait_leader(c, g);
        for (uint64_t i = 0; i < 10; i++) {
            put(c, mg, 100 * g + i, 3000);
        }
    }
    for (uint32_t i = 1; i <= NODES; i++) {
        node_down(c, i);
    }
    c->cache_bytes = 1; /* so that applying reads from the disk */
    three_up(c);
    for (unsigned g = 0; g < 8; g++) {
        found(c, g, 0);
    }
    for (unsigned g = 0; g < 8; g++) {
        mg = wait_leader(c, g);
        for (uint64_t i = 0; i < 10; i++) {
            assert_int_equal(count_value(mg, 100 * g + i), 1);
        }
        wait_equal(c, g);
    }
}

static void a_follower_that_was_away_is_fed_from_the_disk(void **state)
{
    struct cluster *c = *state;
    struct group_host_stats stats;
    struct mgroup *mg;

    c->cache_bytes = 100000;
    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    put(c, mg, 1000, 100);
    node_down(c, 3);
    for (uint64_t i = 0; i < 300; i++) {
        put(c, mg, i, 8000);
    }
    node_up(c, 3);
    found(c, 0, 0);
    wait_equal(c, 0);
    group_host_stats(mg->member->host, &stats);
    assert_true(stats.reads > 0);
    assert_int_equal(count_value(&c->members[3].groups[0], 299), 1);
}

static void without_a_quorum_the_outcome_is_unknown(void **state)
{
    struct cluster *c = *state;
    struct proposal proposal;
    struct proposal late;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    put(c, mg, 1, 100);
    node_down(c, 2);
    node_down(c, 3);
    if (propose(mg, &proposal, 2, 100) == 0) {
        until(c, proposal_ended, &proposal); /* it steps down, since nobody answers */
        assert_int_equal(proposal.status, ERR_UNKNOWN_OUTCOME);
    }
    assert_false(mg->leading);
    assert_int_equal(propose(mg, &late, 3, 100), ERR_NOT_LEADER);
    node_up(c, 2);
    node_up(c, 3);
    found(c, 0, 0);
    mg = wait_leader(c, 0);
    assert_int_equal(count_value(mg, 1), 1);
    wait_equal(c, 0);
}

static void closing_ends_what_is_pending(void **state)
{
    struct cluster *c = *state;
    struct proposal submitted;
    struct proposal queued;
    struct waiter waiter = {.b = {.done = waiter_done}};
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    node_down(c, 2);
    node_down(c, 3);
    assert_int_equal(propose(mg, &submitted, 1, 100), 0);
    run_for(c, 10);
    assert_int_equal(propose(mg, &queued, 2, 100), 0);
    assert_int_equal(group_barrier(mg->g, &waiter.b), 0);
    group_close(mg->g);
    mg->g = NULL;
    assert_true(submitted.ended && queued.ended && waiter.ended);
    assert_int_equal(submitted.status, ERR_UNKNOWN_OUTCOME);
    assert_int_equal(queued.status, ERR_SHUTDOWN);
    assert_int_equal(waiter.status, ERR_SHUTDOWN);
    assert_false(mg->leading);
}

static void barriers_share_an_entry(void **state)
{
    enum { N = 50 };
    struct cluster *c = *state;
    struct waiter waiters[N];
    struct group_host_stats before, after;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    group_host_stats(mg->member->host, &before);
    for (int i = 0; i < N; i++) {
        waiters[i] = (struct waiter){.b = {.done = waiter_done}};
        assert_int_equal(group_barrier(mg->g, &waiters[i].b), 0);
        assert_false(waiters[i].ended);
    }
    until(c, waiter_ended, &waiters[N - 1]);
    for (int i = 0; i < N; i++) {
        assert_true(waiters[i].ended);
        assert_int_equal(waiters[i].status, 0);
    }
    group_host_stats(mg->member->host, &after);
    assert_int_equal(after.barriers - before.barriers, 1);
    assert_true(group_confirmed(mg->g));
}

struct reading {
    struct wal_read read;
    bool ended;
    int status;
};

static void reading_done(struct wal_read *read, int status)
{
    struct reading *r = container_of(read, struct reading, read);
    r->ended = true;
    r->status = status;
}

static bool reading_ended(void *data)
{
    return ((struct reading *)data)->ended;
}

static void reads_end_at_the_commit_index(void **state)
{
    struct cluster *c = *state;
    struct reading r = {.read = {.first = 1, .n_max = 100, .bytes_max = 1u << 20, .done = reading_done}};
    struct group_info info;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    put(c, mg, 5, 100);
    group_info(mg->g, &info);
    if (!group_read(mg->g, &r.read)) {
        until(c, reading_ended, &r);
        assert_int_equal(r.status, 0);
    }
    assert_int_equal(r.read.n, info.commit);
    for (uint32_t i = 0; i < r.read.n; i++) {
        assert_int_equal(r.read.entries[i]->index, i + 1);
        entry_release(r.read.entries[i]);
    }
    free(r.read.entries);
    r = (struct reading){.read = {.first = info.commit + 1, .n_max = 1, .bytes_max = 1, .done = reading_done}};
    assert_false(group_read(mg->g, &r.read));
    assert_false(r.ended); /* not inside */
    until(c, reading_ended, &r);
    assert_int_equal(r.status, ERR_NOT_FOUND);
}

static bool leads_on(void *data)
{
    struct wanted *w = data;
    return w->c->members[w->n].groups[w->number].ready;
}

static void leadership_is_handed_over(void **state)
{
    struct cluster *c = *state;
    struct wanted w = {c, 0, 3};
    struct mgroup *mg;
    uint64_t begin;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    put(c, mg, 1, 100);
    wait_equal(c, 0);
    assert_int_equal(group_transfer(mg->g, 7), ERR_NOT_FOUND);
    begin = env_now_ms(c->env);
    assert_int_equal(group_transfer(mg->g, 3), 0);
    until(c, leads_on, &w);
    assert_true(env_now_ms(c->env) - begin < 250);
    assert_false(mg->leading);
    put(c, &c->members[3].groups[0], 2, 100);
    wait_equal(c, 0);
}

static bool is_caught_up(void *data)
{
    struct wanted *w = data;
    struct mgroup *mg = leader(w->c, w->number);
    return mg != NULL && core_catch_up_status(group_core(mg->g), member_replica(w->number, 4)) == CORE_CATCH_UP_DONE;
}

static bool change_is_committed(void *data)
{
    struct wanted *w = data;
    struct mgroup *mg = leader(w->c, w->number);
    return mg != NULL && group_config(mg->g)->n == w->n && core_config_committed(group_core(mg->g));
}

static void a_replica_joins_is_promoted_and_another_leaves(void **state)
{
    struct cluster *c = *state;
    struct wanted w = {c, 0, 4};
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    for (uint64_t i = 0; i < 50; i++) {
        put(c, mg, i, 1000);
    }
    node_up(c, 4);
    assert_int_equal(member_join(&c->members[4], 0), 0);
    assert_int_equal(group_change(mg->g, CORE_ADD_LEARNER, member_replica(0, 4), 4), 0);
    until(c, change_is_committed, &w);
    assert_int_equal(group_catch_up(mg->g, member_replica(0, 4)), 0);
    until(c, is_caught_up, &w);
    assert_int_equal(group_change(mg->g, CORE_PROMOTE, member_replica(0, 4), 4), 0);
    until(c, change_is_committed, &w);
    assert_int_equal(group_change(mg->g, CORE_REMOVE, member_replica(0, 3), 3), 0);
    w.n = 3;
    until(c, change_is_committed, &w);
    node_down(c, 3);
    put(c, mg, 777, 100);
    wait_equal(c, 0);
    assert_int_equal(count_value(&c->members[4].groups[0], 777), 1);
    assert_int_equal(core_config_find(group_config(mg->g), member_replica(0, 4))->role, CORE_VOTER);
    /* And it is a voter indeed: with the leader gone, the two that are left go on. */
    node_down(c, 1);
    mg = wait_leader(c, 0);
    put(c, mg, 778, 100);
}

static bool has_failed(void *data)
{
    return ((struct mgroup *)data)->failed != 0;
}

static void what_a_state_machine_does_not_understand_stops_its_replica_only(void **state)
{
    struct cluster *c = *state;
    struct group_info info;
    struct mgroup *mg;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    c->members[3].groups[0].fail_on_value = 13;
    put(c, mg, 13, 100);
    until(c, has_failed, &c->members[3].groups[0]);
    assert_int_equal(c->members[3].groups[0].failed, ERR_VERSION);
    group_info(c->members[3].groups[0].g, &info);
    assert_true(info.failed);
    put(c, mg, 14, 100); /* the others go on */
    group_close(c->members[3].groups[0].g);
    c->members[3].groups[0].g = NULL;
}

static void on_deleted(void *data)
{
    *(bool *)data = true;
}

static bool is_true(void *data)
{
    return *(bool *)data;
}

static void a_deleted_group_stays_deleted(void **state)
{
    struct cluster *c = *state;
    struct core_config founders;
    struct group_params params = {.group = 1, .replica = member_replica(0, 1)};
    struct mgroup *mg;
    struct group *g;
    bool deleted = false;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    put(c, mg, 1, 100);
    group_delete(mg->g, on_deleted, &deleted);
    mg->g = NULL;
    assert_false(deleted);
    until(c, is_true, &deleted);
    founders_of(0, &founders);
    params.founders = &founders;
    assert_int_equal(group_resume(mg->member->host, &params, &g), ERR_NOT_FOUND);
    assert_int_equal(group_found(mg->member->host, &params, &g), ERR_EXISTS);
    assert_int_equal(group_join(mg->member->host, &params, &g), ERR_EXISTS);
}

static void wrong_uses_are_refused(void **state)
{
    struct cluster *c = *state;
    struct core_config founders;
    struct group_params params = {.group = 9, .replica = 5};
    struct group *g;

    node_up(c, 1);
    founders_of(0, &founders);
    params.founders = &founders;
    assert_int_equal(group_found(c->members[1].host, &params, &g), ERR_INVALID); /* not among the founders */
    assert_int_equal(group_resume(c->members[1].host, &params, &g), ERR_NOT_FOUND);
    assert_int_equal(group_address_node("12.7"), 12);
    assert_int_equal(group_address_node("12"), 0);
    assert_int_equal(group_address_node(".7"), 0);
    assert_int_equal(group_address_node("99999999999.7"), 0);
}

static void messages_that_are_not_ours_are_dropped(void **state)
{
    struct cluster *c = *state;
    struct core_message m = {.type = CORE_VOTE, .version = 1, .from = member_replica(0, 2), .term = 50};
    struct group_host_stats stats;
    uint8_t header[CORE_MESSAGE_ENCODED_MAX];
    struct group_info info;
    struct mgroup *mg;
    size_t size;

    three_up(c);
    found(c, 0, 1);
    mg = wait_leader(c, 0);
    m.vote.candidate = m.from;
    m.vote.last_index = 1000;
    m.vote.last_term = 49;
    m.to = member_replica(0, 3);
    assert_int_equal(core_message_encode(&m, header, sizeof(header), &size), 0);
    group_host_receive(mg->member->host, 2, 1, header, size, NULL, 0); /* another replica is meant */
    m.to = member_replica(0, 1);
    assert_int_equal(core_message_encode(&m, header, sizeof(header), &size), 0);
    group_host_receive(mg->member->host, 3, 1, header, size, NULL, 0);      /* replica 2 does not live on node 3 */
    group_host_receive(mg->member->host, 2, 99, header, size, NULL, 0);     /* no such group */
    group_host_receive(mg->member->host, 2, 1, header, size - 1, NULL, 0);  /* cut */
    group_host_stats(mg->member->host, &stats);
    assert_int_equal(stats.misdirected, 2);
    assert_int_equal(stats.unknown_group, 1);
    assert_int_equal(stats.malformed, 1);
    group_info(mg->g, &info);
    assert_true(info.term < 50);
    assert_true(mg->leading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cluster_test(a_founded_group_elects_its_preferred_replica_and_serves),
        cluster_test(many_proposals_of_a_turn_are_one_submit),
        cluster_test(more_than_fits_in_flight_waits_its_turn),
        cluster_test(uncommitted_bytes_have_a_limit),
        cluster_test(a_follower_refuses_and_names_the_leader),
        cluster_test(when_the_leader_goes_another_serves_and_nothing_is_lost),
        cluster_test(everything_is_there_after_all_were_down),
        cluster_test(a_follower_that_was_away_is_fed_from_the_disk),
        cluster_test(without_a_quorum_the_outcome_is_unknown),
        cluster_test(closing_ends_what_is_pending),
        cluster_test(barriers_share_an_entry),
        cluster_test(reads_end_at_the_commit_index),
        cluster_test(leadership_is_handed_over),
        cluster_test(a_replica_joins_is_promoted_and_another_leaves),
        cluster_test(what_a_state_machine_does_not_understand_stops_its_replica_only),
        cluster_test(a_deleted_group_stays_deleted),
        cluster_test(wrong_uses_are_refused),
        cluster_test(messages_that_are_not_ours_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
