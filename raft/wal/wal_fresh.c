/* The fresh file that ends every recovery: a checkpoint, and what may not have been durable, written anew and synced. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"
#include "raft/wal/wal_encode.h"
#include "raft/wal/wal_recover.h"

struct tail_copy {
    struct recover *recover;
    struct buf *buf;
    const uint8_t *from; /* the flush in the image; the same bytes lie in @buf */
    struct wal_copy *copy; /* of the group whose records come */
    int status;
};

static void copy_done(struct wal_write *write)
{
    struct wal_copy *copy = container_of(write, struct wal_copy, write);

    wal_copy_settle(copy);
    wal_copy_free(copy);
}

static struct wal_copy *copy_new(struct wal *wal, struct wal_group *g, uint32_t slot)
{
    struct wal_copy *copy = calloc(1, sizeof(*copy));

    if (copy == NULL) {
        return NULL;
    }
    copy->wal = wal;
    copy->slot = slot;
    copy->write.group = g;
    copy->write.done = copy_done;
    copy->write.entries = malloc(sizeof(struct entry *));
    copy->moves = calloc(1, sizeof(copy->moves[0]));
    if (copy->write.entries == NULL || copy->moves == NULL) {
        wal_copy_free(copy);
        return NULL;
    }
    return copy;
}

/* Each live entry of the last flush becomes a COPY in the queue. */
static void copy_record(void *data, const struct wal_disk_record *record, const uint8_t *body, uint64_t position,
                        bool payload_ok)
{
    struct tail_copy *tail = data;
    struct wal *wal = tail->recover->wal;
    uint32_t slot = tail->recover->found[tail->recover->tail].file->slot;
    struct wal_group *g = wal_group_find(wal, record->group);
    const struct wal_item *item;
    struct wal_copy *copy;
    struct entry header;
    uint8_t *at;

    if (!wal_kind_has_entry(record->kind) || g == NULL || entry_decode_header(body, &header) != 0 || tail->status != 0) {
        return;
    }
    item = wal_index_at(&g->index, header.index);
    if (item == NULL || item->file != slot || item->position != position) {
        return;
    }
    copy = copy_new(wal, g, slot);
    if (copy == NULL) {
        tail->status = ERR_NOMEM;
        return;
    }
    at = tail->buf->data + (body - tail->from);
    tail->status = entry_decode(at, tail->buf, at + ENTRY_HEADER_SIZE, &copy->write.entries[0]);
    if (tail->status != 0) {
        wal_copy_free(copy);
        return;
    }
    copy->moves[0].from = (uint32_t)position;
    copy->write.n_entries = 1;
    wal_enqueue(wal, &copy->write, WAL_OP_COPY);
}

static int queue_tail(struct recover *r)
{
    struct tail_copy tail = {.recover = r};
    struct found *f = &r->found[r->tail];
    struct wal_scan scan;
    int rv;

    if (r->tail_position == WAL_BLOCK_SIZE || MUTANT(LAST_FLUSH_DROPPED)) {
        return 0; /* a checkpoint: the fresh file's own says the same */
    }
    rv = wal_recover_examine(r, f);
    if (rv != 0) {
        return rv;
    }
    wal_scan_init(&scan, &r->image, f->sequence, &f->identity);
    scan.at = r->tail_position;
    scan.chain = r->tail_prev;
    scan.chain_any = false;
    if (wal_scan_next(&scan) != WAL_SCAN_FLUSH) {
        return wal_recover_fail(r, ERR_IO, "the last flush reads differently now", f->sequence);
    }
    tail.from = r->image.data + scan.position;
    tail.buf = buf_new(NULL, scan.header.length);
    if (tail.buf == NULL) {
        return ERR_NOMEM;
    }
    memcpy(tail.buf->data, tail.from, scan.header.length);
    wal_scan_records(&scan, false, copy_record, &tail);
    buf_release(tail.buf);
    return tail.status;
}

static int write_flush(struct wal *wal)
{
    struct wal_flush *flush = &wal->flush;
    struct list *node;
    int rv;

    rv = env_file_write(wal->env, flush->file->file, flush->iov, flush->n_iov, flush->offset, ENV_SYNC_NONE);
    while ((node = list_pop_front(&flush->done)) != NULL) {
        struct wal_write *write = list_entry(node, struct wal_write, link);
        struct wal_group *g = write->group;
        write->done(write);
        wal_group_unref(g);
    }
    return rv;
}

/* Files of which nothing is left take no part any more; neither does what never counted. */
static void forget_empty(struct recover *r)
{
    for (size_t i = 0; i < r->n_found; i++) {
        struct found *f = &r->found[i];
        if (f->file != NULL && (f->file->live_entries == 0 || f->file->state == WAL_FILE_DROPPED)) {
            r->wal->stats.bytes_total -= f->file->size;
            wal_file_remove(r->wal, f->file);
            wal_file_free(r->wal, f->file);
            f->file = NULL;
        }
    }
}

static int write_fresh(struct recover *r, struct wal_name prev, const char *path)
{
    struct wal *wal = r->wal;
    struct wal_file *file = wal->current;
    int rv;

    rv = env_file_open(wal->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file->file);
    if (rv != 0) {
        return rv;
    }
    rv = env_file_allocate(wal->env, file->file, file->size, false);
    if (rv == 0) {
        rv = wal_encode_begin(wal, file, prev.sequence + 1, prev);
    }
    if (rv == 0) {
        rv = write_flush(wal);
    }
    while (rv == 0 && !list_empty(&wal->queue)) {
        struct wal_plan plan;
        rv = wal_plan(wal, &plan, WAL_FLUSH_BYTES_MAX);
        if (rv == 0) {
            wal_encode_flush(wal, &plan, 0);
            rv = write_flush(wal);
        }
    }
    wal->queue_bytes = 0;
    if (rv == 0 && !MUTANT(RENAME_BEFORE_SYNC)) {
        rv = env_file_sync(wal->env, file->file);
    }
    return rv;
}

int wal_fresh_begin(struct recover *r, bool is_new)
{
    struct wal *wal = r->wal;
    struct wal_name prev = {0};
    char from[ENV_PATH_MAX];
    char to[ENV_PATH_MAX];
    int rv;

    if (!is_new) {
        prev = r->tail_prev;
        if (r->tail_position > WAL_BLOCK_SIZE && MUTANT(TRUST_PAGE_CACHE)) {
            prev = r->found[r->tail].file->last;
            r->tail_position = WAL_BLOCK_SIZE;
        }
        /* Where the tail's file ends now: in front of the flush that is written anew. */
        if (r->tail_position > WAL_BLOCK_SIZE) {
            r->found[r->tail].file->last = prev;
        }
        rv = queue_tail(r);
        if (rv != 0) {
            return wal_recover_fail(r, rv, "copy the last flush", r->found[r->tail].sequence);
        }
        forget_empty(r);
    }
    wal->current = wal_file_new(++wal->file_sequence_last, wal_file_size_due(wal));
    if (wal->current == NULL || wal_file_add(wal, wal->current) != 0) {
        return wal_recover_fail(r, ERR_NOMEM, "begin a file", wal->file_sequence_last);
    }
    wal->current->generation = env_random(wal->env);
    wal_file_set_salt(wal->current, wal_salt(&wal->uuid, wal->current->sequence, wal->current->generation));
    snprintf(from, sizeof(from), "%s/" RECOVERY_NAME, wal->dir);
    wal_path(wal, "wal", wal->current->sequence, to);
    rv = write_fresh(r, prev, from);
    if (rv == 0) {
        rv = env_path_rename(wal->env, from, to);
    }
    if (rv == 0 && !MUTANT(DIRECTORY_NOT_SYNCED)) {
        rv = env_dir_sync(wal->env, wal->dir);
    }
    if (rv != 0) {
        return wal_recover_fail(r, rv, "write a fresh file", wal->current->sequence);
    }
    wal->current->size = wal->current->end > wal->current->size ? wal->current->end : wal->current->size;
    wal->current->synced_end = wal->current->end;
    wal->stats.bytes_total += wal->current->size;
    return 0;
}

/* What does not count becomes a ready file or goes. Failures here cost space, nothing else. */
void wal_fresh_tidy_up(struct recover *r)
{
    struct wal *wal = r->wal;
    char from[ENV_PATH_MAX];
    char to[ENV_PATH_MAX];
    bool changed = false;

    for (size_t i = 0; i < r->n_found; i++) {
        struct found *f = &r->found[i];
        struct env_file *file;
        uint64_t size = 0;
        if (f->file != NULL) {
            continue;
        }
        wal_path(wal, f->ready ? "ready" : "wal", f->sequence, from);
        wal_path(wal, "ready", f->sequence, to);
        if (wal->n_ready < WAL_READY_FILES_MAX && env_file_open(wal->env, from, ENV_OPEN_READ, &file) == 0) {
            if (env_file_size(wal->env, file, &size) != 0) {
                size = 0;
            }
            env_file_close(wal->env, file);
        }
        if (size == wal->params.file_size_bytes &&
            (f->ready || env_path_rename(wal->env, from, to) == 0)) {
            wal->ready[wal->n_ready++] = f->sequence;
            wal->stats.bytes_total += size;
        } else if (env_path_unlink(wal->env, from) != 0) {
            log_event(wal->env->logger, LOG_WARN, "wal_leftover", "shard=%u name=%s", wal->params.shard, from);
        }
        changed = true;
    }
    if (changed && env_dir_sync(wal->env, wal->dir) != 0) {
        log_event(wal->env->logger, LOG_WARN, "wal_leftover", "shard=%u name=%s", wal->params.shard, wal->dir);
    }
}

int wal_fresh_open_files(struct recover *r)
{
    for (size_t i = 0; i < r->n_found; i++) {
        struct found *f = &r->found[i];
        char path[ENV_PATH_MAX];
        int rv;
        if (f->file == NULL) {
            continue;
        }
        wal_path(r->wal, "wal", f->sequence, path);
        rv = env_file_open(r->wal->env, path, ENV_OPEN_READ, &f->file->file);
        if (rv != 0) {
            return wal_recover_fail(r, rv, "open", f->sequence);
        }
    }
    return 0;
}
