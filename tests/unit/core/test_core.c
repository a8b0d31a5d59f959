#include "tests/unit/core/core_fixture.h"

static struct fixture f;

static int close_core(void **state)
{
    (void)state;
    core_close(f.core);
    f.core = NULL;
    return 0;
}

static void the_loaded_library_is_the_simulated_one(void **state)
{
    char errmsg[ERRMSG_SIZE];
    (void)state;
    assert_int_equal(core_check_library(errmsg), 0);
}

static void a_lone_voter_leads_at_once_and_commits_when_durable(void **state)
{
    struct entry *e[1] = {f_command(0, 0)};
    (void)state;
    f_open(&f, 1, 1);
    assert_int_equal(core_role(f.core), CORE_LEADER);
    f_durable(&f); /* its barrier */
    assert_int_equal(core_commit(f.core), 2);
    assert_int_equal(core_submit(f.core, e, 1), 0);
    assert_int_equal(e[0]->index, 3);
    assert_int_equal(e[0]->term, 1);
    assert_int_equal(core_commit(f.core), 2);
    f_durable(&f);
    assert_int_equal(f.commit, 3);
    entry_release(e[0]);
    assert_int_equal(core_change(f.core, CORE_ADD_LEARNER, 9, "n.9", NULL), ERR_REFUSED);
}

static void votes_are_asked_for_only_when_term_and_vote_are_durable(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    f.now = core_timeout_ms(f.core);
    assert_int_equal(core_tick(f.core), 0);
    assert_int_equal(f.n_sent, 2); /* pre-votes promise nothing */
    m = f_message(CORE_VOTE_RESULT, 2, 2);
    m.version = 2;
    m.vote_result.granted = m.vote_result.pre_vote = true;
    f.n_sent = 0;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_true(f.write.has_hard_state);
    assert_int_equal(f.write.term, 2);
    assert_int_equal(f.write.vote, 1);
    assert_int_equal(f.n_sent, 0);
    f_durable(&f);
    assert_int_equal(f.n_sent, 2);
    assert_int_equal(f.sent[0].type, CORE_VOTE);
    assert_false(f.sent[0].vote.pre_vote);
    assert_int_equal(core_persisted(f.core, f.writes), ERR_INVALID);
    assert_int_equal(core_persisted(f.core, f.writes + 1), ERR_INVALID);
}

static void a_leader_appends_before_its_own_flush(void **state)
{
    struct entry *e[2] = {f_command(0, 0), f_command(0, 0)};
    (void)state;
    f_open(&f, 3, 1);
    f_lead(&f);
    assert_int_equal(core_submit(f.core, e, 2), 0);
    assert_true(f.n_sent >= 1); /* to replica 2, which answered */
    assert_int_equal(f.sent[0].type, CORE_APPEND);
    assert_int_equal(f.sent[0].append.n, 2);
    assert_int_equal(f.sent[0].append.n_runs, 1);
    assert_int_equal(f.sent[0].append.runs[0].term, 2);
    assert_int_equal(core_inflight(f.core), 2);
    entry_release(e[0]);
    entry_release(e[1]);
}

static void an_entry_that_was_replaced_is_never_acknowledged(void **state)
{
    struct entry *old[3] = {f_command(2, 2), f_command(3, 2), f_command(4, 2)};
    struct entry *new[1] = {f_command(3, 3)};
    uint64_t first;
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 2, 1, 1, 1, old, 3), 0);
    first = f.writes;
    assert_int_equal(f_append(&f, 3, 2, 2, 1, new, 1), 0);
    f.n_sent = 0;
    assert_int_equal(core_persisted(f.core, first), 0);
    assert_int_equal(core_stored(f.core), 2); /* 3 and 4 went to disk, and are no more */
    for (size_t i = 0; i < f.n_sent; i++) {
        assert_true(f.sent[i].type != CORE_APPEND_RESULT || f.sent[i].append_result.last <= 2);
    }
    f_durable(&f);
    assert_int_equal(core_stored(f.core), 3);
}

static void submits_stop_at_the_in_flight_limit(void **state)
{
    struct entry *e[1];
    int accepted = 0;
    (void)state;
    f_open(&f, 3, 1);
    f_lead(&f);
    for (int i = 0; i < CORE_INFLIGHT_ENTRIES + 5; i++) {
        e[0] = f_command(0, 0);
        accepted += core_submit(f.core, e, 1) == 0;
        entry_release(e[0]);
    }
    assert_int_equal(accepted, CORE_INFLIGHT_ENTRIES);
    assert_int_equal(core_submit_room(f.core), 0);
}

static void only_a_leader_takes_entries_and_changes(void **state)
{
    struct entry *e[1] = {f_command(0, 0)};
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(core_submit(f.core, e, 1), ERR_NOT_LEADER);
    assert_int_equal(core_barrier(f.core, NULL), ERR_NOT_LEADER);
    assert_int_equal(core_change(f.core, CORE_REMOVE, 2, NULL, NULL), ERR_NOT_LEADER);
    assert_int_equal(core_catch_up(f.core, 2), ERR_NOT_LEADER);
    assert_int_equal(core_transfer(f.core, 2), ERR_NOT_LEADER);
    entry_release(e[0]);
}

static void changes_are_checked(void **state)
{
    uint64_t index = 0;
    (void)state;
    f_open(&f, 3, 1);
    f_lead(&f);
    assert_int_equal(core_change(f.core, CORE_ADD_LEARNER, 2, "n.22", NULL), ERR_EXISTS);
    assert_int_equal(core_change(f.core, CORE_ADD_LEARNER, 9, NULL, NULL), ERR_INVALID);
    assert_int_equal(core_change(f.core, CORE_ADD_LEARNER, 0, "n.9", NULL), ERR_INVALID);
    assert_int_equal(core_change(f.core, CORE_PROMOTE, 2, NULL, NULL), ERR_EXISTS);
    assert_int_equal(core_change(f.core, CORE_PROMOTE, 9, NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(core_change(f.core, CORE_REMOVE, 9, NULL, NULL), ERR_NOT_FOUND);
    assert_int_equal(core_change(f.core, CORE_REMOVE, 1, NULL, NULL), ERR_REFUSED);
    assert_int_equal(core_change(f.core, CORE_ADD_LEARNER, 9, "n.9", &index), 0);
    assert_int_equal(index, 3);
    assert_int_equal(core_config(f.core)->n, 4);
    assert_false(core_config_committed(f.core));
    assert_int_equal(core_change(f.core, CORE_REMOVE, 2, NULL, NULL), ERR_BUSY);
    assert_int_equal(core_catch_up(f.core, 2), ERR_INVALID);
    assert_int_equal(core_catch_up(f.core, 8), ERR_NOT_FOUND);
}

static void a_start_that_contradicts_itself_is_corrupt(void **state)
{
    struct entry *bootstrap = f_config_entry(1, 1, 3, 0);
    struct core_snapshot_meta meta = {.index = 10, .term = 2, .config_index = 1};
    struct core_run runs[2] = {{5, 1}, {12, 3}};
    struct core_start good = {
        .group = 7, .replica = 1, .address = "n.1", .now_ms = &f.now, .term = 3, .first = 1, .runs = runs, .n_runs = 2};
    struct core_start s;
    struct core *core = NULL;

    (void)state;
    memset(&f, 0, sizeof f);
    assert_int_equal(core_config_decode(bootstrap->data, bootstrap->length, &meta.config), 0);
    good.changes = &bootstrap;
    good.n_changes = 1;
    assert_int_equal(core_open(&good, &f_ops, &f, &core), 0);
    core_close(core);
    f.commit = 0;

    s = good;
    s.replica = 0;
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_INVALID);
    s = good;
    s.term = 2; /* an entry of a later term */
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_CORRUPT);
    s = good;
    s.term = 0;
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_CORRUPT);
    s = good;
    s.n_changes = 0; /* no first configuration */
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_CORRUPT);
    s = good;
    s.first = 2; /* begins above its snapshot */
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_CORRUPT);
    s = good;
    s.snapshot = &meta; /* whose entry 10 has term 2, the log's has 3 */
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_CORRUPT);
    meta.term = 3;
    meta.index = 13; /* the log does not reach it: rule 8 */
    assert_int_equal(core_open(&s, &f_ops, &f, &core), ERR_CORRUPT);
    meta.index = 12;
    assert_int_equal(core_open(&s, &f_ops, &f, &core), 0);
    assert_int_equal(core_commit(core), 12);
    core_close(core);
    f.commit = 0;
    entry_release(bootstrap);
    f.core = NULL;
}

static void own_snapshots_stay_within_what_is_committed_and_stored(void **state)
{
    struct entry *e[4] = {f_command(2, 2), f_command(3, 2), f_command(4, 2), f_command(5, 2)};
    struct core_snapshot_meta meta;
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 2, 1, 1, 4, e, 4), 0);
    assert_int_equal(core_commit(f.core), 4);
    assert_int_equal(core_snapshot_meta(f.core, 3, &meta), ERR_INVALID); /* not durable */
    f_durable(&f);
    assert_int_equal(core_snapshot_meta(f.core, 1, &meta), ERR_INVALID);
    assert_int_equal(core_snapshot_meta(f.core, 5, &meta), ERR_INVALID);
    assert_int_equal(core_snapshot_meta(f.core, 4, &meta), 0);
    assert_int_equal(meta.term, 2);
    assert_int_equal(meta.config_index, 1);
    assert_int_equal(meta.config.n, 3);
    assert_int_equal(core_snapshot(f.core, 4, 6), ERR_INVALID);
    assert_int_equal(core_snapshot(f.core, 4, 3), 0);
    assert_int_equal(core_first(f.core), 3);
    assert_int_equal(core_snapshot_index(f.core), 4);
    assert_int_equal(core_snapshot(f.core, 4, 4), ERR_INVALID);
    assert_int_equal(core_term_at(f.core, 2), 0);
    assert_int_equal(core_term_at(f.core, 3), 2);
}

static void ticks_before_their_time_do_nothing(void **state)
{
    uint64_t steps;
    (void)state;
    f_open(&f, 3, 1);
    steps = core_counters(f.core)->steps;
    f.now = core_timeout_ms(f.core) - 1;
    assert_int_equal(core_tick(f.core), 0);
    assert_int_equal(core_counters(f.core)->steps, steps);
    f.now++;
    assert_int_equal(core_tick(f.core), 0);
    assert_int_equal(core_role(f.core), CORE_CANDIDATE);
    assert_true(core_timeout_ms(f.core) > f.now);
}

static void a_shorter_first_election_timeout_holds_once(void **state)
{
    struct entry *bootstrap = f_config_entry(1, 1, 3, 0);
    struct core_run run = {1, 1};
    struct core_start start = {.group = 7, .replica = 1, .address = "n.1", .now_ms = &f.now, .term = 1, .first = 1, .runs = &run,
                               .n_runs = 1, .n_changes = 1, .first_election_timeout_ms = 25};
    (void)state;
    memset(&f, 0, sizeof f);
    f.now = 1000;
    start.changes = &bootstrap;
    assert_int_equal(core_open(&start, &f_ops, &f, &f.core), 0);
    assert_true(core_timeout_ms(f.core) <= 1050);
    assert_int_equal(f_append(&f, 2, 1, 1, 1, NULL, 0), 0);
    f.now = core_timeout_ms(f.core);
    assert_int_equal(core_tick(f.core), 0);
    assert_true(core_timeout_ms(f.core) >= f.now + CORE_ELECTION_TIMEOUT_MS);
    entry_release(bootstrap);
}

#define T(name) cmocka_unit_test_teardown(name, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_loaded_library_is_the_simulated_one),
        T(a_lone_voter_leads_at_once_and_commits_when_durable),
        T(votes_are_asked_for_only_when_term_and_vote_are_durable),
        T(a_leader_appends_before_its_own_flush),
        T(an_entry_that_was_replaced_is_never_acknowledged),
        T(submits_stop_at_the_in_flight_limit),
        T(only_a_leader_takes_entries_and_changes),
        T(changes_are_checked),
        T(a_start_that_contradicts_itself_is_corrupt),
        T(own_snapshots_stay_within_what_is_committed_and_stored),
        T(ticks_before_their_time_do_nothing),
        T(a_shorter_first_election_timeout_holds_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
