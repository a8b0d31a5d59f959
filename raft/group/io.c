/* Reads of the shard log: for entries that are no longer in memory, and at start. Bounded for all groups together, else
 * thousands of groups that start at once would ask for all memory there is. */
#include "raft/group/internal.h"

#include <assert.h>
#include <stdlib.h>

void io_drop(struct group_io *io)
{
    if (io->read.entries == NULL) {
        return;
    }
    for (uint32_t i = 0; i < io->read.n; i++) {
        entry_release(io->read.entries[i]);
    }
    free(io->read.entries);
    io->read.entries = NULL;
    io->read.n = 0;
}

void io_free(struct group_io *io)
{
    io_drop(io);
    list_remove(&io->link);
    list_remove(&io->wait_link);
    free(io);
}

static void issue_waiting(struct group_host *host);

/* Back from the shard log. */
static void finish(struct group_io *io, int status)
{
    struct group_host *host = io->host;

    host->reads--;
    if (io->group != NULL) {
        if (status != 0) {
            io->read.entries = NULL; /* untouched on error */
            io->read.n = 0;
        }
        list_remove(&io->link); /* @done may close the group's own reads */
        io->done(io, status);
    } else if (status != 0) {
        io->read.entries = NULL;
    }
    io_free(io);
    if (!host->closed) {
        issue_waiting(host);
    }
    host_unref(host);
}

/* What the disk could not read now it may read in a moment; a place that stays unreadable is as good as rotten. */
static int judge_failure(struct group_io *io)
{
    struct group_host *host = io->host;

    if (io->tries == READ_TRIES_MAX) {
        return ERR_CORRUPT;
    }
    io->tries++;
    io->issued = false;
    host->reads--;
    list_push_back(&host->io_failed, &io->wait_link);
    issue_waiting(host);
    host_unref(host);
    return 0;
}

static void on_read(struct wal_read *read, int status)
{
    struct group_io *io = container_of(read, struct group_io, read);

    host_now(io->host);
    if (status == ERR_IO && io->group != NULL) {
        status = judge_failure(io);
        if (status == 0) {
            return;
        }
    }
    finish(io, status);
}

static void issue(struct group_io *io)
{
    struct group_host *host = io->host;

    io->issued = true;
    host->reads++;
    host->outstanding++;
    host->stats.reads++;
    if (wal_read(host->wal, &io->read)) {
        /* From memory; delivered in the hook, since nothing may run inside the caller. */
        list_push_back(&host->io_answered, &io->wait_link);
        env_wake(host->env);
    }
}

static void issue_waiting(struct group_host *host)
{
    struct list *node;

    while (host->reads < READS_MAX && (node = list_pop_front(&host->io_waiting)) != NULL) {
        issue(list_entry(node, struct group_io, wait_link));
    }
}

void io_try_again(struct group_host *host)
{
    list_splice_back(&host->io_waiting, &host->io_failed);
    issue_waiting(host);
}

struct group_io *io_start(struct group *g, uint64_t first, uint32_t n_max, void (*done)(struct group_io *io, int status),
                          struct group_peer *peer)
{
    struct group_host *host = g->host;
    struct group_io *io = calloc(1, sizeof(*io));

    if (io == NULL) {
        return NULL;
    }
    io->host = host;
    io->group = g;
    io->done = done;
    io->peer = peer;
    io->read.group = g->id;
    io->read.first = first;
    io->read.n_max = n_max < WAL_READ_ENTRIES_MAX ? n_max : WAL_READ_ENTRIES_MAX;
    io->read.bytes_max = READ_BYTES;
    io->read.done = on_read;
    list_init(&io->wait_link);
    list_push_back(&g->ios, &io->link);
    if (host->reads < READS_MAX) {
        issue(io);
    } else {
        list_push_back(&host->io_waiting, &io->wait_link);
    }
    return io;
}

void io_deliver(struct group_host *host)
{
    struct list answered;
    struct list *node;

    list_init(&answered);
    list_splice_back(&answered, &host->io_answered);
    while ((node = list_pop_front(&answered)) != NULL) {
        finish(list_entry(node, struct group_io, wait_link), 0);
    }
}

/* The group goes: reads under way come back to nobody. */
void ios_orphan(struct group *g)
{
    struct list *node;

    while ((node = list_pop_front(&g->ios)) != NULL) {
        struct group_io *io = list_entry(node, struct group_io, link);
        io->group = NULL;
        io->peer = NULL;
        if (!io->issued) {
            io_free(io);
            continue;
        }
        list_push_back(&g->host->orphan_ios, &io->link);
    }
}
