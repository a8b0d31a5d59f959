/* From what is queued to bytes: flushes, checkpoints, headers. Loop thread, no I/O. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_encode.h"

#include "proto/base/mutant.h"

static const uint8_t zeros[WAL_BLOCK_SIZE];

int wal_staging_reserve(struct wal_flush *flush, size_t size)
{
    size_t capacity = flush->staging_capacity == 0 ? 64u << 10 : flush->staging_capacity;
    uint8_t *staging;

    if (size <= flush->staging_capacity) {
        return 0;
    }
    while (capacity < size) {
        capacity *= 2;
    }
    staging = aligned_alloc(ENV_DIRECT_ALIGN, capacity);
    if (staging == NULL) {
        return ERR_NOMEM;
    }
    free(flush->staging);
    flush->staging = staging;
    flush->staging_capacity = capacity;
    return 0;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static void record_init(struct wal_disk_record *r, uint8_t kind, const struct wal_group *g, uint32_t length)
{
    memset(r, 0, sizeof(*r));
    r->kind = kind;
    r->length = length;
    if (g != NULL) {
        r->group = g->group;
        r->replica = g->replica;
        r->incarnation = g->logged.incarnation;
    }
}

static size_t put_state(uint8_t *to, uint32_t seed, uint8_t kind, const struct wal_group *g)
{
    struct wal_disk_record *r = (struct wal_disk_record *)(void *)to;
    struct wal_disk_state *s = (struct wal_disk_state *)(void *)(r + 1);

    record_init(r, kind, g, sizeof(*s));
    memset(s, 0, sizeof(*s));
    s->term = g->logged.term;
    s->vote = kind == WAL_STATE && MUTANT(HARD_STATE_LOST_AT_RECYCLING) ? 0 : g->logged.vote;
    s->first = g->logged.first;
    s->last = g->logged.last;
    s->flags = g->logged.flags;
    wal_record_seal(r, seed, sizeof(*s));
    return sizeof(*r) + sizeof(*s);
}

size_t wal_put_entry_header(uint8_t *to, uint32_t seed, uint8_t kind, const struct wal_group *g,
                            const struct entry *entry)
{
    struct wal_disk_record *r = (struct wal_disk_record *)(void *)to;

    record_init(r, kind, g, ENTRY_HEADER_SIZE + entry->length);
    entry_encode_header(entry, (uint8_t *)(r + 1));
    wal_record_seal(r, seed, ENTRY_HEADER_SIZE);
    return WAL_ENTRY_OVERHEAD;
}

/* ---- planning ---------------------------------------------------------------------------------------------------- */

static int plan_group(struct wal *wal, struct wal_plan *plan, struct wal_group *g)
{
    struct wal_flush *flush = &wal->flush;

    if (g->flush_id == flush->id) {
        return 0;
    }
    if (flush->n_groups == flush->groups_capacity) {
        uint32_t capacity = flush->groups_capacity == 0 ? 64 : flush->groups_capacity * 2;
        struct wal_disk_group *groups = realloc(flush->groups, capacity * sizeof(groups[0]));
        if (groups == NULL) {
            return ERR_NOMEM;
        }
        flush->groups = groups;
        flush->groups_capacity = capacity;
    }
    g->flush_id = flush->id;
    g->flush_slot = flush->n_groups;
    flush->groups[flush->n_groups++] =
        (struct wal_disk_group){.group = g->group, .replica = g->replica, .index_min = UINT64_MAX, .index_max = 0};
    plan->bytes += sizeof(struct wal_disk_group);
    plan->staging += sizeof(struct wal_disk_group);
    /* Room for its range: encoding must not fail half-way. */
    return wal_file_note(wal->current, g, UINT64_MAX, 0);
}

static bool plan_head(const struct wal_write *write)
{
    const struct wal_write_impl *impl = wal_write_impl((struct wal_write *)(uintptr_t)write);

    switch (impl->op) {
    case WAL_OP_APPEND:
        return write->has_hard_state;
    case WAL_OP_COPY:
        return false;
    default:
        return true;
    }
}

/* As much of @write as fits: ERR_BUSY when that is not all of it. */
static int plan_write(struct wal *wal, struct wal_plan *plan, struct wal_write *write, uint64_t limit)
{
    const struct wal_write_impl *impl = wal_write_impl(write);
    const uint64_t head = wal_record_size(sizeof(struct wal_disk_state)); /* the largest of the small records */

    if (!impl->head_done && plan_head(write)) {
        if (plan->bytes + head + sizeof(struct wal_disk_group) > limit && plan->records > 0) {
            return ERR_BUSY;
        }
        plan->bytes += head;
        plan->staging += head;
        plan->records++;
    }
    if (write->group != NULL && plan_group(wal, plan, write->group) != 0) {
        return ERR_NOMEM;
    }
    plan->heads++;
    for (plan->cursor = impl->cursor; plan->cursor < write->n_entries; plan->cursor++) {
        uint32_t length = write->entries[plan->cursor]->length;
        uint64_t size = wal_entry_size(length);
        bool direct = length >= WAL_FLUSH_DIRECT_MIN;

        if (plan->records > 0 && (plan->bytes + size > limit || plan->directs + direct > WAL_FLUSH_DIRECTS_MAX)) {
            return ERR_BUSY;
        }
        plan->bytes += size;
        plan->staging += direct ? size - length + WAL_RECORD_ALIGN : size;
        plan->directs += direct;
        plan->records++;
    }
    return 0;
}

int wal_plan(struct wal *wal, struct wal_plan *plan, uint64_t limit)
{
    const uint64_t frame = sizeof(struct wal_disk_flush) + sizeof(struct wal_disk_groups);

    memset(plan, 0, sizeof(*plan));
    wal->flush.id++;
    wal->flush.n_groups = 0;
    plan->bytes = frame;
    plan->staging = frame;
    list_for_each(node, &wal->queue)
    {
        int rv = plan_write(wal, plan, list_entry(node, struct wal_write, link), limit);
        if (rv == ERR_BUSY) {
            break;
        }
        if (rv != 0) {
            return rv;
        }
        plan->whole++;
    }
    return wal_staging_reserve(&wal->flush, plan->staging);
}

/* ---- encoding ---------------------------------------------------------------------------------------------------- */

struct encoder {
    struct wal *wal;
    struct wal_file *file;
    struct wal_flush *flush;
    uint8_t *at;      /* in the staging buffer */
    uint8_t *segment; /* begin of what is not in an iovec yet */
    uint64_t position; /* in the file, of @at */
};

static void segment_end(struct encoder *e)
{
    if (e->at > e->segment) {
        assert(e->flush->n_iov < ENV_IOV_MAX);
        e->flush->iov[e->flush->n_iov++] = (struct iovec){e->segment, (size_t)(e->at - e->segment)};
        e->segment = e->at;
    }
}

static void advance(struct encoder *e, size_t n)
{
    e->at += n;
    e->position += n;
}

static void encode_state(struct encoder *e, uint8_t kind, const struct wal_group *g)
{
    advance(e, put_state(e->at, e->file->seed, kind, g));
    e->flush->n_records++;
}

static void encode_forget(struct encoder *e, const struct wal_group *g)
{
    struct wal_disk_record *r = (struct wal_disk_record *)(void *)e->at;

    record_init(r, WAL_FORGET, g, 0);
    wal_record_seal(r, e->file->seed, 0);
    advance(e, sizeof(*r));
    e->flush->n_records++;
}

static void encode_drop(struct encoder *e, uint64_t sequence)
{
    struct wal_disk_record *r = (struct wal_disk_record *)(void *)e->at;

    record_init(r, WAL_DROP, NULL, sizeof(sequence));
    memcpy(r + 1, &sequence, sizeof(sequence));
    wal_record_seal(r, e->file->seed, sizeof(sequence));
    advance(e, sizeof(*r) + sizeof(sequence));
    e->flush->n_records++;
}

static void encode_entry(struct encoder *e, uint8_t kind, struct wal_group *g, const struct entry *entry)
{
    struct wal_disk_group *listed = &e->flush->groups[g->flush_slot];
    size_t padding = (size_t)(wal_round_up(entry->length, WAL_RECORD_ALIGN) - entry->length);

    advance(e, wal_put_entry_header(e->at, e->file->seed, kind, g, entry));
    if (entry->length >= WAL_FLUSH_DIRECT_MIN) {
        segment_end(e);
        e->flush->iov[e->flush->n_iov++] = (struct iovec){(void *)(uintptr_t)entry->data, entry->length};
        e->position += entry->length;
        /* The padding begins the next segment, so that the record behind it is aligned in memory as it is on disk. */
        e->at += (WAL_RECORD_ALIGN - padding) % WAL_RECORD_ALIGN;
        e->segment = e->at;
    } else if (entry->length > 0) {
        memcpy(e->at, entry->data, entry->length);
        advance(e, entry->length);
    }
    memset(e->at, 0, padding);
    advance(e, padding);
    if (entry->index < listed->index_min) {
        listed->index_min = entry->index;
    }
    if (entry->index > listed->index_max) {
        listed->index_max = entry->index;
    }
    e->flush->n_records++;
}

static void encode_append(struct encoder *e, struct wal_group *g, struct entry *entry)
{
    uint64_t position = e->position;

    encode_entry(e, WAL_APPEND, g, entry);
    g->logged.last = entry->index;
    /* Unless it was replaced while it waited: then it is written, but dead. Until it is durable, readers find it in
     * memory. */
    if (wal_recent_at(&g->recent, g->index.last, entry->index) == entry) {
        struct wal_item *item = wal_index_at(&g->index, entry->index);
        wal_item_dead(e->wal, item);
        item->file = e->file->slot;
        item->position = (uint32_t)position;
        wal_item_alive(e->wal, item);
    }
}

static void encode_copy(struct encoder *e, struct wal_copy *copy, uint32_t i)
{
    struct wal_group *g = copy->write.group;
    struct entry *entry = copy->write.entries[i];
    struct wal_item *item = wal_index_at(&g->index, entry->index);
    struct wal_move *move = &copy->moves[i];
    uint64_t position = e->position;

    move->to_slot = WAL_AT_NONE;
    if (item == NULL || item->file != copy->slot || item->position != move->from) {
        return; /* replaced or trimmed since it was read */
    }
    encode_entry(e, WAL_COPY, g, entry);
    move->to_slot = e->file->slot;
    move->to = (uint32_t)position;
    /* Both places are alive until wal_copy_settle(). */
    wal_item_alive(e->wal, &(struct wal_item){.length = entry->length, .file = move->to_slot});
    e->wal->stats.bytes_carried += wal_entry_size(entry->length);
}

static void logged_hard_state(const struct wal_write *write)
{
    if (write->has_hard_state) {
        write->group->logged.term = write->term;
        write->group->logged.vote = write->vote;
    }
}

static void encode_head(struct encoder *e, struct wal_write *write)
{
    struct wal_write_impl *impl = wal_write_impl(write);
    struct wal_group *g = write->group;

    impl->head_done = true;
    switch ((enum wal_op)impl->op) {
    case WAL_OP_APPEND:
        if (write->has_hard_state) {
            logged_hard_state(write);
            encode_state(e, WAL_HARD_STATE, g);
        }
        break;
    case WAL_OP_CREATE:
        g->logged.incarnation = 1;
        g->logged.first = 1;
        g->logged.last = 0;
        g->logged.flags = impl->founder ? WAL_STATE_FOUNDER : 0;
        logged_hard_state(write);
        list_push_back(&e->wal->streamed, &g->link);
        e->wal->n_streamed++;
        wal_group_ref(g);
        encode_state(e, WAL_CREATED, g);
        break;
    case WAL_OP_INSTALL:
        g->logged.incarnation++;
        g->logged.first = impl->value;
        g->logged.last = impl->value - 1;
        logged_hard_state(write);
        encode_state(e, WAL_INSTALL, g);
        break;
    case WAL_OP_TRIM:
        g->logged.first = impl->value;
        encode_state(e, WAL_TRIM, g);
        break;
    case WAL_OP_DELETE:
        g->logged.flags |= WAL_STATE_TOMBSTONE;
        g->logged.first = g->logged.last + 1;
        encode_state(e, WAL_TOMBSTONE, g);
        break;
    case WAL_OP_DAMAGE:
        g->logged.flags |= WAL_STATE_DAMAGED;
        encode_state(e, WAL_HARD_STATE, g);
        break;
    case WAL_OP_FORGET:
        encode_forget(e, g);
        list_remove(&g->link);
        e->wal->n_streamed--;
        wal_group_unref(g); /* the queued write still has one */
        break;
    case WAL_OP_DROP:
        encode_drop(e, e->wal->slots[impl->value]->sequence);
        break;
    case WAL_OP_COPY:
        break;
    }
}

static void encode_entries(struct encoder *e, struct wal_write *write, uint32_t end)
{
    struct wal_write_impl *impl = wal_write_impl(write);

    for (; impl->cursor < end; impl->cursor++) {
        if (impl->op == WAL_OP_COPY) {
            encode_copy(e, container_of(write, struct wal_copy, write), impl->cursor);
        } else {
            encode_append(e, write->group, write->entries[impl->cursor]);
        }
    }
}

/* The list of groups and the header in front of it, now that everything behind them is known. */
static void encode_frame(struct wal_flush *flush, const struct wal_file *file, struct wal_name prev, uint16_t flags,
                         uint64_t length)
{
    struct wal_disk_flush *header = (struct wal_disk_flush *)(void *)flush->staging;
    struct wal_disk_groups *groups = (struct wal_disk_groups *)(void *)(header + 1);

    memset(header, 0, sizeof(*header) + sizeof(*groups));
    groups->magic = WAL_GROUPS_MAGIC;
    groups->n_groups = flush->n_groups;
    groups->flags = flags;
    groups->sequence = flush->name.sequence;
    groups->salt = file->salt;
    if (flush->n_groups > 0) {
        memcpy(groups + 1, flush->groups, flush->n_groups * sizeof(flush->groups[0]));
    }
    wal_groups_seal(groups);
    header->magic = WAL_FLUSH_MAGIC;
    header->version = WAL_FORMAT_VERSION;
    header->flags = flags;
    header->n_records = (uint32_t)flush->n_records;
    header->sequence = flush->name.sequence;
    header->file_sequence = file->sequence;
    header->salt = file->salt;
    header->position = flush->offset;
    header->prev_sequence = prev.sequence;
    header->prev_crc = prev.crc;
    header->n_groups = flush->n_groups;
    header->length = length;
    header->groups_crc = groups->crc;
    wal_flush_seal(header);
    flush->name.crc = header->crc;
}

static void note_ranges(struct wal *wal, struct wal_file *file)
{
    const struct wal_flush *flush = &wal->flush;

    for (uint32_t i = 0; i < flush->n_groups; i++) {
        const struct wal_disk_group *listed = &flush->groups[i];
        struct wal_group *g;
        if (listed->index_min > listed->index_max) {
            continue;
        }
        HASH_FIND(hh, wal->groups, &listed->group, sizeof(listed->group), g);
        /* A group forgotten and made anew meanwhile has no room reserved, and nothing alive in this flush. */
        if (g != NULL && g->range_file == file->sequence &&
            wal_file_note(file, g, listed->index_min, listed->index_max) != 0) {
            wal_fatal_nomem(wal);
        }
    }
}

void wal_encode_flush(struct wal *wal, const struct wal_plan *plan, uint16_t flags)
{
    struct wal_flush *flush = &wal->flush;
    struct wal_file *file = wal->current;
    struct encoder e = {.wal = wal, .file = file, .flush = flush};
    size_t frame;
    uint64_t length;

    frame = sizeof(struct wal_disk_flush) + sizeof(struct wal_disk_groups) +
            flush->n_groups * sizeof(struct wal_disk_group);
    flush->file = file;
    flush->offset = file->end;
    flush->n_iov = 0;
    flush->n_records = 0;
    flush->is_switch = false;
    flush->name = (struct wal_name){.sequence = wal->chain.sequence + 1};
    e.segment = flush->staging;
    e.at = flush->staging;
    e.position = flush->offset;
    advance(&e, frame);

    for (uint32_t i = 0; i < plan->heads; i++) {
        struct wal_write *write = list_entry(wal->queue.next, struct wal_write, link);
        struct wal_write_impl *impl = wal_write_impl(write);
        if (!impl->head_done) {
            encode_head(&e, write);
        }
        if (i < plan->whole) {
            encode_entries(&e, write, write->n_entries);
            wal->n_eager -= !wal_op_lazy(impl->op);
            list_remove(&write->link);
            list_push_back(&flush->done, &write->link);
        } else {
            encode_entries(&e, write, plan->cursor);
        }
    }
    assert((size_t)(e.at - flush->staging) <= plan->staging);
    segment_end(&e);
    length = e.position - flush->offset;
    encode_frame(flush, file, wal->chain, flags, length);
    flush->size = wal_round_up(length, WAL_BLOCK_SIZE);
    if (flush->size > length) {
        assert(flush->n_iov < ENV_IOV_MAX);
        flush->iov[flush->n_iov++] = (struct iovec){(void *)(uintptr_t)zeros, (size_t)(flush->size - length)};
    }
    note_ranges(wal, file);
    wal->chain = flush->name;
    file->end += flush->size;
    file->last = flush->name;
}

/* ---- a new file -------------------------------------------------------------------------------------------------- */

static void encode_file_header(const struct wal *wal, const struct wal_file *file, struct wal_name prev, uint8_t *block)
{
    struct wal_disk_file *h = (struct wal_disk_file *)(void *)block;

    memset(block, 0, WAL_BLOCK_SIZE);
    h->magic = WAL_FILE_MAGIC;
    h->version = WAL_FORMAT_VERSION;
    h->shard = wal->params.shard;
    h->uuid = wal->uuid;
    h->sequence = file->sequence;
    h->generation = file->generation;
    h->prev_sequence = prev.sequence;
    h->prev_crc = prev.crc;
    wal_file_seal_header(h);
}

static size_t put_files(const struct wal *wal, const struct wal_file *begun, uint8_t *to, uint32_t n_files)
{
    struct wal_disk_record *r = (struct wal_disk_record *)(void *)to;
    struct wal_disk_live *live = (struct wal_disk_live *)(void *)((uint8_t *)(r + 1) + sizeof(wal->uuid));
    size_t body = sizeof(wal->uuid) + n_files * sizeof(*live);
    uint32_t n = 0;

    record_init(r, WAL_FILES, NULL, (uint32_t)body);
    memcpy(r + 1, &wal->uuid, sizeof(wal->uuid));
    for (uint32_t s = 0; s < wal->n_slots; s++) {
        const struct wal_file *f = wal->slots[s];
        if (f == NULL || f == begun || f->state == WAL_FILE_DROPPED) {
            continue;
        }
        live[n++] = (struct wal_disk_live){.sequence = f->sequence,
                                           .end_sequence = f->last.sequence,
                                           .end_crc = f->last.crc,
                                           .damages = f->damages};
    }
    assert(n == n_files);
    wal_record_seal(r, begun->seed, body);
    return sizeof(*r) + body;
}

size_t wal_checkpoint_size(size_t n_files, size_t n_groups)
{
    size_t size = sizeof(struct wal_disk_flush) + sizeof(struct wal_disk_groups);

    size += wal_record_size(sizeof(struct uuid) + n_files * sizeof(struct wal_disk_live));
    size += n_groups * wal_record_size(sizeof(struct wal_disk_state));
    return wal_round_up(size, WAL_BLOCK_SIZE);
}

int wal_encode_begin(struct wal *wal, struct wal_file *file, uint64_t sequence, struct wal_name prev)
{
    struct wal_flush *flush = &wal->flush;
    const size_t frame = sizeof(struct wal_disk_flush) + sizeof(struct wal_disk_groups);
    uint32_t n_files = 0;
    size_t size;
    uint8_t *at;

    for (uint32_t s = 0; s < wal->n_slots; s++) {
        const struct wal_file *f = wal->slots[s];
        n_files += f != NULL && f != file && f->state != WAL_FILE_DROPPED;
    }
    size = wal_checkpoint_size(n_files, wal->n_streamed);
    if (wal_staging_reserve(flush, size + WAL_BLOCK_SIZE) != 0) {
        return ERR_NOMEM;
    }
    /* The flush first, where encode_frame() has it; the file's header behind it in memory, in front of it in the file. */
    at = flush->staging + frame;
    at += put_files(wal, file, at, n_files);
    flush->n_records = 1;
    list_for_each(node, &wal->streamed)
    {
        struct wal_group *g = list_entry(node, struct wal_group, link);
        at += put_state(at, file->seed, WAL_STATE, g);
        flush->n_records++;
    }
    assert((size_t)(at - flush->staging) <= size);
    memset(at, 0, size - (size_t)(at - flush->staging));
    flush->file = file;
    flush->offset = WAL_BLOCK_SIZE;
    flush->n_groups = 0;
    flush->name = (struct wal_name){.sequence = sequence};
    encode_frame(flush, file, prev, WAL_FLUSH_CHECKPOINT, (uint64_t)(at - flush->staging));
    encode_file_header(wal, file, prev, flush->staging + size);
    flush->iov[0] = (struct iovec){flush->staging + size, WAL_BLOCK_SIZE};
    flush->iov[1] = (struct iovec){flush->staging, size};
    flush->n_iov = 2;
    flush->offset = 0;
    flush->size = WAL_BLOCK_SIZE + size;
    flush->is_switch = true;
    wal->chain = flush->name;
    file->end = flush->size;
    file->fresh_end = flush->size;
    file->last = flush->name;
    return 0;
}
