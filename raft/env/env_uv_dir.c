/* Directories, names, free space, and the lock of a data directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "raft/env/env_uv_impl.h"

#define DIR_MODE 0750
#define LOCK_MODE 0640

struct env_lock {
    int fd;
};

int env_uv_dir_make(struct env *env, const char *path)
{
    return mkdir(path, DIR_MODE) == 0 ? 0 : err_from_errno(errno);
}

int env_uv_dir_list(struct env *env, const char *path, void (*each)(void *data, const char *name), void *data)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return err_from_errno(errno);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            each(data, entry->d_name);
        }
    }
    int rv = err_from_errno(errno);
    closedir(dir);
    return rv;
}

int env_uv_dir_sync(struct env *env, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    int rv = fsync(fd) == 0 ? 0 : err_from_errno(errno);
    close(fd);
    return rv;
}

int env_uv_path_rename(struct env *env, const char *from, const char *to)
{
    return rename(from, to) == 0 ? 0 : err_from_errno(errno);
}

int env_uv_path_unlink(struct env *env, const char *path)
{
    int rv = unlink(path);
    if (rv != 0 && errno == EISDIR) {
        rv = rmdir(path);
    }
    return rv == 0 ? 0 : err_from_errno(errno);
}

int env_uv_disk_free(struct env *env, const char *path, uint64_t *bytes)
{
    struct statvfs st;
    int rv;
    do {
        rv = statvfs(path, &st);
    } while (rv != 0 && errno == EINTR);
    if (rv != 0) {
        return err_from_errno(errno);
    }
    *bytes = (uint64_t)st.f_bavail * st.f_frsize; /* without what is reserved for root */
    return 0;
}

/* flock: it goes with the process, however that ends, and holds against a second environment of the same process. */
int env_uv_lock_acquire(struct env *env, const char *path, struct env_lock **out)
{
    int rv;
    struct env_lock *lock = malloc(sizeof *lock);
    if (lock == NULL) {
        return ERR_NOMEM;
    }
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (lock->fd < 0) {
        rv = err_from_errno(errno);
        goto err;
    }
    if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
        rv = errno == EWOULDBLOCK ? ERR_BUSY : err_from_errno(errno);
        goto err_after_open;
    }
    /* For people only: who holds it. */
    if (ftruncate(lock->fd, 0) == 0) {
        dprintf(lock->fd, "%ld\n", (long)getpid());
    }
    *out = lock;
    return 0;
err_after_open:
    close(lock->fd);
err:
    free(lock);
    return rv;
}

void env_uv_lock_release(struct env_lock *lock)
{
    close(lock->fd); /* the file stays: removing it would let two processes lock two files of one name */
    free(lock);
}
