/* The state machine of consumer groups, command by command; and the order of deadlines. */
#include "node/fsm/group/deadlines.h"
#include "tests/unit/fsm/group_world.h"

struct log {
    struct groups_fsm *fsm;
    uint64_t index;
    int64_t time_ms;
    struct group_reply reply;
};

static int setup(void **state)
{
    struct log *l = test_calloc(1, sizeof *l);
    l->fsm = groups_fsm_new();
    l->time_ms = 1000;
    *state = l;
    return 0;
}

static int teardown(void **state)
{
    struct log *l = *state;
    groups_fsm_free(l->fsm);
    test_free(l);
    return 0;
}

static int apply(struct log *l, struct entry *entry)
{
    int rv;
    assert_non_null(entry);
    entry->index = ++l->index;
    entry->time_ms = l->time_ms;
    rv = groups_fsm_apply(l->fsm, entry, &l->reply);
    entry_release(entry);
    return rv;
}

static char group_name[] = "g";
static char member_name[] = "m";
static char protocol_type[] = "consumer";

/* @members: 0 or 1. */
static void save(struct log *l, int32_t generation, unsigned members)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupSave s = CAIRN__COMMAND__GROUP_SAVE__INIT;
    Cairn__Command__GroupMember m = CAIRN__COMMAND__GROUP_MEMBER__INIT;
    Cairn__Command__GroupMember *pointers[1] = {&m};
    m.member = member_name;
    s.group = group_name;
    s.protocol_type = protocol_type;
    s.generation = generation;
    s.n_members = members;
    s.members = pointers;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_SAVE;
    command.save = &s;
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
}

static int commit(struct log *l, int32_t generation, const char *member, unsigned topic, int64_t offset,
                  int64_t retention_ms)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupCommit c = CAIRN__COMMAND__GROUP_COMMIT__INIT;
    Cairn__Command__GroupOffset o = CAIRN__COMMAND__GROUP_OFFSET__INIT;
    Cairn__Command__GroupOffset *pointers[1] = {&o};
    struct uuid id = topic_uuid(topic);
    char name[8];
    snprintf(name, sizeof name, "%s", member);
    o.topic_id.len = 16;
    o.topic_id.data = id.bytes;
    o.offset = offset;
    c.group = group_name;
    c.generation = generation;
    c.member = name;
    c.retention_ms = retention_ms;
    c.n_offsets = 1;
    c.offsets = pointers;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_COMMIT;
    command.commit = &c;
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
    return l->reply.error;
}

static void expire(struct log *l, int64_t retention_ms, bool spare)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupExpire e = CAIRN__COMMAND__GROUP_EXPIRE__INIT;
    char *spared[1] = {group_name};
    e.retention_ms = retention_ms;
    e.n_spared = spare;
    e.spared = spared;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_EXPIRE;
    command.expire = &e;
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
}

static const struct saved_group *group(struct log *l)
{
    return groups_fsm_find(l->fsm, group_name);
}

static void a_commit_is_judged_when_it_is_applied(void **state)
{
    struct log *l = *state;
    struct uuid topic = topic_uuid(1);
    assert_int_equal(commit(l, 1, "m", 1, 5, -1), ERR_ILLEGAL_GENERATION); /* no group */
    assert_null(group(l));
    save(l, 1, 1);
    assert_int_equal(commit(l, 1, "m", 1, 5, -1), 0);
    assert_int_equal(commit(l, -1, "", 1, 6, -1), ERR_UNKNOWN_MEMBER); /* it has members */
    assert_int_equal(commit(l, 1, "x", 1, 6, -1), ERR_UNKNOWN_MEMBER);
    assert_int_equal(commit(l, 2, "m", 1, 6, -1), ERR_ILLEGAL_GENERATION);
    save(l, 2, 1);
    assert_int_equal(commit(l, 1, "m", 1, 6, -1), ERR_ILLEGAL_GENERATION); /* overtaken by the save */
    assert_int_equal(groups_fsm_offset(group(l), &topic, 0)->offset, 5);
    save(l, 3, 0);
    assert_int_equal(commit(l, -1, "", 1, 4, -1), 0); /* an administrator may go back */
    assert_int_equal(groups_fsm_offset(group(l), &topic, 0)->offset, 4);
}

static void a_generation_never_goes_back(void **state)
{
    struct log *l = *state;
    save(l, 5, 1);
    save(l, 4, 0);
    assert_int_equal(l->reply.error, ERR_ILLEGAL_GENERATION);
    assert_int_equal(group(l)->generation, 5);
    assert_int_equal(group(l)->n_members, 1);
    save(l, 5, 1);
    assert_int_equal(l->reply.error, 0);
}

static void only_empty_groups_are_deleted(void **state)
{
    struct log *l = *state;
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupDelete d = CAIRN__COMMAND__GROUP_DELETE__INIT;
    d.group = group_name;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_DELETE_GROUP;
    command.delete_group = &d;
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
    assert_int_equal(l->reply.error, ERR_GROUP_NOT_FOUND);
    save(l, 1, 1);
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
    assert_int_equal(l->reply.error, ERR_NON_EMPTY_GROUP);
    save(l, 2, 0);
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
    assert_int_equal(l->reply.error, 0);
    assert_null(group(l));
}

static void offsets_expire_by_the_entries_own_time(void **state)
{
    struct log *l = *state;
    save(l, 1, 1);
    commit(l, 1, "m", 1, 5, -1);
    commit(l, 1, "m", 2, 5, 100); /* the client's own retention */
    l->time_ms += 5000;
    expire(l, 1000, false);
    assert_int_equal(l->reply.count, 0); /* it has members */
    save(l, 2, 0);
    expire(l, 1000, true);
    assert_int_equal(l->reply.count, 0); /* spared */
    expire(l, 1000, false);
    assert_int_equal(l->reply.count, 1);
    l->time_ms += 999;
    expire(l, 1000, false);
    assert_int_equal(l->reply.count, 0); /* counted from when it became empty */
    l->time_ms += 1;
    expire(l, 1000, false);
    assert_int_equal(l->reply.count, 1);
    assert_null(group(l));
    commit(l, -1, "", 1, 5, -1);
    l->time_ms += 600;
    commit(l, -1, "", 2, 5, -1);
    l->time_ms += 500;
    expire(l, 1000, false);
    assert_int_equal(l->reply.count, 1); /* without members each offset counts for itself */
    assert_int_equal(group(l)->n_offsets, 1);
}

static void a_deleted_topic_takes_its_offsets_along(void **state)
{
    struct log *l = *state;
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupForgetTopic f = CAIRN__COMMAND__GROUP_FORGET_TOPIC__INIT;
    struct uuid topic = topic_uuid(1);
    commit(l, -1, "", 1, 5, -1);
    commit(l, -1, "", 2, 5, -1);
    f.topic_id.len = 16;
    f.topic_id.data = topic.bytes;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_FORGET_TOPIC;
    command.forget_topic = &f;
    assert_int_equal(apply(l, group_command_entry(&command)), 0);
    assert_int_equal(l->reply.count, 1);
    assert_null(groups_fsm_offset(group(l), &topic, 0));
    assert_int_equal(group(l)->n_offsets, 1);
}

static void what_this_program_does_not_understand_stops_the_replica(void **state)
{
    struct log *l = *state;
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    struct buf *buf = buf_new(NULL, 16);
    memcpy(buf->data, "\x08\x02", 2); /* version 2 */
    assert_int_equal(apply(l, entry_new(ENTRY_COMMAND, buf, buf->data, 2)), ERR_VERSION);
    memset(buf->data, 0xff, 16);
    assert_int_equal(apply(l, entry_new(ENTRY_COMMAND, buf, buf->data, 16)), ERR_MALFORMED);
    buf_release(buf);
    assert_int_equal(apply(l, group_command_entry(&command)), ERR_VERSION); /* no kind that we know */
    assert_int_equal(groups_fsm_index(l->fsm), 0);
    assert_int_equal(apply(l, entry_new(ENTRY_BARRIER, NULL, NULL, 0)), 0);
    assert_int_equal(groups_fsm_index(l->fsm), l->index);
}

static void the_digest_sees_every_difference(void **state)
{
    struct log *l = *state;
    uint32_t digest[5];
    digest[0] = groups_fsm_digest(l->fsm);
    save(l, 1, 1);
    digest[1] = groups_fsm_digest(l->fsm);
    save(l, 2, 1);
    digest[2] = groups_fsm_digest(l->fsm);
    commit(l, 2, "m", 1, 5, -1);
    digest[3] = groups_fsm_digest(l->fsm);
    commit(l, 2, "m", 1, 6, -1);
    digest[4] = groups_fsm_digest(l->fsm);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned k = 0; k < i; k++) {
            assert_int_not_equal(digest[i], digest[k]);
        }
    }
}

static struct group_blob *bytes(const char *data, size_t size)
{
    struct group_blob *blob = group_blob_new(data, size);
    assert_non_null(blob);
    return blob;
}

static void subscriptions_are_read_as_far_as_they_go(void **state)
{
    struct group_blob *ab = bytes("\0\1\0\0\0\2\0\1a\0\2bb\xff\xff\xff\xff", 17);
    struct group_blob *cut = bytes("\0\1\0\0\0\2\0\1a\0\2b", 12);
    struct group_blob *huge = bytes("\0\1\x7f\xff\xff\xff\0\1a", 9);
    struct group_blob *negative = bytes("\0\1\xff\xff\xff\xff", 6);
    struct group_blob *user = bytes("\0\1\0\0\0\2\0\1a\0\2bb\0\0\0\1x", 18);
    struct group_blob *none = bytes("", 0);
    assert_true(group_subscribes(ab, "a"));
    assert_true(group_subscribes(ab, "bb"));
    assert_false(group_subscribes(ab, "b"));
    assert_true(group_subscribes(cut, "z")); /* not known, so it might */
    assert_true(group_subscribes(huge, "z"));
    assert_true(group_subscribes(negative, "z"));
    assert_true(group_subscribes(none, "z"));
    assert_true(group_same_topics(ab, user));
    assert_false(group_same_topics(ab, cut));
    group_blob_release(ab);
    group_blob_release(cut);
    group_blob_release(huge);
    group_blob_release(negative);
    group_blob_release(user);
    group_blob_release(none);
}

static void deadlines_come_up_in_order(void **state)
{
    struct deadlines d = {0};
    struct deadline t[200] = {0};
    uint64_t random = 1;
    uint64_t now_ms = 0;
    unsigned left = 0;
    assert_int_equal(deadlines_next(&d), UINT64_MAX);
    assert_int_equal(deadlines_reserve(&d, 200), 0);
    for (unsigned i = 0; i < 5000; i++) {
        struct deadline *one = &t[(random >> 33) % 200];
        random = random * 6364136223846793005u + 1442695040888963407u;
        if ((random >> 20) % 5 == 0) {
            deadline_clear(&d, one);
        } else {
            deadline_set(&d, one, (random >> 40) % 1000);
        }
    }
    for (unsigned i = 0; i < 200; i++) {
        left += deadline_is_set(&t[i]);
        assert_true(!deadline_is_set(&t[i]) || deadlines_next(&d) <= t[i].at_ms);
    }
    for (; now_ms <= 1000; now_ms++) {
        struct deadline *one;
        while ((one = deadlines_due(&d, now_ms)) != NULL) {
            assert_int_equal(one->at_ms, now_ms);
            left--;
        }
    }
    assert_int_equal(left, 0);
    deadlines_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_commit_is_judged_when_it_is_applied),
        T(a_generation_never_goes_back),
        T(only_empty_groups_are_deleted),
        T(offsets_expire_by_the_entries_own_time),
        T(a_deleted_topic_takes_its_offsets_along),
        T(what_this_program_does_not_understand_stops_the_replica),
        T(the_digest_sees_every_difference),
        T(subscriptions_are_read_as_far_as_they_go),
        T(deadlines_come_up_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
