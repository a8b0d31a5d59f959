#include "tests/unit/wal/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MAX (600 * SIM_S)

static void program_start(struct env *env, void *data)
{
    struct fx *fx = data;

    fx->params.env = env;
    fx->params.dir = FX_DIR;
    fx->params.pool = fx->pool;
    fx->wal = NULL;
    fx->open_status = wal_open(&fx->params, &fx->wal, &fx->recovery, fx->errmsg);
}

static void program_ended(struct sim_node *node, enum sim_end how, void *data)
{
    struct fx *fx = data;

    fx->ended = how;
    if (fx->wal != NULL) {
        wal_abandon(fx->wal);
        fx->wal = NULL;
    }
}

void fx_init(struct fx *fx, uint64_t seed)
{
    memset(fx, 0, sizeof(*fx));
    fx->world = sim_world_new(seed, NULL);
    fx->node = sim_node_new(fx->world, "n1");
    sim_node_make_dirs(fx->node, FX_DIR);
    fx->pool = buf_pool_new(4u << 20);
    assert_non_null(fx->pool);
    fx->params.shard = 3;
    fx->params.file_size_bytes = 256u << 10;
    fx->params.size_max_bytes = 64u << 20;
    fx->params.reserve_bytes = 1u << 20;
    fx->params.cache_max_bytes = 64u << 10;
}

void fx_free(struct fx *fx)
{
    sim_world_free(fx->world);
    buf_pool_free(fx->pool);
}

static void boot(struct fx *fx)
{
    struct sim_program program = {.start = program_start, .ended = program_ended, .data = fx};

    fx->ended = SIM_END_NONE;
    fx->open_status = -1;
    fx->closed = false;
    fx->wal = NULL;
    sim_node_start(fx->node, &program);
}

void fx_start_and_crash(struct fx *fx, uint64_t ops, enum sim_end how)
{
    boot(fx);
    sim_node_kill_at_op(fx->node, ops, how);
    sim_world_run_for(fx->world, 50 * SIM_MS);
    if (sim_node_running(fx->node)) {
        sim_node_kill(fx->node, how);
    }
}

void fx_start(struct fx *fx)
{
    boot(fx);
    while (fx->open_status == -1 && sim_node_running(fx->node)) {
        if (!sim_world_step(fx->world)) {
            break;
        }
    }
}

void fx_open(struct fx *fx)
{
    fx_start(fx);
    if (fx->open_status != 0) {
        print_error("%s\n", fx->errmsg);
    }
    assert_int_equal(fx->open_status, 0);
}

void fx_crash(struct fx *fx, enum sim_end how)
{
    sim_node_kill(fx->node, how);
}

void fx_reopen(struct fx *fx)
{
    fx_crash(fx, SIM_END_POWER);
    fx_open(fx);
}

static void closed(void *data)
{
    struct fx *fx = data;
    fx->closed = true;
    fx->wal = NULL;
}

static void close_call(struct fx *fx, void *arg)
{
    wal_close(fx->wal, closed, fx);
}

static bool is_closed(void *data)
{
    struct fx *fx = data;
    return fx->closed || !sim_node_running(fx->node);
}

void fx_close(struct fx *fx)
{
    assert_true(fx_call(fx, close_call, NULL));
    assert_true(sim_world_run_until_true(fx->world, is_closed, fx, WAIT_MAX));
    assert_true(fx->closed);
}

void fx_settle(struct fx *fx)
{
    sim_world_run_for(fx->world, 5 * SIM_S);
}

struct call {
    struct fx *fx;
    void (*fn)(struct fx *fx, void *arg);
    void *arg;
};

static void call_run(struct env *env, void *data)
{
    struct call *call = data;
    call->fn(call->fx, call->arg);
}

bool fx_call(struct fx *fx, void (*fn)(struct fx *fx, void *arg), void *arg)
{
    struct call call = {fx, fn, arg};
    return sim_node_call(fx->node, call_run, &call);
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static uint8_t byte_of(uint64_t group, uint64_t index, uint64_t term, uint32_t i)
{
    return (uint8_t)((group * 31 + index * 7 + term * 13 + i) * 0x9e3779b1u >> 24);
}

struct entry *fx_entry(struct fx *fx, uint64_t group, uint64_t index, uint64_t term, uint32_t size)
{
    struct buf *buf = buf_new(fx->pool, size);
    struct entry *entry;

    assert_non_null(buf);
    for (uint32_t i = 0; i < size; i++) {
        buf->data[i] = byte_of(group, index, term, i);
    }
    entry = entry_new(index % 5 == 0 ? ENTRY_COMMAND : ENTRY_BATCH, buf, buf->data, size);
    assert_non_null(entry);
    buf_release(buf);
    entry->group = group;
    entry->index = index;
    entry->term = term;
    entry->time_ms = (int64_t)index;
    return entry;
}

bool fx_entry_right(const struct entry *entry, uint64_t group, uint64_t index, uint64_t term)
{
    if (entry->group != group || entry->index != index || entry->term != term ||
        entry->kind != (index % 5 == 0 ? ENTRY_COMMAND : ENTRY_BATCH) || entry->time_ms != (int64_t)index) {
        return false;
    }
    for (uint32_t i = 0; i < entry->length; i++) {
        if (entry->data[i] != byte_of(group, index, term, i)) {
            return false;
        }
    }
    return true;
}

/* ---- writes ------------------------------------------------------------------------------------------------------ */



static void write_done(struct wal_write *write)
{
    struct fx_write *w = (struct fx_write *)(void *)write;
    assert_false(w->done);
    w->done = true;
    w->order = ++w->fx->completed;
}

struct fx_write *fx_write_new(struct fx *fx)
{
    struct fx_write *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->fx = fx;
    w->write.entries = w->entries;
    w->write.done = write_done;
    return w;
}

void fx_write_free(struct fx_write *w)
{
    for (uint32_t i = 0; i < FX_ENTRIES_MAX; i++) {
        entry_release(w->entries[i]);
    }
    free(w);
}

static bool write_is_done(void *data)
{
    struct fx_write *w = data;
    return w->done || !sim_node_running(w->fx->node);
}

bool fx_wait(struct fx *fx, struct fx_write *w)
{
    assert_true(sim_world_run_until_true(fx->world, write_is_done, w, WAIT_MAX));
    return w->done;
}

struct change {
    enum { CREATE, APPEND, DELETE, FORGET, INSTALL, TRIM } kind;
    uint64_t group;
    uint64_t replica;
    bool founder;
    uint64_t index;
    struct fx_write *w;
};

static void change_call(struct fx *fx, void *arg)
{
    struct change *c = arg;
    struct wal_group *g = wal_group_find(fx->wal, c->group);

    switch (c->kind) {
    case CREATE:
        assert_int_equal(wal_group_create(fx->wal, c->group, c->replica, c->founder, &c->w->write, &g), 0);
        break;
    case APPEND:
        c->w->write.group = g;
        wal_append(fx->wal, &c->w->write);
        break;
    case DELETE:
        wal_group_delete(fx->wal, g, &c->w->write);
        break;
    case FORGET:
        wal_tombstone_forget(fx->wal, c->group);
        break;
    case INSTALL:
        wal_group_install(fx->wal, g, c->index, &c->w->write);
        break;
    case TRIM:
        wal_group_trim(fx->wal, g, c->index);
        break;
    }
}

static void change(struct fx *fx, struct change c)
{
    c.w = fx_write_new(fx);
    assert_true(fx_call(fx, change_call, &c));
    if (c.kind != FORGET && c.kind != TRIM) {
        assert_true(fx_wait(fx, c.w));
    }
    fx_write_free(c.w);
}

void fx_create(struct fx *fx, uint64_t group, uint64_t replica, bool founder)
{
    change(fx, (struct change){.kind = CREATE, .group = group, .replica = replica, .founder = founder});
}

struct fx_write *fx_append_start(struct fx *fx, uint64_t group, uint64_t first, uint32_t n, uint64_t term,
                                 uint32_t size)
{
    struct fx_write *w = fx_write_new(fx);
    struct change c = {.kind = APPEND, .group = group, .w = w};

    for (uint32_t i = 0; i < n; i++) {
        w->entries[i] = fx_entry(fx, group, first + i, term, size);
    }
    w->write.n_entries = n;
    assert_true(fx_call(fx, change_call, &c));
    return w;
}

void fx_append(struct fx *fx, uint64_t group, uint64_t first, uint32_t n, uint64_t term, uint32_t size)
{
    while (n > 0) {
        uint32_t now = n < FX_ENTRIES_MAX ? n : FX_ENTRIES_MAX;
        struct fx_write *w = fx_append_start(fx, group, first, now, term, size);
        assert_true(fx_wait(fx, w));
        fx_write_free(w);
        first += now;
        n -= now;
    }
}

void fx_hard_state(struct fx *fx, uint64_t group, uint64_t term, uint64_t vote)
{
    struct change c = {.kind = APPEND, .group = group, .w = fx_write_new(fx)};

    c.w->write.has_hard_state = true;
    c.w->write.term = term;
    c.w->write.vote = vote;
    assert_true(fx_call(fx, change_call, &c));
    assert_true(fx_wait(fx, c.w));
    fx_write_free(c.w);
}

void fx_delete(struct fx *fx, uint64_t group)
{
    change(fx, (struct change){.kind = DELETE, .group = group});
}

void fx_forget(struct fx *fx, uint64_t group)
{
    change(fx, (struct change){.kind = FORGET, .group = group});
}

void fx_install(struct fx *fx, uint64_t group, uint64_t next)
{
    change(fx, (struct change){.kind = INSTALL, .group = group, .index = next});
}

void fx_trim(struct fx *fx, uint64_t group, uint64_t index)
{
    change(fx, (struct change){.kind = TRIM, .group = group, .index = index});
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

struct wal_group_info fx_info(struct fx *fx, uint64_t group)
{
    struct wal_group_info info = {0};
    struct wal_group *g = wal_group_find(fx->wal, group);

    if (g != NULL) {
        wal_group_info(g, &info);
    }
    return info;
}

struct reading {
    struct wal_read read;
    struct fx *fx;
    bool done;
    int status;
};

static void read_done(struct wal_read *read, int status)
{
    struct reading *r = (struct reading *)(void *)read;
    assert_false(r->done);
    r->done = true;
    r->status = status;
}

static void read_call(struct fx *fx, void *arg)
{
    struct reading *r = arg;
    if (wal_read(fx->wal, &r->read)) {
        r->done = true;
    }
}

static bool read_is_done(void *data)
{
    struct reading *r = data;
    return r->done || !sim_node_running(r->fx->node);
}

int fx_read(struct fx *fx, uint64_t group, uint64_t first, uint32_t n_max, uint32_t bytes_max, uint32_t *n)
{
    struct reading *r = calloc(1, sizeof(*r));
    uint64_t bytes = 0;
    int status;

    r->fx = fx;
    r->read = (struct wal_read){
        .group = group, .first = first, .n_max = n_max, .bytes_max = bytes_max, .done = read_done};
    assert_true(fx_call(fx, read_call, r));
    assert_true(sim_world_run_until_true(fx->world, read_is_done, r, WAIT_MAX));
    assert_true(r->done);
    status = r->status;
    *n = r->read.n;
    if (status == 0) {
        assert_true(*n >= 1 && *n <= n_max);
    } else {
        assert_int_equal(*n, 0);
    }
    for (uint32_t i = 0; i < *n; i++) {
        struct entry *entry = r->read.entries[i];
        bytes += entry->length;
        assert_true(fx_entry_right(entry, group, first + i, entry->term));
        entry_release(entry);
    }
    assert_true(*n <= 1 || bytes <= bytes_max);
    free(r->read.entries);
    free(r);
    return status;
}

void fx_assert_log(struct fx *fx, uint64_t group, uint64_t first, uint64_t last)
{
    struct wal_group_info info = fx_info(fx, group);

    assert_int_equal(info.group, group);
    assert_int_equal(info.first_index, first);
    assert_int_equal(info.last_index, last);
    for (uint64_t i = first; i <= last;) {
        uint32_t n;
        assert_int_equal(fx_read(fx, group, i, WAL_READ_ENTRIES_MAX, 1u << 20, &n), 0);
        i += n;
    }
}

struct wal_stats fx_stats(struct fx *fx)
{
    struct wal_stats stats;
    wal_stats(fx->wal, &stats);
    return stats;
}

struct names {
    char names[512][64];
    unsigned n;
};

static void add_name(void *data, const char *name)
{
    struct names *names = data;
    if (strncmp(name, "wal-", 4) == 0 && names->n < 512) {
        snprintf(names->names[names->n++], 64, "%s", name);
    }
}

static int compare_down(const void *a, const void *b)
{
    return strcmp(b, a);
}

bool fx_file(struct fx *fx, unsigned back, char *path)
{
    struct names *names = calloc(1, sizeof(*names));
    unsigned seen = 0;
    bool found = false;

    assert_true(sim_node_list(fx->node, FX_DIR, add_name, names));
    qsort(names->names, names->n, sizeof(names->names[0]), compare_down);
    for (unsigned i = 0; i < names->n && !found; i++) {
        uint8_t block[64];
        uint64_t sequence;
        snprintf(path, ENV_PATH_MAX, FX_DIR "/%s", names->names[i]);
        /* Not those that are prepared and not yet begun: their header is another's. */
        if (sim_node_file_peek(fx->node, path, 0, block, sizeof(block)) < sizeof(block)) {
            continue;
        }
        memcpy(&sequence, block + 32, sizeof(sequence));
        if (sequence == strtoull(names->names[i] + 4, NULL, 16)) {
            found = seen++ == back;
        }
    }
    free(names);
    return found;
}

void fx_flip(struct fx *fx, const char *path, uint64_t offset)
{
    assert_true(sim_node_flip_bit(fx->node, path, offset, (unsigned)(offset % 8)));
}
