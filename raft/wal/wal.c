/* The shard log's calls: groups, the queue, the cache of recent entries, opening and closing. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_internal.h"

void wal_fatal_nomem(struct wal *wal)
{
    env_fatal(wal->env, "shard log: out of memory");
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

struct wal_group *wal_group_new(struct wal *wal, uint64_t group, uint64_t replica)
{
    struct wal_group *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return NULL;
    }
    g->group = group;
    g->replica = replica;
    g->refs = 1;
    g->recent.first = UINT64_MAX;
    list_init(&g->link);
    (void)wal_index_reset(&g->index, 1);
    HASH_ADD(hh, wal->groups, group, sizeof(g->group), g);
    if (g->hh.tbl == NULL) {
        free(g);
        return NULL;
    }
    return g;
}

void wal_group_ref(struct wal_group *g)
{
    g->refs++;
}

void wal_group_unref(struct wal_group *g)
{
    assert(g->refs > 0);
    if (--g->refs > 0) {
        return;
    }
    wal_index_close(&g->index);
    free(g->recent.ring);
    free(g);
}

struct wal_group *wal_group_find(struct wal *wal, uint64_t group)
{
    struct wal_group *g;

    HASH_FIND(hh, wal->groups, &group, sizeof(group), g);
    return g;
}

void wal_group_each(struct wal *wal, void (*each)(void *data, struct wal_group *g), void *data)
{
    struct wal_group *g;
    struct wal_group *next;

    HASH_ITER(hh, wal->groups, g, next)
    {
        each(data, g);
    }
}

void wal_group_info(const struct wal_group *g, struct wal_group_info *info)
{
    *info = (struct wal_group_info){.group = g->group,
                                    .replica = g->replica,
                                    .incarnation = g->now.incarnation,
                                    .term = g->now.term,
                                    .vote = g->now.vote,
                                    .first_index = g->index.first,
                                    .last_index = g->index.last,
                                    .founder = (g->now.flags & WAL_STATE_FOUNDER) != 0,
                                    .damaged = (g->now.flags & WAL_STATE_DAMAGED) != 0,
                                    .tombstone = (g->now.flags & WAL_STATE_TOMBSTONE) != 0};
}

uint64_t wal_group_term(const struct wal_group *g, uint64_t index)
{
    const struct wal_item *item = wal_index_at(&g->index, index);
    return item == NULL ? 0 : item->term;
}

uint8_t wal_group_kind(const struct wal_group *g, uint64_t index)
{
    const struct wal_item *item = wal_index_at(&g->index, index);
    return item == NULL ? 0 : item->kind;
}

uint32_t wal_group_length(const struct wal_group *g, uint64_t index)
{
    const struct wal_item *item = wal_index_at(&g->index, index);
    return item == NULL ? 0 : item->length;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

void wal_enqueue(struct wal *wal, struct wal_write *write, enum wal_op op)
{
    struct wal_write_impl *impl = wal_write_impl(write);

    assert(!wal->closing || op == WAL_OP_COPY || op == WAL_OP_DROP);
    impl->op = (uint8_t)op;
    impl->head_done = false;
    impl->cursor = 0;
    list_push_back(&wal->queue, &write->link);
    wal->queue_bytes += wal_record_size(sizeof(struct wal_disk_state));
    for (uint32_t i = 0; i < write->n_entries; i++) {
        wal->queue_bytes += wal_entry_size(write->entries[i]->length);
    }
    if (write->group != NULL) {
        wal_group_ref(write->group);
    }
    if (!wal_op_lazy(impl->op)) {
        wal->n_eager++;
        env_wake(wal->env);
    } else if (!timer_active(&wal->closing_timer)) {
        env_timer_start(wal->env, &wal->closing_timer, WAL_CLOSING_DELAY_MS);
    }
}

/* What a write changes for the accessors and readers, at once. */
static void apply_now(struct wal *wal, struct wal_write *write)
{
    struct wal_group *g = write->group;

    if (write->has_hard_state) {
        g->now.term = write->term;
        g->now.vote = write->vote;
    }
    if (write->n_entries == 0) {
        return;
    }
    assert(write->entries[0]->index >= g->index.first && write->entries[0]->index <= g->index.last + 1);
    wal_group_drop_above(wal, g, write->entries[0]->index - 1);
    for (uint32_t i = 0; i < write->n_entries; i++) {
        struct entry *entry = write->entries[i];
        struct wal_item *item;
        assert(entry->index == g->index.last + 1 && entry->group == g->group);
        if (wal_index_push(&g->index, &item) != 0 || wal_recent_push(&g->recent, g->index.last, entry) != 0) {
            wal_fatal_nomem(wal);
        }
        *item = (struct wal_item){
            .term = entry->term, .length = entry->length, .file = WAL_AT_QUEUE, .kind = entry->kind};
        wal_cache_push(wal, g, entry);
    }
}

int wal_group_create(struct wal *wal, uint64_t group, uint64_t replica, bool founder, struct wal_write *write,
                     struct wal_group **out)
{
    struct wal_group *g;

    if (wal_group_find(wal, group) != NULL) {
        return ERR_EXISTS;
    }
    g = wal_group_new(wal, group, replica);
    if (g == NULL) {
        return ERR_NOMEM;
    }
    g->now.incarnation = 1;
    g->now.flags = founder ? WAL_STATE_FOUNDER : 0;
    write->group = g;
    wal_write_impl(write)->founder = founder;
    apply_now(wal, write);
    wal_enqueue(wal, write, WAL_OP_CREATE);
    *out = g;
    return 0;
}

void wal_append(struct wal *wal, struct wal_write *write)
{
    assert(!(write->group->now.flags & WAL_STATE_TOMBSTONE));
    apply_now(wal, write);
    wal_enqueue(wal, write, WAL_OP_APPEND);
}

void wal_group_install(struct wal *wal, struct wal_group *g, uint64_t next_index, struct wal_write *write)
{
    assert(!(g->now.flags & WAL_STATE_TOMBSTONE) && write->n_entries == 0 && next_index > 0);
    write->group = g;
    g->now.incarnation++;
    wal_group_drop_all(wal, g, next_index);
    apply_now(wal, write);
    wal_write_impl(write)->value = next_index;
    wal_enqueue(wal, write, WAL_OP_INSTALL);
}

void wal_group_delete(struct wal *wal, struct wal_group *g, struct wal_write *write)
{
    assert(!(g->now.flags & WAL_STATE_TOMBSTONE));
    write->group = g;
    write->has_hard_state = false;
    write->n_entries = 0;
    g->now.flags |= WAL_STATE_TOMBSTONE;
    wal_group_drop_all(wal, g, g->index.last + 1);
    wal_enqueue(wal, write, WAL_OP_DELETE);
}

static void own_write_done(struct wal_write *write)
{
    free(write);
}

static struct wal_write *own_write_new(struct wal_group *g)
{
    struct wal_write *write = calloc(1, sizeof(*write));

    if (write != NULL) {
        write->group = g;
        write->done = own_write_done;
    }
    return write;
}

void wal_tombstone_forget(struct wal *wal, uint64_t group)
{
    struct wal_group *g = wal_group_find(wal, group);
    struct wal_write *write;

    if (g == NULL || !(g->now.flags & WAL_STATE_TOMBSTONE)) {
        return;
    }
    write = own_write_new(g);
    if (write == NULL) {
        return; /* the tombstone stays; it may be forgotten again */
    }
    wal_enqueue(wal, write, WAL_OP_FORGET);
    HASH_DEL(wal->groups, g);
    wal_group_unref(g);
}

void wal_group_trim(struct wal *wal, struct wal_group *g, uint64_t index)
{
    struct wal_write *write;

    if (index > g->index.last + 1) {
        index = g->index.last + 1;
    }
    if (index <= g->index.first || (g->now.flags & WAL_STATE_TOMBSTONE)) {
        return;
    }
    write = own_write_new(g);
    if (write == NULL) {
        return; /* the next trim does this one's work as well */
    }
    wal_group_drop_below(wal, g, index);
    wal_write_impl(write)->value = index;
    wal_enqueue(wal, write, WAL_OP_TRIM);
}

void wal_group_damage(struct wal *wal, struct wal_group *g)
{
    struct wal_write *write;

    if ((g->now.flags & (WAL_STATE_DAMAGED | WAL_STATE_TOMBSTONE)) != 0 || wal->closing) {
        return;
    }
    g->now.flags |= WAL_STATE_DAMAGED;
    write = own_write_new(g);
    if (write == NULL) {
        wal_fatal_nomem(wal);
    }
    wal_enqueue(wal, write, WAL_OP_DAMAGE);
}

int wal_accepts(const struct wal *wal)
{
    uint64_t used = wal->stats.bytes_total - wal->n_ready * wal->params.file_size_bytes;

    if (wal->params.size_max_bytes > 0 && used + wal->params.reserve_bytes > wal->params.size_max_bytes) {
        return ERR_NO_SPACE;
    }
    return wal->disk_free < wal->params.reserve_bytes ? ERR_NO_SPACE : 0;
}

void wal_stats(const struct wal *wal, struct wal_stats *stats)
{
    *stats = wal->stats;
    stats->files = 0;
    for (uint32_t s = 0; s < wal->n_slots; s++) {
        stats->files += wal->slots[s] != NULL;
    }
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

void wal_hook_run(struct env_hook *hook)
{
    struct wal *wal = container_of(hook, struct wal, hook);

    if (!wal->started) {
        wal->started = true;
        wal_prepare_next(wal);
    }
    if (!wal->stalled) {
        wal_flush_start(wal, true);
    }
    wal_read_answer_unfounded(wal);
    if (wal->reclaim_due) {
        wal_reclaim(wal);
    }
    wal_carry_step(wal);
    if (wal->closing) {
        wal_maybe_closed(wal);
    }
}

static bool params_allowed(const struct wal_params *p)
{
    return p->file_size_bytes >= WAL_FILE_SIZE_MIN && p->file_size_bytes <= WAL_FILE_SIZE_MAX &&
           p->file_size_bytes % WAL_BLOCK_SIZE == 0 && strlen(p->dir) < ENV_PATH_MAX - 64;
}

int wal_open(const struct wal_params *params, struct wal **out, struct wal_recovery *recovery, char *errmsg)
{
    struct wal *wal;
    int rv;

    memset(recovery, 0, sizeof(*recovery));
    if (!params_allowed(params)) {
        snprintf(errmsg, ERRMSG_SIZE, "shard log: file size %llu or directory name not allowed",
                 (unsigned long long)params->file_size_bytes);
        return ERR_INVALID;
    }
    wal = calloc(1, sizeof(*wal));
    if (wal == NULL) {
        goto err_memory;
    }
    wal->params = *params;
    wal->env = params->env;
    wal->flush.wal = wal;
    wal->inline_max_bytes = params->inline_max_bytes == 0 ? WAL_INLINE_MAX_BYTES : params->inline_max_bytes;
    wal->disk_free = UINT64_MAX;
    list_init(&wal->streamed);
    list_init(&wal->queue);
    list_init(&wal->unfounded);
    list_init(&wal->job_list);
    list_init(&wal->flush.done);
    list_init(&wal->completing);
    timer_init(&wal->closing_timer, wal_closing_fire);
    timer_init(&wal->tick, wal_tick_fire);
    wal->dir = strdup(params->dir);
    if (wal->dir == NULL) {
        goto err_after_alloc;
    }
    wal->params.dir = wal->dir;
    rv = wal_recover(wal, recovery, errmsg);
    if (rv != 0) {
        wal_free(wal);
        return rv;
    }
    wal->hook.run = wal_hook_run;
    env_hook_add_at(wal->env, &wal->hook, ENV_PHASE_FLUSH);
    wal->switched_ns = env_now_ns(wal->env);
    wal->file_took_ns = UINT64_MAX;
    wal->reclaim_due = true;
    env_timer_start(wal->env, &wal->tick, WAL_TICK_MS);
    env_timer_start(wal->env, &wal->closing_timer, WAL_CLOSING_DELAY_MS);
    env_wake(wal->env);
    *out = wal;
    return 0;

err_after_alloc:
    free(wal);
err_memory:
    snprintf(errmsg, ERRMSG_SIZE, "shard log: out of memory");
    return ERR_NOMEM;
}

void wal_own_writes_free(struct wal *wal)
{
    struct list *queues[] = {&wal->queue, &wal->flush.done, &wal->completing};

    if (wal->completing_group != NULL) {
        wal_group_unref(wal->completing_group);
    }
    for (size_t q = 0; q < 3; q++) {
        list_for_each_safe(node, queues[q])
        {
            struct wal_write *write = list_entry(node, struct wal_write, link);
            uint8_t op = wal_write_impl(write)->op;
            list_remove(node);
            if (write->group != NULL) {
                wal_group_unref(write->group);
            }
            if (op == WAL_OP_COPY) {
                wal_copy_free(container_of(write, struct wal_copy, write));
            } else if (wal_op_lazy(op)) {
                free(write);
            }
        }
    }
}

static void group_free_all(struct wal *wal)
{
    struct wal_group *g;
    struct wal_group *next;
    struct list *node;

    while (wal->fifo_count > 0) {
        wal_group_unref(wal->fifo[wal->fifo_begin].group);
        wal->fifo_begin = (wal->fifo_begin + 1) & (wal->fifo_capacity - 1);
        wal->fifo_count--;
    }
    while ((node = list_pop_front(&wal->streamed)) != NULL) {
        wal_group_unref(list_entry(node, struct wal_group, link));
    }
    HASH_ITER(hh, wal->groups, g, next)
    {
        HASH_DEL(wal->groups, g);
        wal_group_unref(g);
    }
}

/* Recent entries go while the groups are still there; the queue's own writes are ours to free. */
static void own_free_all(struct wal *wal)
{
    struct wal_group *g;
    struct wal_group *next;

    HASH_ITER(hh, wal->groups, g, next)
    {
        wal_cache_forget(wal, g);
    }
    wal_own_writes_free(wal);
}

void wal_free(struct wal *wal)
{
    own_free_all(wal);
    group_free_all(wal);
    for (uint32_t s = 0; s < wal->n_slots; s++) {
        if (wal->slots[s] != NULL) {
            wal_file_free(wal, wal->slots[s]);
        }
    }
    if (wal->next != NULL) {
        wal_file_free(wal, wal->next);
    }
    free(wal->slots);
    free(wal->fifo);
    free(wal->flush.staging);
    free(wal->flush.groups);
    free(wal->dir);
    free(wal);
}

void wal_abandon(struct wal *wal)
{
    env_hook_remove(&wal->hook);
    env_timer_stop(wal->env, &wal->closing_timer);
    env_timer_stop(wal->env, &wal->tick);
    wal_jobs_abandon(wal);
    wal_free(wal);
}

void wal_close(struct wal *wal, void (*closed)(void *data), void *data)
{
    assert(!wal->closing);
    wal->closing = true;
    wal->closed = closed;
    wal->closed_data = data;
    env_wake(wal->env);
}

/* At the end of a turn. */
void wal_maybe_closed(struct wal *wal)
{
    if (wal->flush.running || wal->stalled || wal->jobs > 0) {
        return;
    }
    if (!wal->closed_off || !list_empty(&wal->queue)) {
        wal_flush_close_off(wal);
        return;
    }
    void (*closed)(void *data) = wal->closed;
    void *data = wal->closed_data;
    env_hook_remove(&wal->hook);
    env_timer_stop(wal->env, &wal->closing_timer);
    env_timer_stop(wal->env, &wal->tick);
    wal_free(wal);
    closed(data);
}
