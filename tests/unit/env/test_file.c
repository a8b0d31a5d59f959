/* Files and directories on a real file system. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/env/loop_fixture.h"

/* ---- between env and the kernel: calls cut short, interrupted, failing ---- */

static struct {
    size_t bytes_max;  /* a call moves no more than this; 0: any */
    unsigned calls;
    int fail_flags;    /* a write with these flags fails with EOPNOTSUPP */
    int fdatasync_errno;
    unsigned syncs;
} kernel;

ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __real_pread(int fd, void *data, size_t size, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

/* Every third call is interrupted. */
static bool interrupted(void)
{
    if (kernel.calls++ % 3 == 2 && kernel.bytes_max != 0) {
        errno = EINTR;
        return true;
    }
    return false;
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    struct iovec cut[ENV_IOV_MAX];
    size_t left = kernel.bytes_max;
    int i;
    if ((flags & kernel.fail_flags) != 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (interrupted()) {
        return -1;
    }
    if (left == 0) {
        return __real_pwritev2(fd, iov, n, offset, flags);
    }
    for (i = 0; i < n && left > 0; i++) {
        cut[i] = iov[i];
        cut[i].iov_len = iov[i].iov_len < left ? iov[i].iov_len : left;
        left -= cut[i].iov_len;
    }
    return __real_pwritev2(fd, cut, i, offset, flags);
}

ssize_t __wrap_pread(int fd, void *data, size_t size, off_t offset)
{
    if (interrupted()) {
        return -1;
    }
    return __real_pread(fd, data, kernel.bytes_max != 0 && size > kernel.bytes_max ? kernel.bytes_max : size, offset);
}

int __wrap_fdatasync(int fd)
{
    kernel.syncs++;
    if (kernel.fdatasync_errno != 0) {
        errno = kernel.fdatasync_errno;
        return -1;
    }
    return __real_fdatasync(fd);
}

struct fixture {
    struct loop_fixture *loop;
    struct env *env;
    char dir[256];
    char path[320];
    char other[320];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    memset(&kernel, 0, sizeof kernel);
    loop_setup(state);
    f->loop = *state;
    f->env = f->loop->env;
    const char *base = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/cairn-env-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/file", f->dir);
    snprintf(f->other, sizeof f->other, "%s/other", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    unlink(f->other);
    rmdir(f->dir);
    *state = f->loop;
    loop_teardown(state);
    free(f);
    return 0;
}

static struct env_file *open_new(struct fixture *f, unsigned flags)
{
    struct env_file *file;
    assert_int_equal(env_file_open(f->env, f->path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | flags, &file), 0);
    return file;
}

static void put(struct fixture *f, struct env_file *file, const char *text, uint64_t offset)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    assert_int_equal(env_file_write(f->env, file, &iov, 1, offset, ENV_SYNC_NONE), 0);
}

static uint64_t size_of(struct fixture *f, struct env_file *file)
{
    uint64_t size;
    assert_int_equal(env_file_size(f->env, file, &size), 0);
    return size;
}

static void open_flags_do_what_they_say(void **state)
{
    struct fixture *f = *state;
    struct env_file *file;
    assert_int_equal(env_file_open(f->env, f->path, ENV_OPEN_READ, &file), ERR_NOT_FOUND);
    file = open_new(f, ENV_OPEN_EXCLUSIVE);
    put(f, file, "hello", 0);
    env_file_close(f->env, file);
    assert_int_equal(
        env_file_open(f->env, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &file), ERR_EXISTS);
    file = open_new(f, 0);
    assert_int_equal(size_of(f, file), 5);
    env_file_close(f->env, file);
    file = open_new(f, ENV_OPEN_TRUNCATE);
    assert_int_equal(size_of(f, file), 0);
    env_file_close(f->env, file);
}

static void read_is_short_at_the_end_of_the_file_only(void **state)
{
    struct fixture *f = *state;
    char data[32] = "";
    size_t n = 99;
    struct env_file *file = open_new(f, 0);
    put(f, file, "0123456789", 0);
    assert_int_equal(env_file_read(f->env, file, data, 4, 2, &n), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(data, "2345", 4);
    assert_int_equal(env_file_read(f->env, file, data, sizeof data, 7, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(env_file_read(f->env, file, data, sizeof data, 10, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(env_file_read(f->env, file, data, sizeof data, 1000, &n), 0);
    assert_int_equal(n, 0);
    env_file_close(f->env, file);
}

static void write_of_many_iovecs_leaves_them_unchanged(void **state)
{
    struct fixture *f = *state;
    enum { N = 3 * ENV_IOV_MAX + 7 };
    static const enum env_sync modes[] = {ENV_SYNC_NONE, ENV_SYNC_DATA};
    uint8_t *bytes = malloc(N * 3);
    uint8_t *back = malloc(N * 3);
    struct iovec *iov = calloc(N, sizeof *iov);
    struct iovec *copy = calloc(N, sizeof *copy);
    for (int i = 0; i < N * 3; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    size_t size = 0;
    for (int i = 0; i < N; i++) {
        iov[i] = (struct iovec){bytes + size, (size_t)(i % 4)}; /* empty ones as well */
        size += (size_t)(i % 4);
    }
    memcpy(copy, iov, N * sizeof *iov);
    for (int mode = 0; mode < 2; mode++) {
        size_t n;
        struct env_file *file = open_new(f, ENV_OPEN_TRUNCATE);
        assert_int_equal(env_file_write(f->env, file, iov, N, 100, modes[mode]), 0);
        assert_int_equal(size_of(f, file), 100 + size);
        assert_int_equal(env_file_read(f->env, file, back, size, 100, &n), 0);
        assert_int_equal(n, size);
        assert_memory_equal(back, bytes, size);
        assert_memory_equal(copy, iov, N * sizeof *iov);
        env_file_close(f->env, file);
    }
    free(bytes);
    free(back);
    free(iov);
    free(copy);
}

static void calls_cut_short_and_interrupted_go_on(void **state)
{
    struct fixture *f = *state;
    enum { N = 200 };
    uint8_t bytes[N * 10];
    uint8_t back[N * 10];
    struct iovec iov[N];
    size_t n;
    for (int i = 0; i < N * 10; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (int i = 0; i < N; i++) {
        iov[i] = (struct iovec){bytes + i * 10, 10};
    }
    for (size_t bytes_max = 1; bytes_max < 40; bytes_max += 6) {
        struct env_file *file = open_new(f, ENV_OPEN_TRUNCATE);
        kernel.bytes_max = bytes_max;
        assert_int_equal(env_file_write(f->env, file, iov, N, 5, ENV_SYNC_NONE), 0);
        memset(back, 0, sizeof back);
        assert_int_equal(env_file_read(f->env, file, back, sizeof back, 5, &n), 0);
        assert_int_equal(n, sizeof back);
        assert_memory_equal(back, bytes, sizeof back);
        env_file_close(f->env, file);
    }
}

static void without_dsync_a_synced_write_is_write_and_sync(void **state)
{
    struct fixture *f = *state;
    struct iovec iov = {f->dir, 10};
    struct env_file *file = open_new(f, 0);
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 0, ENV_SYNC_DATA), 0);
    assert_int_equal(kernel.syncs, 0);
    kernel.fail_flags = RWF_DSYNC;
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 10, ENV_SYNC_DATA), 0);
    assert_int_equal(kernel.syncs, 1);
    assert_int_equal(size_of(f, file), 20);
    env_file_close(f->env, file);
}

static void a_failed_sync_is_never_retried(void **state)
{
    struct fixture *f = *state;
    struct iovec iov = {f->dir, 10};
    struct env_file *file = open_new(f, 0);
    put(f, file, "abc", 0);
    kernel.fdatasync_errno = EIO;
    assert_int_equal(env_file_sync(f->env, file), ERR_IO);
    kernel.fdatasync_errno = 0;
    assert_int_equal(env_file_sync(f->env, file), ERR_IO);
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 0, ENV_SYNC_DATA), ERR_IO);
    assert_int_equal(kernel.syncs, 1);
    env_file_close(f->env, file);
}

static void synced_write_and_sync_succeed(void **state)
{
    struct fixture *f = *state;
    struct iovec iov[2] = {{(void *)(uintptr_t)"abc", 3}, {(void *)(uintptr_t)"def", 3}};
    char back[6];
    size_t n;
    struct env_file *file = open_new(f, 0);
    assert_int_equal(env_file_write(f->env, file, iov, 2, 0, ENV_SYNC_DATA), 0);
    assert_int_equal(env_file_sync(f->env, file), 0);
    assert_int_equal(env_dir_sync(f->env, f->dir), 0);
    assert_int_equal(env_file_read(f->env, file, back, 6, 0, &n), 0);
    assert_memory_equal(back, "abcdef", 6);
    env_file_close(f->env, file);
}

static void direct_files_read_and_write_aligned(void **state)
{
    struct fixture *f = *state;
    uint8_t *block = NULL;
    size_t n;
    assert_int_equal(posix_memalign((void **)&block, ENV_DIRECT_ALIGN, 4 * ENV_DIRECT_ALIGN), 0);
    memset(block, 'x', 4 * ENV_DIRECT_ALIGN);
    struct env_file *file = open_new(f, ENV_OPEN_DIRECT | ENV_OPEN_EXCLUSIVE);
    struct iovec iov = {block, 2 * ENV_DIRECT_ALIGN};
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 0, ENV_SYNC_DATA), 0);
    /* A tail that is not aligned ends the read, it is not an error. */
    assert_int_equal(env_file_truncate(f->env, file, ENV_DIRECT_ALIGN + 100), 0);
    memset(block, 0, 4 * ENV_DIRECT_ALIGN);
    kernel.calls = 0;
    assert_int_equal(env_file_read(f->env, file, block, 4 * ENV_DIRECT_ALIGN, 0, &n), 0);
    assert_int_equal(n, ENV_DIRECT_ALIGN + 100);
    assert_int_equal(kernel.calls, 1); /* a second, unaligned call would lose O_DIRECT */
    assert_int_equal(block[n - 1], 'x');
    env_file_close(f->env, file);
    free(block);
}

static void allocate_grows_and_keeps_content(void **state)
{
    struct fixture *f = *state;
    for (int zero_fill = 0; zero_fill < 2; zero_fill++) {
        struct stat st;
        char back[8];
        size_t n;
        uint64_t size = 3 * 1024 * 1024 + 17;
        struct env_file *file = open_new(f, ENV_OPEN_TRUNCATE);
        put(f, file, "keep", 0);
        assert_int_equal(env_file_allocate(f->env, file, size, zero_fill != 0), 0);
        assert_int_equal(size_of(f, file), size);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(env_file_sync(f->env, file), 0);
        assert_int_equal(stat(f->path, &st), 0);
        assert_true((uint64_t)st.st_blocks * 512 >= size - 4096); /* space is reserved, not a hole */
        assert_int_equal(env_file_read(f->env, file, back, 8, 0, &n), 0);
        assert_memory_equal(back, "keep\0\0\0\0", 8);
        assert_int_equal(env_file_read(f->env, file, back, 8, size - 3, &n), 0);
        assert_int_equal(n, 3);
        assert_memory_equal(back, "\0\0\0", 3);
        assert_int_equal(env_file_allocate(f->env, file, 10, zero_fill != 0), 0);
        assert_int_equal(size_of(f, file), size);
        assert_int_equal(env_file_truncate(f->env, file, 4), 0);
        assert_int_equal(size_of(f, file), 4);
        env_file_close(f->env, file);
    }
}

static void rename_replaces_and_unlink_removes(void **state)
{
    struct fixture *f = *state;
    struct env_file *file = open_new(f, 0);
    put(f, file, "new", 0);
    env_file_close(f->env, file);
    assert_int_equal(env_path_rename(f->env, f->path, f->other), 0);
    assert_int_equal(env_dir_sync(f->env, f->dir), 0);
    assert_int_equal(env_path_rename(f->env, f->path, f->other), ERR_NOT_FOUND);
    assert_int_equal(env_file_open(f->env, f->other, ENV_OPEN_READ, &file), 0);
    assert_int_equal(size_of(f, file), 3);
    env_file_close(f->env, file);
    assert_int_equal(env_path_unlink(f->env, f->other), 0);
    assert_int_equal(env_path_unlink(f->env, f->other), ERR_NOT_FOUND);
    assert_int_equal(env_dir_sync(f->env, f->other), ERR_NOT_FOUND);
}

static void count_name(void *data, const char *name)
{
    assert_true(name[0] != '.');
    (*(int *)data)++;
}

static void directories_are_made_listed_and_removed(void **state)
{
    struct fixture *f = *state;
    int names = 0;
    assert_int_equal(env_dir_make(f->env, f->other), 0);
    assert_int_equal(env_dir_make(f->env, f->other), ERR_EXISTS);
    env_file_close(f->env, open_new(f, 0));
    assert_int_equal(env_dir_list(f->env, f->dir, count_name, &names), 0);
    assert_int_equal(names, 2);
    assert_int_equal(env_path_unlink(f->env, f->other), 0);
    assert_int_equal(env_dir_list(f->env, f->other, count_name, &names), ERR_NOT_FOUND);
}

static void disk_free_is_known(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes = 0;
    assert_int_equal(env_disk_free(f->env, f->dir, &bytes), 0);
    assert_true(bytes > 0);
    assert_int_equal(env_disk_free(f->env, f->path, &bytes), ERR_NOT_FOUND);
}

static void a_held_lock_is_busy_here_and_in_another_process(void **state)
{
    struct fixture *f = *state;
    struct env_lock *lock;
    struct env_lock *second;
    int status;
    assert_int_equal(env_lock_acquire(f->env, f->path, &lock), 0);
    assert_int_equal(env_lock_acquire(f->env, f->path, &second), ERR_BUSY);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(env_lock_acquire(f->env, f->path, &second) == ERR_BUSY ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    env_lock_release(f->env, lock);
    assert_int_equal(env_lock_acquire(f->env, f->path, &lock), 0);
    env_lock_release(f->env, lock);
}

static void a_full_disk_is_no_space(void **state)
{
    struct fixture *f = *state;
    struct env_file *file;
    struct iovec iov = {f->dir, sizeof f->dir};
    assert_int_equal(env_file_open(f->env, "/dev/full", ENV_OPEN_WRITE, &file), 0);
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 0, ENV_SYNC_NONE), ERR_NO_SPACE);
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 0, ENV_SYNC_DATA), ERR_NO_SPACE);
    env_file_close(f->env, file);
}

/* In a child: the limit lets the first write be a short one, as a disk does that fills up in the middle of a call. */
static int write_past_the_limit(struct fixture *f)
{
    struct rlimit limit = {10000, 10000};
    static uint8_t block[8192];
    struct iovec iov[2] = {{block, sizeof block}, {block, sizeof block}};
    struct env_file *file;
    uint64_t size;
    if (env_file_open(f->env, f->path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file) != 0) {
        return 1;
    }
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) {
        return 2;
    }
    if (env_file_write(f->env, file, iov, 2, 0, ENV_SYNC_NONE) != ERR_TOO_BIG) {
        return 3;
    }
    if (env_file_size(f->env, file, &size) != 0 || size != 10000) {
        return 4; /* the first call wrote as much as it could, the second one failed */
    }
    return env_file_sync(f->env, file) == 0 ? 0 : 5;
}

static void a_short_write_goes_on_until_the_error(void **state)
{
    struct fixture *f = *state;
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(write_past_the_limit(f));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void errors_are_codes_of_the_table(void **state)
{
    struct fixture *f = *state;
    struct env_file *file;
    struct iovec iov = {f->dir, 3};
    size_t n = 77;
    char byte;
    assert_int_equal(env_file_open(f->env, f->dir, ENV_OPEN_WRITE, &file), ERR_IO);
    assert_int_equal(env_file_open(f->env, f->dir, ENV_OPEN_READ, &file), 0);
    assert_int_equal(env_file_read(f->env, file, &byte, 1, 0, &n), ERR_IO); /* a directory */
    assert_int_equal(n, 77);
    env_file_close(f->env, file);
    env_file_close(f->env, open_new(f, 0));
    assert_int_equal(env_file_open(f->env, f->path, ENV_OPEN_READ, &file), 0);
    assert_int_equal(env_file_write(f->env, file, &iov, 1, 0, ENV_SYNC_NONE), ERR_IO); /* opened for reading */
    assert_int_equal(env_file_sync(f->env, file), ERR_IO); /* once failed stays failed */
    env_file_close(f->env, file);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(open_flags_do_what_they_say),
        T(read_is_short_at_the_end_of_the_file_only),
        T(write_of_many_iovecs_leaves_them_unchanged),
        T(calls_cut_short_and_interrupted_go_on),
        T(without_dsync_a_synced_write_is_write_and_sync),
        T(a_failed_sync_is_never_retried),
        T(synced_write_and_sync_succeed),
        T(direct_files_read_and_write_aligned),
        T(allocate_grows_and_keeps_content),
        T(rename_replaces_and_unlink_removes),
        T(directories_are_made_listed_and_removed),
        T(disk_free_is_known),
        T(a_held_lock_is_busy_here_and_in_another_process),
        T(a_full_disk_is_no_space),
        T(a_short_write_goes_on_until_the_error),
        T(errors_are_codes_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
