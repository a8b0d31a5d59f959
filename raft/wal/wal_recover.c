/* Opening the log: which files count, what they say, and a fresh file that everything uncertain is written to and
 * synced in before anybody may act on it (I7).
 *
 * A crash at any point of this and another recovery give the same result: until the fresh file has its name, nothing of
 * the old ones is touched; from then on its checkpoint says which of them count, and up to which flush. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_recover.h"

int wal_recover_fail(struct recover *r, int rv, const char *what, uint64_t sequence)
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
        return wal_recover_fail(r, rv, "list the directory", 0);
    }
    if (r->n_found > 1) {
        qsort(r->found, r->n_found, sizeof(r->found[0]), found_compare);
    }
    snprintf(path, sizeof(path), "%s/" RECOVERY_NAME, wal->dir);
    rv = env_path_unlink(wal->env, path);
    if (rv != 0 && rv != ERR_NOT_FOUND) {
        return wal_recover_fail(r, rv, "delete a leftover of an earlier recovery", 0);
    }
    return 0;
}

/* The file's bytes into r->image, and what it says it is. */
int wal_recover_examine(struct recover *r, struct found *f)
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
        return wal_recover_fail(r, rv, "read", f->sequence);
    }
    r->image_sequence = f->sequence;
    if (!f->examined) {
        rv = wal_identify(&r->image, f->sequence, &f->identity);
        if (rv == ERR_VERSION) {
            return wal_recover_fail(r, rv, "start the cairnd that wrote it, or replace this node", f->sequence);
        }
        if (rv != 0) {
            return wal_recover_fail(r, rv, "read the header", f->sequence);
        }
        if (f->identity.header && f->identity.shard != r->wal->params.shard) {
            return wal_recover_fail(r, ERR_CORRUPT, "a file of another shard", f->sequence);
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
    bool from_nothing = false;

    for (size_t i = r->n_found; i-- > 0;) {
        struct found *f = &r->found[i];
        struct wal_scan scan;
        int rv;
        if (f->ready) {
            continue;
        }
        any = true;
        rv = wal_recover_examine(r, f);
        if (rv != 0) {
            return rv;
        }
        if (!f->identity.known) {
            continue;
        }
        from_nothing = f->identity.header && f->identity.prev.sequence == 0;
        if (from_nothing) {
            r->base = i;
        }
        wal_scan_init(&scan, &r->image, f->sequence, &f->identity);
        r->replay.entries_max = entries_max(r);
        if (wal_scan_next(&scan) == WAL_SCAN_FLUSH && (scan.header.flags & WAL_FLUSH_CHECKPOINT)) {
            r->base = i;
            wal_replay_checkpoint(&r->replay, &scan);
            return r->replay.status == 0 ? 0 : wal_recover_fail(r, r->replay.status, "read the checkpoint", f->sequence);
        }
    }
    if (from_nothing) {
        r->replay.uuid = r->found[r->base].identity.uuid;
        return 0; /* the very first file: its checkpoint, whatever became of it, had nothing to say */
    }
    if (any) {
        return wal_recover_fail(r, ERR_CORRUPT, "there are files, but not one with a readable checkpoint", 0);
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
        rv = wal_recover_examine(r, f);
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
        rv = wal_recover_examine(r, &r->found[*next]);
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
            rv = wal_recover_examine(r, f);
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
    r->tail = r->base;
    r->tail_position = WAL_BLOCK_SIZE;
    r->tail_prev = r->found[r->base].identity.prev;
    rv = replay_old(r);
    if (rv == 0) {
        rv = replay_new(r);
    }
    if (rv == 0) {
        rv = r->replay.status;
    }
    if (rv != 0) {
        return r->errmsg[0] != 0 ? rv : wal_recover_fail(r, rv, "replay", 0);
    }
    check_files(r);
    wal_replay_finish(&r->replay);
    return 0;
}

/* An identity that something may have been bound to without our knowing is not kept. */
static void choose_uuid(struct recover *r)
{
    r->wal->uuid = r->replay.uuid;
    if (r->replay.all_damaged || uuid_is_nil(&r->wal->uuid)) {
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
        rv = wal_fresh_begin(&r, is_new);
    }
    if (rv == 0) {
        rv = wal_fresh_open_files(&r);
    }
    if (rv == 0) {
        wal_fresh_tidy_up(&r);
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
