/* Files: plain POSIX calls, all or an error. Called on workers, and on a loop's thread at start-up. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raft/env/env_uv_impl.h"

#define FILE_MODE 0640
#define PARTIAL_IOV_MAX 64 /* iovecs copied to go on after a short write */
#define ZERO_IOV 16        /* zero chunks a call: 1 MiB */

static_assert(ENV_IOV_MAX <= IOV_MAX, "a call of the kernel takes as many iovecs as one of ours");

struct env_file {
    int fd;
    bool direct;   /* opened with O_DIRECT */
    bool no_dsync; /* RWF_DSYNC is not supported here */
    bool failed;   /* a write or sync went wrong in a way that leaves the content unknown: nothing is retried */
};

int env_uv_file_open(struct env *env, const char *path, unsigned flags, struct env_file **out)
{
    int oflags = O_CLOEXEC;
    oflags |= (flags & ENV_OPEN_WRITE) == 0 ? O_RDONLY : (flags & ENV_OPEN_READ) != 0 ? O_RDWR : O_WRONLY;
    oflags |= (flags & ENV_OPEN_CREATE) != 0 ? O_CREAT : 0;
    oflags |= (flags & ENV_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    oflags |= (flags & ENV_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0;
    struct env_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return ERR_NOMEM;
    }
    do {
        file->fd = open(path, oflags, FILE_MODE);
    } while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        int rv = err_from_errno(errno);
        free(file);
        return rv;
    }
    /* Not in open(): where the file system has no O_DIRECT, that would fail and yet leave the file behind. */
    if ((flags & ENV_OPEN_DIRECT) != 0) {
        int now = fcntl(file->fd, F_GETFL);
        file->direct = now >= 0 && fcntl(file->fd, F_SETFL, now | O_DIRECT) == 0;
    }
    *out = file;
    return 0;
}

void env_uv_file_close(struct env_file *file)
{
    close(file->fd);
    free(file);
}

int env_uv_file_size(struct env_file *file, uint64_t *size)
{
    struct stat st;
    if (fstat(file->fd, &st) != 0) {
        return err_from_errno(errno);
    }
    *size = (uint64_t)st.st_size;
    return 0;
}

/* Some file systems accept O_DIRECT and then refuse the call. True: it is off now, try again. */
static bool drop_direct(struct env_file *file)
{
    int flags = fcntl(file->fd, F_GETFL);
    return flags >= 0 && (flags & O_DIRECT) != 0 && fcntl(file->fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

int env_uv_file_read(struct env_file *file, void *data, size_t size, uint64_t offset, size_t *n)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(file->fd, (char *)data + done, size - done, (off_t)(offset + done));
        if (got == 0) {
            break;
        }
        if (got > 0) {
            done += (size_t)got;
            if (file->direct && done % ENV_DIRECT_ALIGN != 0) {
                break; /* only the end of the file cuts an aligned read here */
            }
        } else if (errno == EINVAL && drop_direct(file)) {
            continue;
        } else if (errno != EINTR) {
            return err_from_errno(errno);
        }
    }
    *n = done;
    return 0;
}

/* ---- writing ---- */

/* A place within a caller's iovecs, which are never changed. */
struct iov_place {
    const struct iovec *iov;
    size_t n;
    size_t skip; /* bytes of iov[0] that are written */
};

static void iov_advance(struct iov_place *place, size_t bytes)
{
    bytes += place->skip;
    while (place->n > 0 && bytes >= place->iov->iov_len) {
        bytes -= place->iov->iov_len;
        place->iov++;
        place->n--;
    }
    place->skip = bytes;
}

static ssize_t write_once(struct env_file *file, const struct iov_place *place, uint64_t offset, int flags)
{
    struct iovec partial[PARTIAL_IOV_MAX];
    const struct iovec *iov = place->iov;
    size_t n = place->n < ENV_IOV_MAX ? place->n : ENV_IOV_MAX;
    if (place->skip != 0) {
        n = n < PARTIAL_IOV_MAX ? n : PARTIAL_IOV_MAX;
        memcpy(partial, iov, n * sizeof partial[0]);
        partial[0].iov_base = (char *)partial[0].iov_base + place->skip;
        partial[0].iov_len -= place->skip;
        iov = partial;
    }
    return pwritev2(file->fd, iov, (int)n, (off_t)offset, flags);
}

static int write_failed(struct env_file *file, int errnum)
{
    /* Without space nothing was lost; after anything else it is not known what the file holds. */
    if (errnum != ENOSPC && errnum != EDQUOT && errnum != EFBIG) {
        file->failed = true;
    }
    return err_from_errno(errnum);
}

static int write_all(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset, int flags)
{
    struct iov_place place = {iov, n_iov, 0};
    iov_advance(&place, 0); /* past empty iovecs */
    while (place.n > 0) {
        ssize_t written = write_once(file, &place, offset, flags);
        if (written > 0) {
            offset += (uint64_t)written;
            iov_advance(&place, (size_t)written);
        } else if (written == 0) {
            return write_failed(file, EIO); /* a file that takes nothing and says nothing */
        } else if (errno == EINVAL && drop_direct(file)) {
            continue;
        } else if (errno != EINTR) {
            return errno == EOPNOTSUPP && flags != 0 ? ERR_VERSION : write_failed(file, errno);
        }
    }
    return 0;
}

int env_uv_file_sync(struct env_file *file)
{
    if (file->failed) {
        return ERR_IO;
    }
    /* Not retried, not even after EINTR: what the kernel drops with the error is not known (ATC'20). */
    if (fdatasync(file->fd) != 0) {
        file->failed = true;
        return err_from_errno(errno);
    }
    return 0;
}

int env_uv_file_write(struct env_file *file, const struct iovec *iov, size_t n_iov, uint64_t offset, enum env_sync sync)
{
    if (file->failed) {
        return ERR_IO;
    }
    /* With RWF_DSYNC every call waits for the disk: for one call only. */
    if (sync == ENV_SYNC_DATA && !file->no_dsync && n_iov <= ENV_IOV_MAX) {
        int rv = write_all(file, iov, n_iov, offset, RWF_DSYNC);
        if (rv != ERR_VERSION) {
            return rv;
        }
        file->no_dsync = true;
    }
    int rv = write_all(file, iov, n_iov, offset, 0);
    if (rv == 0 && sync == ENV_SYNC_DATA) {
        rv = env_uv_file_sync(file);
    }
    return rv;
}

/* ---- sizes ---- */

static int zero_fill(struct env_file *file, uint64_t begin, uint64_t end)
{
    void *zeros = NULL;
    if (posix_memalign(&zeros, ENV_DIRECT_ALIGN, ENV_UV_ZERO_CHUNK_BYTES) != 0) {
        return ERR_NOMEM;
    }
    memset(zeros, 0, ENV_UV_ZERO_CHUNK_BYTES);
    int rv = 0;
    while (rv == 0 && begin < end) {
        struct iovec iov[ZERO_IOV];
        uint64_t left = end - begin;
        size_t n = 0;
        size_t size = 0;
        while (n < ZERO_IOV && size < left) {
            size_t chunk = left - size < ENV_UV_ZERO_CHUNK_BYTES ? (size_t)(left - size) : ENV_UV_ZERO_CHUNK_BYTES;
            iov[n++] = (struct iovec){zeros, chunk};
            size += chunk;
        }
        rv = write_all(file, iov, n, begin, 0);
        begin += size;
    }
    free(zeros);
    return rv;
}

int env_uv_file_allocate(struct env_file *file, uint64_t size, bool zeros)
{
    uint64_t size_now;
    int rv = env_uv_file_size(file, &size_now);
    if (rv != 0) {
        return rv;
    }
    if (size_now >= size) {
        return 0;
    }
    if (!zeros) {
        do {
            rv = fallocate(file->fd, 0, (off_t)size_now, (off_t)(size - size_now));
        } while (rv != 0 && errno == EINTR);
        if (rv == 0) {
            return 0;
        }
        if (errno != EOPNOTSUPP && errno != ENOSYS) {
            return err_from_errno(errno);
        }
    }
    return zero_fill(file, size_now, size);
}

int env_uv_file_truncate(struct env_file *file, uint64_t size)
{
    int rv;
    do {
        rv = ftruncate(file->fd, (off_t)size);
    } while (rv != 0 && errno == EINTR);
    return rv == 0 ? 0 : err_from_errno(errno);
}
