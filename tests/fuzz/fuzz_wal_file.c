/* Recovery on files that anything may have happened to. A log of three files is made once; the input is a list of
 * changes to its bytes, some of them with the checksums made right again, so that what lies behind the checksums is
 * reached as well. Whatever recovery makes of it, it must not crash, and must make the same of it twice. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal.h"
#include "raft/wal/wal_format.h"
#include "tests/sim/world.h"

#define DIR "/wal"
#define FILES 3
#define FILE_SIZE (64u << 10)
#define GROUPS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct log_file {
    char name[64];
    uint8_t bytes[FILE_SIZE * 2];
    size_t size;
};

struct fuzz {
    struct sim_world *world;
    struct sim_node *node;
    struct wal *wal;
    struct buf_pool *pool;
    int status;
    struct log_file files[FILES];
    unsigned n_files;
    unsigned n_done;
    struct wal_write writes[200];
    unsigned n_writes;
};

static struct log_file made[FILES]; /* the log that inputs change */
static unsigned n_made;

/* ---- the log ----------------------------------------------------------------------------------------------------- */

static void open_log(struct env *env, struct fuzz *f)
{
    struct wal_params params = {.env = env,
                                .dir = DIR,
                                .pool = f->pool,
                                .file_size_bytes = FILE_SIZE,
                                .size_max_bytes = 1u << 20,
                                .reserve_bytes = 256u << 10,
                                .cache_max_bytes = 4096};
    struct wal_recovery recovery;
    char errmsg[ERRMSG_SIZE];

    f->status = wal_open(&params, &f->wal, &recovery, errmsg);
}

static void ended(struct sim_node *node, enum sim_end how, void *data)
{
    struct fuzz *f = data;
    if (f->wal != NULL) {
        wal_abandon(f->wal);
        f->wal = NULL;
    }
}

static void written(struct wal_write *write)
{
    for (uint32_t i = 0; i < write->n_entries; i++) {
        entry_release(write->entries[i]);
    }
    free(write->entries);
}

static struct wal_write *next_write(struct fuzz *f)
{
    struct wal_write *w = &f->writes[f->n_writes++];
    memset(w, 0, sizeof(*w));
    w->done = written;
    return w;
}

static void append(struct fuzz *f, uint64_t group, uint64_t first, uint32_t n, uint64_t term, uint32_t size)
{
    struct wal_write *w = next_write(f);
    struct buf *buf = buf_new(f->pool, size);

    memset(buf->data, (int)group, size);
    w->group = wal_group_find(f->wal, group);
    w->entries = malloc(n * sizeof(w->entries[0]));
    w->n_entries = n;
    for (uint32_t i = 0; i < n; i++) {
        w->entries[i] = entry_new(ENTRY_BATCH, buf, buf->data, size);
        w->entries[i]->group = group;
        w->entries[i]->index = first + i;
        w->entries[i]->term = term;
    }
    buf_release(buf);
    wal_append(f->wal, w);
}

static void make_start(struct env *env, void *data)
{
    struct fuzz *f = data;
    struct wal_group *g;

    open_log(env, f);
    assert(f->status == 0);
    for (uint64_t i = 1; i <= GROUPS; i++) {
        struct wal_write *w = next_write(f);
        w->has_hard_state = true;
        w->term = i;
        int rv = wal_group_create(f->wal, i, 10 + i, i == 1, w, &g);
        assert(rv == 0);
        append(f, i, 1, 4, 1, 500);
    }
}

static void make_more(struct env *env, void *data)
{
    struct fuzz *f = data;
    uint64_t last;
    struct wal_group_info info;

    wal_group_info(wal_group_find(f->wal, 1), &info);
    last = info.last_index;
    append(f, 1, last + 1, 3, last, 4200);
    append(f, 2, 3, 2, last, 300);
    wal_group_trim(f->wal, wal_group_find(f->wal, 1), last > 5 ? last - 5 : 1);
}

static void collect(void *data, const char *name)
{
    struct fuzz *f = data;
    struct log_file *file = &made[n_made];
    char path[128];

    if (strncmp(name, "wal-", 4) != 0 || n_made == FILES) {
        return;
    }
    snprintf(file->name, sizeof(file->name), DIR "/%s", name);
    memcpy(path, file->name, sizeof(file->name));
    file->size = sim_node_file_peek(f->node, path, 0, file->bytes, sizeof(file->bytes));
    n_made++;
}

static struct fuzz *fuzz_new(uint64_t seed)
{
    struct fuzz *f = calloc(1, sizeof(*f));
    assert(f != NULL);
    f->world = sim_world_new(seed, NULL);
    f->node = sim_node_new(f->world, "n1");
    sim_node_make_dirs(f->node, DIR);
    f->pool = buf_pool_new(1u << 20);
    return f;
}

static void fuzz_free(struct fuzz *f)
{
    sim_world_free(f->world);
    buf_pool_free(f->pool);
    free(f);
}

static void make(void)
{
    struct fuzz *f = fuzz_new(1);
    struct sim_program program = {.start = make_start, .ended = ended, .data = f};

    sim_node_start(f->node, &program);
    for (int i = 0; i < 12; i++) {
        sim_world_run_for(f->world, 5 * SIM_MS);
        (void)sim_node_call(f->node, make_more, f);
    }
    sim_world_run_for(f->world, 5 * SIM_MS);
    sim_node_kill(f->node, SIM_END_KILL);
    sim_node_list(f->node, DIR, collect, f);
    assert(n_made >= 2);
    fuzz_free(f);
}

/* ---- changes ----------------------------------------------------------------------------------------------------- */

struct input {
    const uint8_t *data;
    size_t size;
};

static uint64_t take(struct input *in, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n && in->size > 0; i++, in->data++, in->size--) {
        v = v << 8 | *in->data;
    }
    return v;
}

/* The @k-th flush of a file; NULL: there is none. */
static struct wal_disk_flush *flush_of(struct log_file *file, unsigned k)
{
    struct wal_disk_flush flush;

    for (uint64_t at = WAL_BLOCK_SIZE; at < file->size; at += WAL_BLOCK_SIZE) {
        if (wal_flush_check(file->bytes + at, at, file->size - at, &flush) == 0 && k-- == 0) {
            return (struct wal_disk_flush *)(void *)(file->bytes + at);
        }
    }
    return NULL;
}

static void change_record(struct input *in, struct log_file *file, struct wal_disk_flush *flush)
{
    uint8_t *base = (uint8_t *)flush;
    uint64_t at = sizeof(*flush) + sizeof(struct wal_disk_groups) + flush->n_groups * sizeof(struct wal_disk_group);
    uint32_t seed = wal_record_seed(flush->salt);
    unsigned k = (unsigned)take(in, 1);
    unsigned offset = (unsigned)take(in, 1);
    uint8_t value = (uint8_t)take(in, 1);
    struct wal_disk_record record;
    size_t covered;

    while (at < flush->length && wal_record_check(base + at, (size_t)(flush->length - at), seed, &record) == 0 && k > 0) {
        at += wal_record_size(record.length);
        k--;
    }
    if (at + sizeof(record) > flush->length ||
        wal_record_check(base + at, (size_t)(flush->length - at), seed, &record) != 0) {
        return;
    }
    covered = wal_kind_has_entry(record.kind) ? ENTRY_HEADER_SIZE : record.length;
    offset = 4 + offset % (unsigned)(sizeof(record) + covered - 4);
    base[at + offset] = value;
    memcpy(&record, base + at, sizeof(record));
    covered = wal_kind_has_entry(record.kind) ? ENTRY_HEADER_SIZE : record.length;
    if (at + sizeof(record) + covered <= flush->length) {
        wal_record_seal((struct wal_disk_record *)(void *)(base + at), seed, covered);
    }
}

static void change(struct input *in, struct fuzz *f)
{
    unsigned kind = (unsigned)take(in, 1) % 8;
    struct log_file *file = &f->files[take(in, 1) % f->n_files];
    struct wal_disk_flush *flush;
    uint64_t offset;

    if (file->size == 0) {
        return;
    }
    switch (kind) {
    case 0:
    case 1: /* any byte */
        offset = take(in, 3) % file->size;
        file->bytes[offset] = (uint8_t)take(in, 1);
        return;
    case 2: /* the file's header, with its checksum */
        offset = take(in, 1) % offsetof(struct wal_disk_file, crc);
        file->bytes[offset] = (uint8_t)take(in, 1);
        wal_file_seal_header((struct wal_disk_file *)(void *)file->bytes);
        return;
    case 3: /* the file ends early, or is one of zeros from there on */
        offset = take(in, 2);
        if (offset < file->size) {
            memset(file->bytes + offset, 0, file->size - offset);
            file->size = take(in, 1) % 2 ? offset : file->size;
        }
        return;
    default:
        break;
    }
    flush = flush_of(file, (unsigned)take(in, 1));
    if (flush == NULL) {
        return;
    }
    if (kind < 6) {
        change_record(in, file, flush);
        return;
    }
    if (kind == 6) {
        offset = take(in, 1) % offsetof(struct wal_disk_flush, crc);
        ((uint8_t *)flush)[offset] = (uint8_t)take(in, 1);
        wal_flush_seal(flush);
        return;
    }
    memset((uint8_t *)flush + take(in, 2) % WAL_BLOCK_SIZE, 0xff, 64);
}

/* ---- recovery ---------------------------------------------------------------------------------------------------- */

static void put_files(struct env *env, void *data)
{
    struct fuzz *f = data;

    for (unsigned i = 0; i < f->n_files; i++) {
        struct env_file *file;
        struct iovec iov = {f->files[i].bytes, f->files[i].size};
        int rv = env_file_open(env, f->files[i].name, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file);
        assert(rv == 0);
        rv = iov.iov_len > 0 ? env_file_write(env, file, &iov, 1, 0, ENV_SYNC_DATA) : 0;
        assert(rv == 0);
        env_file_close(env, file);
    }
    int rv = env_dir_sync(env, DIR);
    assert(rv == 0);
}

static void start(struct env *env, void *data)
{
    open_log(env, data);
}

struct found {
    unsigned n;
    struct wal_group_info infos[64];
};

static void note_group(void *data, struct wal_group *g)
{
    struct found *found = data;
    if (found->n < 64) {
        wal_group_info(g, &found->infos[found->n++]);
    }
}

static void read_done(struct wal_read *read, int status)
{
    for (uint32_t i = 0; i < read->n; i++) {
        assert(entry_intact(read->entries[i]));
        entry_release(read->entries[i]);
    }
    free(read->entries);
    free(read);
}

static void read_groups(struct env *env, void *data)
{
    struct fuzz *f = data;
    struct found found = {0};

    wal_group_each(f->wal, note_group, &found);
    for (unsigned i = 0; i < found.n; i++) {
        struct wal_read *read = calloc(1, sizeof(*read));
        read->group = found.infos[i].group;
        read->first = found.infos[i].first_index;
        read->n_max = 100;
        read->bytes_max = 1u << 20;
        read->done = read_done;
        if (wal_read(f->wal, read)) {
            read_done(read, 0);
        }
    }
}

static int compare_info(const void *a, const void *b)
{
    const struct wal_group_info *x = a;
    const struct wal_group_info *y = b;
    return x->group < y->group ? -1 : x->group > y->group;
}

/* Of a damaged replica, which stays stopped and is replaced, the second may find less behind the damage. */
static bool same(const struct wal_group_info *a, const struct wal_group_info *b)
{
    bool same_end = a->last_index == b->last_index || (a->damaged && b->last_index < a->last_index);
    return a->group == b->group && a->replica == b->replica && a->incarnation == b->incarnation && a->term == b->term &&
           a->vote == b->vote && a->first_index == b->first_index && same_end && a->founder == b->founder &&
           a->damaged == b->damaged && a->tombstone == b->tombstone;
}

static bool recover(struct fuzz *f, struct found *found)
{
    struct sim_program program = {.start = start, .ended = ended, .data = f};

    found->n = 0;
    sim_node_start(f->node, &program);
    sim_world_run_for(f->world, SIM_MS / 10);
    if (f->status != 0) {
        sim_node_kill(f->node, SIM_END_KILL);
        return false;
    }
    wal_group_each(f->wal, note_group, found);
    qsort(found->infos, found->n, sizeof(found->infos[0]), compare_info);
    (void)sim_node_call(f->node, read_groups, f);
    sim_world_run_for(f->world, 60 * SIM_MS);
    sim_node_kill(f->node, SIM_END_POWER);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct found first;
    struct found second;
    struct sim_program put = {.start = put_files};
    struct fuzz *f;

    if (n_made == 0) {
        make();
    }
    f = fuzz_new(2);
    memcpy(f->files, made, sizeof(made));
    f->n_files = n_made;
    while (in.size > 0) {
        change(&in, f);
    }
    put.data = f;
    sim_node_start(f->node, &put);
    sim_world_run_for(f->world, SIM_MS);
    sim_node_kill(f->node, SIM_END_KILL);
    if (recover(f, &first)) {
        bool again = recover(f, &second);
        assert(again && first.n == second.n);
        for (unsigned i = 0; i < first.n; i++) {
            assert(same(&first.infos[i], &second.infos[i]));
        }
    }
    fuzz_free(f);
    return 0;
}
