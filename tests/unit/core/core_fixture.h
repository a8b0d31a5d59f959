/* One core, fed by hand: what it asked for is written down. */
#ifndef CAIRN_TESTS_UNIT_CORE_FIXTURE_H
#define CAIRN_TESTS_UNIT_CORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raft/core/core.h"

struct fixture {
    struct core *core;
    uint64_t now;
    struct core_write write; /* the last one; entries are not kept */
    uint64_t writes;
    struct core_message sent[64];
    size_t n_sent;
    uint64_t commit;
    unsigned states;
};

static void f_persist(struct core *core, const struct core_write *write)
{
    struct fixture *f = core_data(core);
    f->write = *write;
    f->writes++;
}

static void f_send(struct core *core, const struct core_message *message)
{
    struct fixture *f = core_data(core);
    if (f->n_sent < 64) {
        f->sent[f->n_sent++] = *message;
    }
}

static void f_commit(struct core *core, uint64_t index)
{
    struct fixture *f = core_data(core);
    assert_true(index > f->commit);
    f->commit = index;
}

static void f_state(struct core *core)
{
    struct fixture *f = core_data(core);
    f->states++;
}

static const struct core_ops f_ops = {f_persist, f_send, f_commit, f_state};

static inline struct entry *f_config_entry(uint64_t index, uint64_t term, unsigned voters, unsigned learners)
{
    struct core_config config = {.n = 0};
    struct entry *e;
    for (unsigned i = 1; i <= voters + learners; i++) {
        char address[CORE_ADDRESS_SIZE];
        snprintf(address, sizeof address, "n.%u", i);
        assert_int_equal(core_config_add(&config, i, CORE_VOTER, address), 0);
    }
    assert_int_equal(core_bootstrap_entry(7, &config, &e), 0);
    if (learners > 0) { /* the role is the last byte before the padding of each member: encode again */
        struct buf *buf;
        for (unsigned i = voters; i < voters + learners; i++) {
            config.members[i].role = CORE_LEARNER;
        }
        entry_release(e);
        buf = buf_new(NULL, core_config_encoded_size(&config));
        assert_int_equal(core_config_encode(&config, buf->data, core_config_encoded_size(&config)), 0);
        e = entry_new(ENTRY_CHANGE, buf, buf->data, (uint32_t)core_config_encoded_size(&config));
        buf_release(buf);
    }
    e->index = index;
    e->term = term;
    return e;
}

static inline struct entry *f_command(uint64_t index, uint64_t term)
{
    struct buf *buf = buf_new(NULL, 8);
    struct entry *e;
    memset(buf->data, 0x5a, 8);
    e = entry_new(ENTRY_COMMAND, buf, buf->data, 8);
    buf_release(buf);
    e->index = index;
    e->term = term;
    return e;
}

/* Replica 1 of a group of @voters founders, right after its founding, or with a log of entries 2..@last of term 1. */
static inline void f_open(struct fixture *f, unsigned voters, uint64_t last)
{
    struct entry *bootstrap = f_config_entry(1, 1, voters, 0);
    struct core_run run = {last, 1};
    struct core_start start = {
        .group = 7, .replica = 1, .address = "n.1", .random_seed = 1, .now_ms = &f->now, .term = 1, .first = 1};

    memset(f, 0, sizeof *f);
    f->now = 1000;
    start.runs = &run;
    start.n_runs = 1;
    start.changes = &bootstrap;
    start.n_changes = 1;
    assert_int_equal(core_open(&start, &f_ops, f, &f->core), 0);
    entry_release(bootstrap);
}

/* A replica that has nothing yet. */
static inline void f_open_blank(struct fixture *f)
{
    struct core_start start = {.group = 7, .replica = 1, .address = "n.1", .random_seed = 1, .now_ms = &f->now};
    memset(f, 0, sizeof *f);
    f->now = 1000;
    assert_int_equal(core_open(&start, &f_ops, f, &f->core), 0);
}

static inline void f_durable(struct fixture *f)
{
    assert_int_equal(core_persisted(f->core, f->writes), 0);
}

static inline struct core_message f_message(uint8_t type, uint64_t from, uint64_t term)
{
    struct core_message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    m.from = from;
    m.to = 1;
    m.term = term;
    return m;
}

/* AppendEntries of leader 2 with @n entries from @entries; releases them. */
static inline int f_append(struct fixture *f, uint64_t term, uint64_t prev, uint64_t prev_term, uint64_t commit,
                           struct entry **entries, uint32_t n)
{
    struct core_message m = f_message(CORE_APPEND, 2, term);
    int rv;
    m.append.prev_index = prev;
    m.append.prev_term = prev_term;
    m.append.commit = commit;
    m.append.n = n;
    rv = core_receive(f->core, &m, entries);
    for (uint32_t i = 0; i < n; i++) {
        entry_release(entries[i]);
    }
    return rv;
}

/* Make replica 1 of three the leader of term 2; its barrier is entry @last + 1, durable here and at 2. */
static inline void f_lead(struct fixture *f)
{
    struct core_message m;
    struct core_message result;
    f->now = core_timeout_ms(f->core);
    assert_int_equal(core_tick(f->core), 0);
    assert_int_equal(core_role(f->core), CORE_CANDIDATE);
    m = f_message(CORE_VOTE_RESULT, 2, 2);
    m.version = 2;
    m.vote_result.granted = true;
    m.vote_result.pre_vote = true;
    assert_int_equal(core_receive(f->core, &m, NULL), 0);
    f_durable(f);
    m.vote_result.pre_vote = false;
    assert_int_equal(core_receive(f->core, &m, NULL), 0);
    assert_int_equal(core_role(f->core), CORE_LEADER);
    f_durable(f);
    result = f_message(CORE_APPEND_RESULT, 2, 2);
    result.version = 2;
    result.append_result.last = core_last(f->core);
    assert_int_equal(core_receive(f->core, &result, NULL), 0);
    assert_true(core_leader_ready(f->core));
    f->n_sent = 0;
}

#endif
