/* Messages to peers. The core names entries by (index, term); here they become bytes: from memory at once, else read in
 * order, one read a peer at a time, further messages queued behind it. */
#include "proto/base/mutant.h"
#include "raft/group/internal.h"

#include <stdlib.h>
#include <string.h>

/* A heartbeat overtakes entries on their own lane, and its prev_index may then lie above what the follower has: it would
 * answer with a rejection, and the leader would send again what is on its way. For this long after entries left, or after
 * the last progress, a heartbeat names what the follower is known to have. Later it is sent as it is, and finds out what
 * was lost. */
#define OVERTAKE_MS 500
#define OVERTAKE_LOOK_MS 10000 /* so long after entries left nothing of them can still be on its way */

/* libraft sends a follower that does not answer the same entries again with each heartbeat: half a megabyte, four times a
 * second, read from the disk each time, for as long as a replica is gone from a node that is there. After so long without a
 * word it is only asked whether it is there; when it answers it gets entries again. */
#define SILENT_MS 1000

/* Where the configuration says that the replica lives: that never changes, since replica ids are never used again. */
static void peer_locate(struct group *g, struct group_peer *peer)
{
    const struct core_member *member = g->core != NULL ? core_config_find(core_config(g->core), peer->replica) : NULL;

    if (member != NULL) {
        peer->node = group_address_node(member->address);
        peer->member = true;
    }
}

static struct group_peer *peer_new(struct group *g)
{
    struct group_peer *peer = calloc(1, sizeof(*peer));

    if (peer != NULL) {
        peer->next = g->peers;
        g->peers = peer;
    }
    return peer;
}

/* One that is in no configuration (any more): strangers and replaced replicas must not take the place of members. */
static struct group_peer *peer_reuse(struct group *g)
{
    for (struct group_peer *peer = g->peers; peer != NULL; peer = peer->next) {
        bool member = g->core == NULL || core_config_find(core_config(g->core), peer->replica) != NULL;
        if (!member && !peer->reading && list_empty(&peer->queued)) {
            struct group_peer *next = peer->next;
            memset(peer, 0, sizeof(*peer));
            peer->next = next;
            return peer;
        }
    }
    return NULL;
}

struct group_peer *group_peer(struct group *g, uint64_t replica)
{
    struct group_peer *peer;
    unsigned n = 0;

    for (peer = g->peers; peer != NULL; peer = peer->next, n++) {
        if (peer->replica == replica) {
            if (!peer->member) {
                peer_locate(g, peer);
            }
            return peer;
        }
    }
    peer = n < PEERS_MAX ? peer_new(g) : peer_reuse(g);
    if (peer == NULL) {
        return NULL;
    }
    peer->group = g;
    peer->replica = replica;
    peer_locate(g, peer);
    list_init(&peer->queued);
    return peer;
}

static void queue_clear(struct group_peer *peer)
{
    struct list *node;

    while ((node = list_pop_front(&peer->queued)) != NULL) {
        free(list_entry(node, struct group_queued, link));
        peer->group->host->stats.sends_dropped++;
    }
    peer->queued_n = 0;
}

void peers_clear(struct group *g)
{
    for (struct group_peer *peer = g->peers; peer != NULL; peer = peer->next) {
        queue_clear(peer);
    }
}

void peers_free(struct group *g)
{
    peers_clear(g);
    while (g->peers != NULL) {
        struct group_peer *peer = g->peers;
        g->peers = peer->next;
        free(peer);
    }
}

/* False: it was not taken, so what follows on it need not leave. */
static bool emit(struct group *g, struct group_peer *peer, const struct core_message *m, struct entry *const *entries,
                 size_t n)
{
    struct group_host *host = g->host;
    uint8_t header[CORE_MESSAGE_ENCODED_MAX];
    size_t size = 0;
    int rv;

    rv = core_message_encode(m, header, sizeof(header), &size);
    if (rv == 0) {
        rv = host->params.send(host->params.data, peer->node, n == 0, g->id, header, size, entries, n);
    }
    if (rv != 0) {
        host->stats.sends_dropped++;
        return false;
    }
    host->stats.messages_out++;
    if (n > 0) {
        peer->entries_ms = host->now_ms;
        peer->progress_ms = host->now_ms;
        peer->asked_ms = peer->asked_ms != 0 ? peer->asked_ms : host->now_ms;
    }
    return true;
}

/* Send the first @n entries of @m, which becomes the rest. False: that was all, or was not taken: the rest is of no use then. */
static bool emit_part(struct group *g, struct group_peer *peer, struct core_message *m, struct entry *const *entries,
                      uint32_t n)
{
    struct core_message rest;

    if (n == m->append.n) {
        (void)emit(g, peer, m, entries, n);
        return false;
    }
    core_append_split(m, n, &rest);
    if (!emit(g, peer, m, entries, n)) {
        return false;
    }
    *m = rest;
    return true;
}

enum resolved { SENT /* or not taken */, REPLACED, NOT_CACHED };

/* Send as much of @m as memory has; on NOT_CACHED @m is what remains. */
static enum resolved send_cached(struct group *g, struct group_peer *peer, struct core_message *m)
{
    struct entry **entries = g->host->scratch;
    size_t bytes = 0;
    uint32_t n = 0;

    while (n < m->append.n) {
        uint64_t index = m->append.prev_index + 1 + n;
        struct entry *entry = wal_cached(g->wal, index);
        uint64_t term = entry != NULL ? entry->term : wal_group_term(g->wal, index);
        if (term != core_append_term_at(&m->append, index) && !MUTANT(LATER_TERM_UNDER_EARLIER)) {
            return REPLACED;
        }
        if (entry == NULL) {
            break;
        }
        if (n > 0 && bytes + entry->length > GROUP_SEND_MAX_BYTES) {
            if (!emit_part(g, peer, m, entries, n)) {
                return SENT;
            }
            n = 0;
            bytes = 0;
            continue;
        }
        bytes += entry->length;
        entries[n++] = entry;
    }
    if (n == m->append.n) {
        (void)emit(g, peer, m, entries, n);
        return SENT;
    }
    if (n > 0 && !emit_part(g, peer, m, entries, n)) {
        return SENT;
    }
    return NOT_CACHED;
}

static void queued_to_message(const struct group_queued *q, struct core_message *m)
{
    memset(m, 0, sizeof(*m));
    m->type = CORE_APPEND;
    m->version = q->version;
    m->from = q->from;
    m->to = q->to;
    m->term = q->term;
    m->append = q->append;
}

static void enqueue(struct group_peer *peer, const struct core_message *m)
{
    struct group_queued *q = peer->queued_n < PEER_QUEUE_MAX ? malloc(sizeof(*q)) : NULL;

    if (q == NULL) {
        peer->group->host->stats.sends_dropped++;
        return;
    }
    q->version = m->version;
    q->from = m->from;
    q->to = m->to;
    q->term = m->term;
    q->append = m->append;
    list_push_back(&peer->queued, &q->link);
    peer->queued_n++;
}

static void on_entries(struct group_io *io, int status);

static void read_first(struct group_peer *peer)
{
    struct group_queued *q = list_entry(peer->queued.next, struct group_queued, link);

    if (io_start(peer->group, q->append.prev_index + 1, q->append.n, on_entries, peer) == NULL) {
        queue_clear(peer);
        return;
    }
    peer->reading = true;
}

static void drop_first(struct group_peer *peer)
{
    free(list_entry(list_pop_front(&peer->queued), struct group_queued, link));
    peer->queued_n--;
}

/* Go on with what is queued, as far as memory reaches. */
static void pump(struct group_peer *peer)
{
    struct group *g = peer->group;

    while (!peer->reading && !list_empty(&peer->queued)) {
        struct group_queued *q = list_entry(peer->queued.next, struct group_queued, link);
        struct core_message m;
        enum resolved resolved;

        queued_to_message(q, &m);
        resolved = send_cached(g, peer, &m);
        if (resolved == NOT_CACHED) {
            q->append = m.append;
            read_first(peer);
            return;
        }
        if (resolved == REPLACED) {
            g->host->stats.sends_dropped++;
        }
        drop_first(peer);
    }
}

/* What was read answers the first queued message, or the beginning of it. */
static void send_read(struct group *g, struct group_peer *peer, struct entry *const *entries, uint32_t n)
{
    struct group_queued *q = list_entry(peer->queued.next, struct group_queued, link);
    struct core_message m;

    queued_to_message(q, &m);
    n = n < m.append.n ? n : m.append.n;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t index = m.append.prev_index + 1 + i;
        if (entries[i]->index != index ||
            (entries[i]->term != core_append_term_at(&m.append, index) && !MUTANT(LATER_TERM_UNDER_EARLIER))) {
            g->host->stats.sends_dropped++;
            drop_first(peer);
            return;
        }
    }
    if (n > 0 && emit_part(g, peer, &m, entries, n)) {
        q->append = m.append;
        return;
    }
    drop_first(peer);
}

static void on_entries(struct group_io *io, int status)
{
    struct group *g = io->group;
    struct group_peer *peer = io->peer;

    peer->reading = false;
    if (status == ERR_CORRUPT) {
        group_damaged(g, "an entry read back for a peer is corrupt");
    }
    if (g->state != GROUP_OPEN || list_empty(&peer->queued)) {
        io_drop(io);
        return;
    }
    if (status != 0) {
        g->host->stats.sends_dropped++;
        drop_first(peer);
    } else if (list_entry(peer->queued.next, struct group_queued, link)->append.prev_index + 1 == io->read.first) {
        send_read(g, peer, io->read.entries, io->read.n);
    }
    io_drop(io);
    pump(peer);
}

static void strip(struct core_message *m)
{
    m->append.n = 0;
    m->append.n_runs = 0;
    if (m->append.commit > m->append.prev_index) {
        m->append.commit = m->append.prev_index;
    }
}

static void send_entries(struct group *g, struct group_peer *peer, const struct core_message *message)
{
    struct core_message m = *message;
    enum resolved resolved;

    if (peer->asked_ms != 0 && g->host->now_ms - peer->asked_ms >= SILENT_MS) {
        strip(&m);
        (void)emit(g, peer, &m, NULL, 0);
        return;
    }
    if (!list_empty(&peer->queued)) {
        enqueue(peer, &m);
        return;
    }
    resolved = send_cached(g, peer, &m);
    if (resolved == NOT_CACHED) {
        enqueue(peer, &m);
        if (!peer->reading && !list_empty(&peer->queued)) {
            read_first(peer);
        }
    } else if (resolved == REPLACED) {
        g->host->stats.sends_dropped++;
    }
}

/* See OVERTAKE_MS. What it becomes is a heartbeat that this leader could have sent a little earlier: Raft's messages may
 * be late. */
static void heartbeat_adjust(struct group *g, struct group_peer *peer, struct core_message *m)
{
    uint64_t now_ms = g->host->now_ms;
    uint64_t match;

    if (peer->entries_ms == 0 || now_ms - peer->entries_ms >= OVERTAKE_LOOK_MS) {
        return;
    }
    if (core_match(g->core, peer->replica, &match) != 0) {
        return;
    }
    if (match != peer->match) {
        peer->match = match;
        peer->progress_ms = now_ms;
    }
    if (match == 0 || m->append.prev_index <= match || now_ms - peer->progress_ms >= OVERTAKE_MS) {
        return;
    }
    if (core_term_at(g->core, match) == 0) {
        return;
    }
    m->append.prev_index = match;
    m->append.prev_term = core_term_at(g->core, match);
    if (m->append.commit > match) {
        m->append.commit = match;
    }
}

void group_send(struct core *core, const struct core_message *message)
{
    struct group *g = core_data(core);
    struct group_peer *peer;

    if (g->state != GROUP_OPEN) {
        return;
    }
    if (message->type == CORE_INSTALL) { /* no snapshots in this version: logs are kept whole */
        g->host->stats.installs_dropped++;
        return;
    }
    peer = group_peer(g, message->to);
    if (peer == NULL || peer->node == 0) {
        g->host->stats.sends_dropped++;
        return;
    }
    if (message->type == CORE_APPEND && message->append.n > 0) {
        send_entries(g, peer, message);
        return;
    }
    if (core_message_is_heartbeat(message) && core_role(core) == CORE_LEADER) {
        struct core_message m = *message;
        heartbeat_adjust(g, peer, &m);
        (void)emit(g, peer, &m, NULL, 0);
        return;
    }
    (void)emit(g, peer, message, NULL, 0);
}

int group_message_strip(const uint8_t *header, size_t size, uint8_t *out, size_t *out_size)
{
    struct core_message m;

    if (core_message_decode(header, size, &m) != 0 || m.type != CORE_APPEND) {
        return ERR_INVALID;
    }
    strip(&m);
    return core_message_encode(&m, out, GROUP_MESSAGE_MAX, out_size);
}
