/* Opening the log: which files count, what they say, and a fresh file that everything uncertain is written to and
 * synced in before anybody may act on it (I7).
 *
 * A crash at any point of this and another recovery give the same result: until the fresh file has its name, nothing of
 * the old ones is touched; from then on its checkpoint says which of them count, and up to which flush. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_encode.h"
#include "raft/wal/wal_replay.h"

#define RECOVERY_NAME "recovery.tmp"

struct found {
    uint64_t sequence;
    bool ready;    /* ready-*.log */
    bool examined; /* @identity says what the file itself says */
    struct wal_identity identity;
    struct wal_file *file; /* it counts: in its slot */
};

struct recover {
    struct wal *wal;
    struct wal_recovery *recovery;
    char *errmsg;
    struct found *found;
    size_t n_found;
    size_t found_capacity;
    int status; /* of listing */
    struct wal_image image;
    uint64_t image_sequence; /* which file it holds; 0: none */
    struct wal_replay replay;
    size_t base; /* in found: the newest file with a whole checkpoint */
    /* the last whole flush: all before it was synced, it itself perhaps not */
    size_t tail;
    uint64_t tail_position;
    struct wal_name tail_prev;
};

static int fail(struct recover *r, int rv, const char *what, uint64_t sequence)
{
    snprintf(r->errmsg, ERRMSG_SIZE, "shard log %u: %s (file %llu): %s", r->wal->params.shard, what,
             (unsigned long long)sequence, err_text(rv));
    return rv;
}

/* ---- which files there are --------------------------------------------------------------------------------------- */

static bool parse_name(const char *name, const char *kind, uint64_t *sequence)
{
    size_t n = strlen(kind);
    char *end;

    if (strncmp(name, kind, n) != 0 || name[n] != '-' || strlen(name) != n + 1 + 16 + 4) {
        return false;
    }
    *sequence = strtoull(name + n + 1, &end, 16);
    return strcmp(end, ".log") == 0 && *sequence > 0 && *sequence <= WAL_SEQUENCE_MAX;
}

static void list_name(void *data, const char *name)
{
    struct recover *r = data;
    struct found f = {0};

    f.ready = parse_name(name, "ready", &f.sequence);
    if (!f.ready && !parse_name(name, "wal", &f.sequence)) {
        return;
    }
    if (r->n_found == r->found_capacity) {
        size_t capacity = r->found_capacity == 0 ? 64 : r->found_capacity * 2;
        struct found *p = realloc(r->found, capacity * sizeof(p[0]));
        if (p == NULL) {
            r->status = ERR_NOMEM;
            return;
        }
        r->found = p;
        r->found_capacity = capacity;
    }
    r->found[r->n_found++] = f;
    if (f.sequence > r->wal->file_sequence_last) {
        r->wal->file_sequence_last = f.sequence;
    }
}

static int found_compare(const void *a, const void *b)
{
    const struct found *x = a;
    const struct found *y = b;

    if (x->sequence != y->sequence) {
        return x->sequence < y->sequence ? -1 : 1;
    }
    return (int)x->ready - (int)y->ready;
}

static int list_files(struct recover *r)
{
    struct wal *wal = r->wal;
    char path[ENV_PATH_MAX];
    int rv;

    rv = env_dir_list(wal->env, wal->dir, list_name, r);
    if (rv == 0) {
        rv = r->status;
    }
    if (rv != 0) {
        return fail(r, rv, "list the directory", 0);
    }
    if (r->n_found > 1) {
        qsort(r->found, r->n_found, sizeof(r->found[0]), found_compare);
    }
    snprintf(path, sizeof(path), "%s/" RECOVERY_NAME, wal->dir);
    rv = env_path_unlink(wal->env, path);
    if (rv != 0 && rv != ERR_NOT_FOUND) {
        return fail(r, rv, "delete a leftover of an earlier recovery", 0);
    }
    return 0;
}

/* The file's bytes into r->image, and what it says it is. */
static int examine(struct recover *r, struct found *f)
{
    char path[ENV_PATH_MAX];
    int rv;

    if (r->image_sequence == f->sequence) {
        return 0;
    }
    r->image_sequence = 0;
    wal_path(r->wal, "wal", f->sequence, path);
    rv = wal_image_load(&r->image, r->wal->env, path, &r->recovery->bytes_read);
    if (rv != 0) {
        return fail(r, rv, "read", f->sequence);
    }
    r->image_sequence = f->sequence;
    if (!f->examined) {
        rv = wal_identify(&r->image, f->sequence, &f->identity);
        if (rv != 0) {
            return fail(r, rv, "read the header", f->sequence);
        }
        if (f->identity.header && f->identity.shard != r->wal->params.shard) {
            return fail(r, ERR_CORRUPT, "a file of another shard", f->sequence);
        }
        f->examined = true;
    }
    return 0;
}

static int count_file(struct recover *r, struct found *f)
{
    f->file = wal_file_new(f->sequence, r->image.size);
    if (f->file == NULL) {
        return ERR_NOMEM;
    }
    f->file->state = WAL_FILE_SEALED;
    f->file->generation = f->identity.generation;
    wal_file_set_salt(f->file, f->identity.salt);
    if (wal_file_add(r->wal, f->file) != 0) {
        wal_file_free(r->wal, f->file);
        f->file = NULL;
        return ERR_NOMEM;
    }
    r->wal->stats.bytes_total += f->file->size;
    r->recovery->files++;
    return 0;
}

/* ---- replay ------------------------------------------------------------------------------------------------------ */

/* More entries than the files could ever hold are no state of ours: with room to spare, since files may have grown. */
static uint64_t entries_max(const struct recover *r)
{
    return 4 * (r->n_found * r->image.size + r->wal->params.size_max_bytes) / WAL_ENTRY_OVERHEAD;
}

/* Newest first: the first file whose checkpoint is whole. ERR_NOT_FOUND: the log is new. */
static int find_base(struct recover *r)
{
    bool any = false;

    for (size_t i = r->n_found; i-- > 0;) {
        struct found *f = &r->found[i];
        struct wal_scan scan;
        int rv;
        if (f->ready) {
            continue;
        }
        any = true;
        rv = examine(r, f);
        if (rv != 0) {
            return rv;
        }
        if (!f->identity.known) {
            continue;
        }
        wal_scan_init(&scan, &r->image, f->sequence, &f->identity);
        r->replay.entries_max = entries_max(r);
        if (wal_scan_next(&scan) == WAL_SCAN_FLUSH && (scan.header.flags & WAL_FLUSH_CHECKPOINT)) {
            r->base = i;
            wal_replay_checkpoint(&r->replay, &scan);
            return r->replay.status == 0 ? 0 : fail(r, r->replay.status, "read the checkpoint", f->sequence);
        }
    }
    if (any) {
        return fail(r, ERR_CORRUPT, "there are files, but not one with a readable checkpoint", 0);
    }
    return ERR_NOT_FOUND;
}

static struct found *find_file(struct recover *r, uint64_t sequence)
{
    for (size_t i = 0; i < r->n_found; i++) {
        if (r->found[i].sequence == sequence && !r->found[i].ready) {
            return &r->found[i];
        }
    }
    return NULL;
}

static void scan_whole(struct recover *r, size_t i, struct wal_scan *scan)
{
    enum wal_scan_result result;

    while ((result = wal_scan_next(scan)) != WAL_SCAN_END && r->replay.status == 0) {
        if (result == WAL_SCAN_DAMAGED) {
            wal_replay_damage(&r->replay, scan);
            continue;
        }
        if (scan->position > WAL_BLOCK_SIZE) { /* the checkpoint was read, or says nothing new */
            wal_replay_flush(&r->replay, scan);
        }
        if (!r->replay.old) {
            r->tail = i;
            r->tail_position = scan->position;
            r->tail_prev = (struct wal_name){scan->header.prev_sequence, scan->header.prev_crc};
        }
    }
    r->recovery->torn_bytes += scan->torn_bytes;
    r->recovery->stale_records += scan->stale;
    r->found[i].file->last = scan->end_known ? scan->end : scan->chain;
    r->found[i].file->end = r->found[i].file->size; /* it is never written again */
    r->found[i].file->synced_end = r->found[i].file->size;
}

/* Files that the checkpoint counts, oldest first; only where entries stand matters in them. */
static int replay_old(struct recover *r)
{
    r->replay.old = true;
    for (size_t i = 0; i < r->base; i++) {
        struct found *f = &r->found[i];
        const struct wal_disk_live *live = NULL;
        struct wal_scan scan;
        int rv;
        for (uint32_t k = 0; k < r->replay.n_live && live == NULL; k++) {
            live = r->replay.live[k].sequence == f->sequence && !f->ready ? &r->replay.live[k] : NULL;
        }
        if (live == NULL) {
            continue;
        }
        rv = examine(r, f);
        if (rv == 0) {
            rv = count_file(r, f);
        }
        if (rv != 0) {
            return rv;
        }
        r->replay.file = f->file;
        r->replay.damages = 0;
        wal_scan_init(&scan, &r->image, f->sequence, &f->identity);
        scan.end_known = true;
        scan.end = (struct wal_name){live->end_sequence, live->end_crc};
        scan_whole(r, i, &scan);
        f->file->new_damage = r->replay.damages > live->damages;
        f->file->damages = r->replay.damages > live->damages ? r->replay.damages : live->damages;
    }
    return 0;
}

/* The next file that has begun its life behind @i, or n_found. */
static int next_begun(struct recover *r, size_t i, size_t *next)
{
    int rv;

    for (*next = i + 1; *next < r->n_found; (*next)++) {
        if (r->found[*next].ready) {
            continue;
        }
        rv = examine(r, &r->found[*next]);
        if (rv != 0 || r->found[*next].identity.known) {
            return rv;
        }
    }
    return 0;
}

/* The file of the checkpoint and what came after it. Usually that is one file; more when the checkpoint of the newest
 * one is torn (it was about to begin) or rotten. */
static int replay_new(struct recover *r)
{
    struct wal_name chain = {0};
    size_t next;
    int rv;

    r->replay.old = false;
    for (size_t i = r->base; i < r->n_found; i = next) {
        struct found *f = &r->found[i];
        struct wal_scan scan;
        rv = next_begun(r, i, &next);
        if (rv == 0) {
            rv = examine(r, f);
        }
        if (rv == 0) {
            rv = count_file(r, f);
        }
        if (rv != 0) {
            return rv;
        }
        r->replay.file = f->file;
        r->replay.damages = 0;
        wal_scan_init(&scan, &r->image, f->sequence, &f->identity);
        if (next < r->n_found && r->found[next].identity.prev.sequence > 0) {
            scan.end_known = true;
            scan.end = r->found[next].identity.prev;
        }
        if (i > r->base && (scan.chain.sequence != chain.sequence || scan.chain.crc != chain.crc)) {
            wal_replay_file_lost(&r->replay); /* something between the two is not here */
        }
        scan_whole(r, i, &scan);
        chain = f->file->last;
        f->file->damages = r->replay.damages;
    }
    return r->replay.status;
}

static bool dropped(const struct recover *r, uint64_t sequence)
{
    for (size_t i = 0; i < r->replay.n_dropped; i++) {
        if (r->replay.dropped[i] == sequence) {
            return true;
        }
    }
    return false;
}

static void check_files(struct recover *r)
{
    for (uint32_t k = 0; k < r->replay.n_live; k++) {
        uint64_t sequence = r->replay.live[k].sequence;
        struct found *f = find_file(r, sequence);
        if (dropped(r, sequence)) {
            if (f != NULL && f->file != NULL) {
                f->file->state = WAL_FILE_DROPPED;
            }
        } else if (f == NULL) {
            wal_replay_file_lost(&r->replay);
        }
    }
}

/* ---- the fresh file ---------------------------------------------------------------------------------------------- */

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

    if (r->tail_position == WAL_BLOCK_SIZE) {
        return 0; /* a checkpoint: the fresh file's own says the same */
    }
    rv = examine(r, f);
    if (rv != 0) {
        return rv;
    }
    wal_scan_init(&scan, &r->image, f->sequence, &f->identity);
    scan.at = r->tail_position;
    scan.chain = r->tail_prev;
    scan.chain_any = false;
    if (wal_scan_next(&scan) != WAL_SCAN_FLUSH) {
        return fail(r, ERR_IO, "the last flush reads differently now", f->sequence);
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
    if (rv == 0) {
        rv = env_file_sync(wal->env, file->file);
    }
    return rv;
}

static int begin_fresh(struct recover *r, bool is_new)
{
    struct wal *wal = r->wal;
    struct wal_name prev = {0};
    char from[ENV_PATH_MAX];
    char to[ENV_PATH_MAX];
    int rv;

    if (!is_new) {
        prev = r->tail_prev;
        /* Where the tail's file ends now: in front of the flush that is written anew. */
        if (r->tail_position > WAL_BLOCK_SIZE) {
            r->found[r->tail].file->last = prev;
        }
        rv = queue_tail(r);
        if (rv != 0) {
            return fail(r, rv, "copy the last flush", r->found[r->tail].sequence);
        }
        forget_empty(r);
    }
    wal->current = wal_file_new(++wal->file_sequence_last, wal->params.file_size_bytes);
    if (wal->current == NULL || wal_file_add(wal, wal->current) != 0) {
        return fail(r, ERR_NOMEM, "begin a file", wal->file_sequence_last);
    }
    wal->current->generation = env_random(wal->env);
    wal_file_set_salt(wal->current, wal_salt(&wal->uuid, wal->current->sequence, wal->current->generation));
    snprintf(from, sizeof(from), "%s/" RECOVERY_NAME, wal->dir);
    wal_path(wal, "wal", wal->current->sequence, to);
    rv = write_fresh(r, prev, from);
    if (rv == 0) {
        rv = env_path_rename(wal->env, from, to);
    }
    if (rv == 0) {
        rv = env_dir_sync(wal->env, wal->dir);
    }
    if (rv != 0) {
        return fail(r, rv, "write a fresh file", wal->current->sequence);
    }
    wal->current->size = wal->current->end > wal->current->size ? wal->current->end : wal->current->size;
    wal->current->synced_end = wal->current->end;
    wal->stats.bytes_total += wal->current->size;
    return 0;
}

/* What does not count becomes a ready file or goes. Failures here cost space, nothing else. */
static void tidy_up(struct recover *r)
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

static int open_files(struct recover *r)
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
            return fail(r, rv, "open", f->sequence);
        }
    }
    return 0;
}

/* ---- all together ------------------------------------------------------------------------------------------------ */

static int read_log(struct recover *r, bool *is_new)
{
    int rv;

    rv = find_base(r);
    if (rv == ERR_NOT_FOUND) {
        *is_new = true;
        r->wal->uuid = uuid_from_random(env_random(r->wal->env), env_random(r->wal->env));
        return 0;
    }
    if (rv != 0) {
        return rv;
    }
    *is_new = false;
    rv = replay_old(r);
    if (rv == 0) {
        rv = replay_new(r);
    }
    if (rv == 0) {
        rv = r->replay.status;
    }
    if (rv != 0) {
        return r->errmsg[0] != 0 ? rv : fail(r, rv, "replay", 0);
    }
    check_files(r);
    wal_replay_finish(&r->replay);
    return 0;
}

/* An identity that some record may have been bound to without our knowing is not kept. */
static void choose_uuid(struct recover *r)
{
    bool known = false;

    for (size_t i = r->n_found; i-- > 0 && !known;) {
        known = r->found[i].examined && r->found[i].identity.header;
        if (known) {
            r->wal->uuid = r->found[i].identity.uuid;
        }
    }
    if (r->replay.all_damaged || !known) {
        r->wal->uuid = uuid_from_random(env_random(r->wal->env), env_random(r->wal->env));
    }
}

int wal_recover(struct wal *wal, struct wal_recovery *recovery, char *errmsg)
{
    struct recover r = {.wal = wal, .recovery = recovery, .errmsg = errmsg};
    bool is_new = false;
    int rv;

    errmsg[0] = 0;
    r.replay.wal = wal;
    r.replay.recovery = recovery;
    rv = list_files(&r);
    if (rv == 0) {
        rv = read_log(&r, &is_new);
    }
    if (rv == 0 && !is_new) {
        choose_uuid(&r);
    }
    if (rv == 0) {
        rv = begin_fresh(&r, is_new);
    }
    if (rv == 0) {
        rv = open_files(&r);
    }
    if (rv == 0) {
        tidy_up(&r);
        if (env_disk_free(wal->env, wal->dir, &wal->disk_free) != 0) {
            wal->disk_free = UINT64_MAX;
        }
        recovery->wal_uuid = wal->uuid;
        recovery->all_damaged = r.replay.all_damaged;
    }
    wal_replay_close(&r.replay);
    free(r.image.data);
    free(r.found);
    return rv;
}
