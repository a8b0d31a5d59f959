/* Transports that talk to each other over loopback. */
#include "tests/unit/transport/fixture.h"

#include "proto/native/calls.h"

struct count {
    struct tnode *node;
    size_t n;
};

static bool has_received(void *data)
{
    struct count *c = data;
    return c->node->received_n >= c->n;
}

static void wait_received(struct tnode *node, size_t n)
{
    struct count c = {node, n};
    until(node->f, has_received, &c);
}

static bool has_controls(void *data)
{
    struct count *c = data;
    return c->node->controls >= c->n;
}

static bool has_refused(void *data)
{
    struct count *c = data;
    struct transport_stats stats;
    transport_stats(c->node->t, &stats);
    return stats.refused >= c->n;
}

static void wait_refused(struct tnode *node, size_t n)
{
    struct count c = {node, n};
    until(node->f, has_refused, &c);
}

static bool is_down(void *data)
{
    struct tnode **pair = data;
    return !pair[0]->up[pair[1]->id.node];
}

static void wait_down(struct tnode *from, struct tnode *to)
{
    struct tnode *pair[2] = {from, to};
    until(from->f, is_down, pair);
}

static void pair_open(struct fixture *f, struct tnode **a, struct tnode **b)
{
    *a = node_open(f, 0, 0);
    *b = node_open(f, 1, 0);
    dial(*a, *b);
    wait_up(*a, *b);
}

static void messages_and_entries_arrive_in_order(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;
    struct entry *entries[2];

    pair_open(f, &a, &b);
    assert_true(transport_peer_up(a->t, 2));
    assert_false(transport_peer_up(b->t, 1)); /* nobody told it to dial */
    for (uint64_t i = 0; i < 100; i++) {
        entries[0] = test_entry(f->pool, i, 2 * i, 100);
        entries[1] = test_entry(f->pool, i, 2 * i + 1, 5000);
        assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, i, (const uint8_t *)&i, sizeof(i), entries, 2), 0);
        entry_release(entries[0]);
        entry_release(entries[1]);
    }
    wait_received(b, 100);
    for (uint64_t i = 0; i < 100; i++) {
        struct received *r = &b->received[i];
        assert_int_equal(r->group, i);
        assert_memory_equal(r->header, &i, sizeof(i));
        assert_int_equal(r->n, 2);
        assert_int_equal(r->entries[1]->index, 2 * i + 1);
        assert_int_equal(r->entries[1]->length, 5000);
        assert_true(entry_intact(r->entries[0]) && entry_intact(r->entries[1]));
    }
    assert_int_equal(b->last_from, 1);
    assert_true(transport_peer_silent_ms(b->t, 1) < LIMIT_MS);
    assert_true(transport_peer_silent_ms(b->t, 9) == UINT64_MAX);
}

static void five_thousand_messages_of_a_turn_are_one_frame(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;
    struct transport_stats before, after;
    uint8_t header[90] = {1};

    pair_open(f, &a, &b);
    transport_stats(a->t, &before);
    for (uint64_t i = 0; i < 5000; i++) {
        assert_int_equal(transport_send(a->t, 2, TRANSPORT_URGENT, i, header, sizeof(header), NULL, 0), 0);
    }
    wait_received(b, 5000);
    transport_stats(a->t, &after);
    assert_int_equal(after.frames_out - before.frames_out, 1);
    assert_int_equal(after.messages_out - before.messages_out, 5000);
}

static void control_messages_arrive(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;
    struct count c;

    pair_open(f, &a, &b);
    assert_int_equal(transport_control(a->t, 2, CALL_FORM, (const uint8_t *)"pledge", 6), 0);
    assert_int_equal(transport_control(a->t, 2, CALL_PEER_RAFT, (const uint8_t *)"x", 1), ERR_INVALID);
    assert_int_equal(transport_control(a->t, 2, CALL_FETCH, (const uint8_t *)"x", 1), ERR_INVALID);
    assert_int_equal(transport_control(a->t, 3, CALL_FORM, (const uint8_t *)"x", 1), ERR_CLOSED);
    c = (struct count){b, 1};
    until(f, has_controls, &c);
    assert_int_equal(b->last_call, CALL_FORM);
    assert_string_equal(b->last_control, "pledge");
}

static void what_has_no_link_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct entry *entry = test_entry(f->pool, 1, 1, 10);

    assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 1, (const uint8_t *)"x", 1, NULL, 0), ERR_CLOSED);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_URGENT, 1, (const uint8_t *)"x", 1, &entry, 1), ERR_INVALID);
    assert_int_equal(transport_peer_set(a->t, 2, "no port"), ERR_INVALID);
    assert_int_equal(transport_peer_set(a->t, 2, ":1"), ERR_INVALID);
    assert_int_equal(transport_peer_set(a->t, 2, "host:70000"), ERR_INVALID);
    assert_int_equal(transport_peer_set(a->t, 1, "127.0.0.1:1"), ERR_INVALID); /* itself */
    entry_release(entry);
}

static void a_peer_that_comes_back_is_found_again(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;
    struct transport_params params;
    char address[ENV_ADDRESS_MAX];
    char errmsg[ERRMSG_SIZE];

    pair_open(f, &a, &b);
    snprintf(address, sizeof(address), "%s", transport_address(b->t));
    node_close(b);
    wait_down(a, b);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_URGENT, 1, (const uint8_t *)"x", 1, NULL, 0), ERR_CLOSED);
    run_for(f, 400); /* several refused attempts */
    assert_int_equal(a->ups, 1);
    params = (struct transport_params){.env = f->env, .pool = f->pool, .self = &b->id, .listen_address = address,
                                       .receive_max_bytes = 1u << 30, .ops = &test_ops, .data = b};
    b->id.boot++;
    b->closed = false;
    assert_int_equal(transport_open(&params, &b->t, errmsg), 0);
    wait_up(a, b);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 77, (const uint8_t *)"x", 1, NULL, 0), 0);
    wait_received(b, 1);
    assert_int_equal(a->downs, 1);
}

static void a_peer_moves(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;
    struct tnode *c;

    pair_open(f, &a, &b);
    c = &f->nodes[2];
    c->id = b->id; /* node 2, started again elsewhere */
    c->id.boot++;
    node_open(f, 2, 0);
    assert_int_equal(transport_peer_set(a->t, 2, transport_address(c->t)), 0);
    wait_down(a, b);
    wait_up(a, c);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 77, (const uint8_t *)"x", 1, NULL, 0), 0);
    wait_received(c, 1);
    assert_int_equal(b->received_n, 0);
}

static void a_removed_peer_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;

    pair_open(f, &a, &b);
    transport_peer_remove(a->t, 2);
    assert_false(transport_peer_up(a->t, 2));
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 1, (const uint8_t *)"x", 1, NULL, 0), ERR_CLOSED);
    run_for(f, 200);
    assert_int_equal(a->ups, 1);
}

static void refusals(struct fixture *f, struct tnode *a, struct tnode *b, int err)
{
    unsigned warnings;

    dial(a, b);
    wait_refused(b, 1);
    run_for(f, 100);
    warnings = f->warnings;
    assert_int_equal(warnings, 2); /* one line on each side */
    wait_refused(b, 2);
    run_for(f, 20);
    assert_int_equal(f->warnings, warnings); /* and not again so soon */
    assert_int_equal(a->refused_err, err);
    assert_int_equal(a->ups, 0);
}

static void another_cluster_is_refused(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct tnode *b;

    f->nodes[1].id = (struct transport_identity){.node = 2, .boot = 1};
    f->nodes[1].id.disk_id = test_uuid(2);
    f->nodes[1].id.cluster_id = test_uuid(0xDD);
    b = node_open(f, 1, 0);
    refusals(f, a, b, ERR_CLUSTER_MISMATCH);
}

static void another_node_than_meant_is_refused(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct tnode *b = node_open(f, 1, 0);

    assert_int_equal(transport_peer_set(a->t, 3, transport_address(b->t)), 0);
    wait_refused(b, 1);
    run_for(f, 20);
    assert_int_equal(a->refused_err, ERR_NODE_MISMATCH);
}

static void the_owner_decides_on_both_sides(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct tnode *b = node_open(f, 1, 0);

    b->admit_err = ERR_DISK_WIPED;
    refusals(f, a, b, ERR_DISK_WIPED);
    /* Now the dialler will not have the one it reaches. */
    b->admit_err = 0;
    a->admit_err = ERR_NOT_FORMED;
    wait_refused(a, 1);
    assert_int_equal(a->ups, 0);
    a->admit_err = 0;
    wait_up(a, b);
}

static void a_lower_boot_counter_is_refused(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b, *c;

    pair_open(f, &a, &b);
    c = &f->nodes[2];
    c->id = a->id; /* a clone of node 1's disk, one start behind */
    c->id.boot--;
    node_open(f, 2, 0);
    dial(c, b);
    wait_refused(b, 1);
    run_for(f, 20);
    assert_int_equal(c->refused_err, ERR_STALE_BOOT);
    assert_true(transport_peer_up(a->t, 2)); /* the true one is not disturbed */
}

static void links_are_made_anew_when_the_cluster_forms(void **state)
{
    struct fixture *f = *state;
    struct uuid cluster = test_uuid(0xCC);
    struct tnode *a, *b;

    for (unsigned i = 0; i < 2; i++) {
        f->nodes[i].id = (struct transport_identity){.node = i + 1, .boot = 1};
        f->nodes[i].id.disk_id = test_uuid((uint8_t)(i + 1));
    }
    pair_open(f, &a, &b);
    transport_set_cluster(b->t, &cluster);
    wait_down(a, b);
    wait_up(a, b);
    transport_set_cluster(a->t, &cluster);
    wait_down(a, b);
    wait_up(a, b);
    transport_set_cluster(a->t, &cluster);
    run_for(f, 20);
    assert_true(transport_peer_up(a->t, 2)); /* nothing new: nothing happens */
}

static void the_data_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct entry *entry;
    struct tnode *a, *b;
    struct transport_stats stats;
    size_t sent = 0;
    int rv = 0;

    pair_open(f, &a, &b);
    entry = test_entry(f->pool, 1, 1, 4u << 20);
    while (rv == 0 && sent < 100) { /* nothing is written before the turn's end */
        rv = transport_send(a->t, 2, TRANSPORT_DATA, 1, (const uint8_t *)"x", 1, &entry, 1);
        sent += rv == 0;
    }
    assert_int_equal(rv, ERR_BUSY);
    assert_int_equal(sent, 15);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_URGENT, 1, (const uint8_t *)"x", 1, NULL, 0), 0);
    transport_stats(a->t, &stats);
    assert_int_equal(stats.dropped, 1);
    wait_received(b, 16);
    entry_release(entry);
}

static bool is_held_back(void *data)
{
    struct tnode *node = data;
    return node->held_n >= 2;
}

static void urgent_messages_pass_while_entries_wait_for_memory(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct tnode *b = node_open(f, 1, 40u << 20); /* the sender's buffers come from the same pool */
    size_t held;

    dial(a, b);
    wait_up(a, b);
    b->hold = true;
    for (int i = 0; i < 7; i++) {
        struct entry *entry = test_entry(f->pool, 1, (uint64_t)i, 6u << 20);
        assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 1, (const uint8_t *)"x", 1, &entry, 1), 0);
        entry_release(entry);
    }
    until(f, is_held_back, b);
    run_for(f, 100);
    held = b->held_n;
    assert_true(held < 7); /* reading has stopped */
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(transport_send(a->t, 2, TRANSPORT_URGENT, 99, (const uint8_t *)"x", 1, NULL, 0), 0);
    }
    {
        struct count c = {b, held + 50};
        until(f, has_received, &c);
    }
    assert_int_equal(b->held_n, held);
    b->hold = false;
    node_drop_received(b); /* the groups let go */
    wait_received(b, 7 - held);
}

static void caches_that_keep_everything_do_not_stop_reading_for_good(void **state)
{
    struct fixture *f = *state;
    struct tnode *a = node_open(f, 0, 0);
    struct tnode *b = node_open(f, 1, 1);
    struct buf *kept = buf_new(f->pool, 1000);

    dial(a, b);
    wait_up(a, b);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 5, (const uint8_t *)"x", 1, NULL, 0), 0);
    wait_received(b, 1);
    buf_release(kept);
}

static void closing_with_everything_under_way(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;

    pair_open(f, &a, &b);
    assert_int_equal(transport_peer_set(a->t, 3, "127.0.0.1:1"), 0);
    for (int i = 0; i < 10; i++) {
        struct entry *entry = test_entry(f->pool, 1, (uint64_t)i, 4u << 20);
        assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 1, (const uint8_t *)"x", 1, &entry, 1), 0);
        entry_release(entry);
    }
    node_close(a);
    node_close(b);
}

static void abandoning_frees_everything(void **state)
{
    struct fixture *f = *state;
    struct tnode *a, *b;
    struct entry *entry = test_entry(f->pool, 1, 1, 5000);

    pair_open(f, &a, &b);
    assert_int_equal(transport_send(a->t, 2, TRANSPORT_DATA, 1, (const uint8_t *)"x", 1, &entry, 1), 0);
    entry_release(entry);
    /* The loop is gone first, as after a crash. */
    env_hook_remove(&f->hook);
    env_uv_free(f->env);
    transport_abandon(a->t);
    transport_abandon(b->t);
    a->t = b->t = NULL;
    assert_int_equal(env_uv_new(&(struct env_uv_params){.logger = &f->logger}, &f->env), 0);
    env_hook_add(f->env, &f->hook);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(messages_and_entries_arrive_in_order),
        fixture_test(five_thousand_messages_of_a_turn_are_one_frame),
        fixture_test(control_messages_arrive),
        fixture_test(what_has_no_link_is_refused_at_once),
        fixture_test(a_peer_that_comes_back_is_found_again),
        fixture_test(a_peer_moves),
        fixture_test(a_removed_peer_is_left_alone),
        fixture_test(another_cluster_is_refused),
        fixture_test(another_node_than_meant_is_refused),
        fixture_test(the_owner_decides_on_both_sides),
        fixture_test(a_lower_boot_counter_is_refused),
        fixture_test(links_are_made_anew_when_the_cluster_forms),
        fixture_test(the_data_queue_is_bounded),
        fixture_test(urgent_messages_pass_while_entries_wait_for_memory),
        fixture_test(caches_that_keep_everything_do_not_stop_reading_for_good),
        fixture_test(closing_with_everything_under_way),
        fixture_test(abandoning_frees_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
