#include <raft.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/core/core_fixture.h"

static struct fixture f;

static int close_core(void **state)
{
    (void)state;
    core_close(f.core);
    f.core = NULL;
    return 0;
}

static void expect_malformed(struct core_message m, struct entry **entries)
{
    uint64_t writes = f.writes;
    uint64_t malformed = core_counters(f.core)->messages_malformed;
    assert_int_equal(core_receive(f.core, &m, entries), ERR_MALFORMED);
    assert_int_equal(f.writes, writes);
    assert_int_equal(core_counters(f.core)->messages_malformed, malformed + 1);
}

static void impossible_fields_change_nothing(void **state)
{
    struct entry *e[2] = {f_command(2, 2), f_command(3, 1)};
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    expect_malformed(f_message(0, 2, 2), NULL);
    expect_malformed(f_message(9, 2, 2), NULL);
    expect_malformed(f_message(CORE_APPEND, 0, 2), NULL);
    expect_malformed(f_message(CORE_APPEND, 1, 2), NULL); /* from ourselves */
    expect_malformed(f_message(CORE_APPEND, 2, 0), NULL);
    expect_malformed(f_message(CORE_APPEND, 2, UINT64_C(1) << 31), NULL);

    m = f_message(CORE_APPEND, 2, 2);
    m.append.prev_index = 1;
    expect_malformed(m, NULL); /* without a term */
    m.append.prev_term = 3;
    expect_malformed(m, NULL); /* of a later term than the leader's */
    m.append.prev_term = 1;
    m.append.n = 2;
    expect_malformed(m, NULL); /* no entries */
    expect_malformed(m, e);    /* terms that fall */
    e[1]->term = 3;
    expect_malformed(m, e);    /* above the leader's */
    e[1]->term = 2;
    e[1]->index = 4;
    expect_malformed(m, e);    /* a gap */
    e[1]->index = 3;
    e[1]->kind = ENTRY_CHANGE;
    expect_malformed(m, e);    /* not a configuration */
    e[1]->kind = 77;
    expect_malformed(m, e);
    m.append.n = CORE_APPEND_ENTRIES_MAX + 1;
    expect_malformed(m, e);

    m = f_message(CORE_VOTE, 2, 2);
    m.vote.candidate = 3;
    expect_malformed(m, NULL);
    m = f_message(CORE_INSTALL, 2, 2);
    m.install.last_index = 10;
    m.install.last_term = 1;
    m.install.config_index = 1;
    expect_malformed(m, NULL); /* no members */
    m = f_message(CORE_TIMEOUT_NOW, 2, 2);
    m.timeout_now.last_term = 3;
    expect_malformed(m, NULL);
    assert_int_equal(core_term(f.core), 1);
    entry_release(e[0]);
    entry_release(e[1]);
}

static void a_second_leader_of_the_same_term_is_malformed(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    f_lead(&f);
    m = f_message(CORE_APPEND, 3, 2);
    expect_malformed(m, NULL);
    assert_int_equal(core_role(f.core), CORE_LEADER);
}

static void messages_for_another_replica_are_ignored(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    m = f_message(CORE_APPEND, 2, 5);
    m.to = 4;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    m.to = 0;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(core_term(f.core), 1);
}

static void an_older_term_gets_a_rejection_that_names_nothing(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 5, 1, 1, 1, NULL, 0), 0);
    f_durable(&f);
    f.n_sent = 0;
    m = f_message(CORE_APPEND, 3, 4);
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    m = f_message(CORE_INSTALL, 3, 4);
    m.install.last_index = 9;
    m.install.last_term = 4;
    m.install.config_index = 1;
    m.install.config = *core_config(f.core);
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(f.n_sent, 2);
    assert_int_equal(f.sent[0].term, 5);
    assert_int_equal(f.sent[0].append_result.rejected, 1);
    assert_int_equal(f.sent[0].append_result.last, 0);
    assert_int_equal(f.sent[1].append_result.rejected, 9);
    assert_int_equal(f.sent[1].append_result.last, 8);
    assert_false(core_installing(f.core));
}

static void a_roll_back_goes_back_one_change(void **state)
{
    struct entry *e[5] = {f_config_entry(2, 2, 3, 1), f_command(3, 2), f_config_entry(4, 2, 3, 2), f_command(5, 2), f_command(6, 2)};
    struct entry *other[1] = {f_command(4, 3)};
    (void)state;
    f_open(&f, 3, 1);
    /* Both changes in one message, of a leader that does not know yet what is committed. */
    assert_int_equal(f_append(&f, 2, 1, 1, 1, e, 5), 0);
    assert_int_equal(core_last(f.core), 6);
    assert_int_equal(core_config(f.core)->n, 5);
    f_durable(&f);
    /* The second was proposed, so the first is committed; the next leader never had the second. */
    assert_int_equal(f_append(&f, 3, 3, 2, 1, other, 1), 0);
    assert_int_equal(core_last(f.core), 4);
    assert_int_equal(core_config(f.core)->n, 4);
}

static void a_refused_change_says_nothing_about_ours(void **state)
{
    struct entry *ours[1] = {f_config_entry(2, 2, 3, 1)};
    struct entry *theirs[1] = {f_config_entry(4, 3, 3, 2)};
    struct entry *repair[1] = {f_command(2, 3)};
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 2, 1, 1, 1, ours, 1), 0);
    f_durable(&f);
    assert_int_equal(f_append(&f, 3, 3, 3, 1, theirs, 1), 0); /* its entry 3 is not ours */
    assert_int_equal(f_append(&f, 3, 1, 1, 1, repair, 1), 0);
    assert_int_equal(core_config(f.core)->n, 3);
}

static void an_append_from_below_the_log_lands_at_its_place(void **state)
{
    struct entry *e[5];
    struct entry *again[6];
    (void)state;
    for (uint64_t i = 0; i < 5; i++) {
        e[i] = f_command(2 + i, 2);
    }
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 2, 1, 1, 5, e, 5), 0);
    f_durable(&f);
    assert_int_equal(core_snapshot(f.core, 5, 5), 0);
    for (uint64_t i = 0; i < 6; i++) {
        again[i] = f_command(3 + i, 2);
    }
    assert_int_equal(f_append(&f, 2, 2, 2, 5, again, 6), 0);
    assert_int_equal(f.write.first, 7);
    assert_int_equal(f.write.n, 2);
    assert_int_equal(core_last(f.core), 8);
    /* All of it covered: an answer, and nothing else. */
    again[0] = f_command(3, 2);
    f.n_sent = 0;
    assert_int_equal(f_append(&f, 2, 2, 2, 5, again, 1), 0);
    assert_int_equal(f.n_sent, 1);
    assert_int_equal(f.sent[0].append_result.rejected, 0);
}

static void a_refusal_names_where_the_logs_can_meet(void **state)
{
    struct entry *e[40];
    (void)state;
    f_open(&f, 3, 1);
    for (uint64_t i = 0; i < 40; i++) {
        e[i] = f_command(2 + i, i < 10 ? 2 : 4); /* 2..11 of term 2, the rest of a leader that nobody followed */
    }
    assert_int_equal(f_append(&f, 4, 1, 1, 1, e, 40), 0);
    f_durable(&f);
    f.n_sent = 0;
    assert_int_equal(f_append(&f, 5, 35, 3, 1, NULL, 0), 0);
    f_durable(&f);
    assert_int_equal(f.n_sent, 1);
    assert_int_equal(f.sent[0].append_result.rejected, 35);
    assert_int_equal(f.sent[0].append_result.last, 11);
}

static void vote_results_are_for_candidates(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    m = f_message(CORE_VOTE_RESULT, 2, 9);
    m.version = 2;
    m.vote_result.granted = true;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(core_term(f.core), 1);
    assert_int_equal(core_counters(f.core)->messages_ignored, 1);
}

static void a_stale_rejection_does_not_stop_a_follower_for_good(void **state)
{
    struct core_message m;
    uint64_t match = 0;
    (void)state;
    f_open(&f, 3, 1);
    f_lead(&f);
    m = f_message(CORE_APPEND_RESULT, 2, 2);
    m.version = 2;
    m.append_result.rejected = 1;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(core_counters(f.core)->messages_ignored, 1);
    assert_int_equal(core_match(f.core, 2, &match), 0);
    assert_int_equal(match, 2);
}

static void a_replica_that_knows_no_members_votes(void **state)
{
    struct core_message m;
    (void)state;
    f_open_blank(&f);
    m = f_message(CORE_VOTE, 2, 3);
    m.version = 2;
    m.vote = (struct core_vote){2, 5, 2, false, false};
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_true(f.write.has_hard_state);
    assert_int_equal(f.write.vote, 2);
    assert_int_equal(f.n_sent, 0);
    f_durable(&f);
    assert_int_equal(f.n_sent, 1);
    assert_true(f.sent[0].vote_result.granted);
    assert_int_equal(core_config(f.core)->n, 0);
}

/* libraft keeps the name of the last leader when a vote raises the term: it leads no more. */
static void an_older_terms_leader_does_not_lead_a_newer_term(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 2, 1, 1, 1, NULL, 0), 0);
    assert_int_equal(core_leader(f.core), 2);
    m = f_message(CORE_VOTE, 3, 3); /* leader 2 hands over to 3 */
    m.version = 2;
    m.vote = (struct core_vote){3, 1, 1, true, false};
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    f_durable(&f);
    assert_int_equal(core_term(f.core), 3);
    assert_int_equal(core_leader(f.core), 0);
    assert_int_equal(f_append(&f, 2, 1, 1, 1, NULL, 0), 0); /* late: still not */
    assert_int_equal(core_leader(f.core), 0);
    m = f_message(CORE_APPEND, 3, 3);
    m.append.prev_index = 1;
    m.append.prev_term = 1;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(core_leader(f.core), 3);
}

static void a_denied_pre_vote_tells_the_term(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    m = f_message(CORE_VOTE, 2, 6); /* raises our term, and gets our vote */
    m.version = 2;
    m.vote = (struct core_vote){2, 1, 1, false, false};
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    f_durable(&f);
    f.n_sent = 0;
    m = f_message(CORE_VOTE, 3, 3);
    m.version = 2;
    m.vote = (struct core_vote){3, 9, 2, false, true};
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(f.n_sent, 1);
    assert_false(f.sent[0].vote_result.granted);
    assert_int_equal(f.sent[0].term, 6);
}

static bool granted(uint64_t term, bool pre_vote)
{
    struct core_message m = f_message(CORE_VOTE, 3, term);
    m.version = 2;
    m.vote = (struct core_vote){3, 1, 1, false, pre_vote};
    f.n_sent = 0;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    if (f.n_sent == 0) {
        f_durable(&f);
    }
    assert_int_equal(f.n_sent, 1);
    return f.sent[0].vote_result.granted;
}

/* The own timer of a follower fires up to twice as late: others need not wait for that. */
static void a_leader_silent_for_the_election_timeout_is_not_defended(void **state)
{
    uint64_t heard;
    (void)state;
    f_open(&f, 3, 1);
    f.now += 500;
    assert_int_equal(f_append(&f, 2, 1, 1, 1, NULL, 0), 0);
    f_durable(&f);
    heard = f.now;
    f.now = heard + CORE_ELECTION_TIMEOUT_MS - 1;
    assert_false(granted(3, true));
    assert_int_equal(core_leader(f.core), 2);
    f.now = heard + CORE_ELECTION_TIMEOUT_MS;
    assert_true(core_timeout_ms(f.core) > f.now);
    assert_true(granted(3, true));
    assert_int_equal(core_leader(f.core), 0);
    assert_int_equal(core_term(f.core), 2);
    assert_true(granted(3, false));
    assert_int_equal(core_term(f.core), 3);
}

static struct core_message install(uint64_t term, uint64_t index)
{
    struct core_message m = f_message(CORE_INSTALL, 2, term);
    struct entry *e = f_config_entry(1, 1, 3, 0);
    m.install.last_index = index;
    m.install.last_term = term;
    m.install.config_index = 1;
    assert_int_equal(core_config_decode(e->data, e->length, &m.install.config), 0);
    entry_release(e);
    return m;
}

static void an_install_replaces_everything_once_durable(void **state)
{
    struct core_message m = install(4, 20);
    (void)state;
    f_open_blank(&f);
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_true(core_installing(f.core));
    assert_non_null(f.write.install);
    assert_int_equal(f.write.install->index, 20);
    assert_true(f.write.has_hard_state);
    assert_int_equal(core_commit(f.core), 0);
    /* Another one meanwhile, and news of commits, change nothing (and leak nothing). */
    m.install.last_index = 22;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(f_append(&f, 4, 20, 4, 20, NULL, 0), 0);
    assert_int_equal(f.writes, 1);
    assert_int_equal(core_commit(f.core), 0);
    f_durable(&f);
    assert_false(core_installing(f.core));
    assert_int_equal(f.commit, 20);
    assert_int_equal(core_first(f.core), 21);
    assert_int_equal(core_last(f.core), 20);
    assert_int_equal(core_config(f.core)->n, 3);
    /* One that is behind is no news. */
    m.install.last_index = 15;
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_int_equal(f.writes, 1);
}

static void an_install_that_was_not_durable_leaves_with_the_core(void **state)
{
    struct core_message m = install(4, 20);
    (void)state;
    f_open_blank(&f);
    assert_int_equal(core_receive(f.core, &m, NULL), 0);
    assert_true(core_installing(f.core)); /* closed like this by the teardown */
}

static void a_conflict_with_what_is_committed_ends_the_core(void **state)
{
    struct core_message m;
    (void)state;
    f_open(&f, 3, 1);
    assert_int_equal(f_append(&f, 2, 1, 2, 1, NULL, 0), ERR_SHUTDOWN); /* entry 1 was of term 1 */
    assert_true(core_failed(f.core));
    f.n_sent = 0;
    m = f_message(CORE_VOTE, 3, 9);
    m.vote.candidate = 3;
    assert_int_equal(core_receive(f.core, &m, NULL), ERR_SHUTDOWN);
    assert_int_equal(core_tick(f.core), ERR_SHUTDOWN);
    assert_int_equal(core_persisted(f.core, f.writes), ERR_SHUTDOWN);
    assert_int_equal(core_submit_room(f.core), 0);
    assert_int_equal(f.n_sent, 0);
}

/* libraft's own unwinding frees twice: no memory inside it must end the process. */
static void no_memory_inside_the_library_is_final(void **state)
{
    char errmsg[ERRMSG_SIZE];
    int status = 0;
    pid_t pid;
    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        fclose(stderr);
        if (core_check_library(errmsg) != 0) {
            _exit(0);
        }
        _exit(raft_malloc(SIZE_MAX / 4) == NULL ? 0 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
}

#define T(name) cmocka_unit_test_teardown(name, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(impossible_fields_change_nothing),
        T(a_second_leader_of_the_same_term_is_malformed),
        T(messages_for_another_replica_are_ignored),
        T(an_older_term_gets_a_rejection_that_names_nothing),
        T(a_roll_back_goes_back_one_change),
        T(a_refused_change_says_nothing_about_ours),
        T(an_append_from_below_the_log_lands_at_its_place),
        T(a_refusal_names_where_the_logs_can_meet),
        T(vote_results_are_for_candidates),
        T(a_stale_rejection_does_not_stop_a_follower_for_good),
        T(a_replica_that_knows_no_members_votes),
        T(an_older_terms_leader_does_not_lead_a_newer_term),
        T(a_denied_pre_vote_tells_the_term),
        T(a_leader_silent_for_the_election_timeout_is_not_defended),
        T(an_install_replaces_everything_once_durable),
        T(an_install_that_was_not_durable_leaves_with_the_core),
        T(a_conflict_with_what_is_committed_ends_the_core),
        T(no_memory_inside_the_library_is_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
