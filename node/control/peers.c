#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"
#include "proto/base/mutant.h"

struct control_peer *control_peers_find(const struct control *c, uint32_t node)
{
    struct control_peer *p;
    HASH_FIND(hh, c->peers, &node, sizeof node, p);
    return p;
}

struct control_peer *control_peers_note(struct control *c, uint32_t node, const char *address)
{
    struct control_peer *p = control_peers_find(c, node);
    if (node == c->node || node == 0) {
        return NULL;
    }
    if (p == NULL) {
        if (HASH_COUNT(c->peers) >= METADATA_NODES_MAX + CONTROL_GUESTS_MAX) {
            return NULL;
        }
        p = calloc(1, sizeof *p);
        if (p == NULL) {
            return NULL;
        }
        p->node = node;
        HASH_ADD(hh, c->peers, node, sizeof p->node, p);
        if (p->hh.tbl == NULL) {
            free(p);
            return NULL;
        }
    }
    if (strcmp(p->address, address) != 0) {
        snprintf(p->address, sizeof p->address, "%s", address);
        p->changed = true;
        c->peers_changed = true;
        control_wake(c);
    }
    return p;
}

bool control_peers_known_disk(const struct control *c, uint32_t node, struct uuid *disk_id)
{
    const struct metadata_node *n = metadata_fsm_node(c->metadata.fsm, node);
    uint32_t rank = seed_list_rank(&c->id.founders, node);
    if (n != NULL) {
        *disk_id = n->disk_id;
        return true;
    }
    if (rank != UINT32_MAX) {
        *disk_id = c->id.founders.seeds[rank].disk_id;
        return true;
    }
    return false;
}

static uint32_t count_guests(const struct control *c)
{
    uint32_t n = 0;
    struct uuid disk_id;
    for (struct control_peer *p = c->peers; p != NULL; p = p->hh.next) {
        n += !control_peers_known_disk(c, p->node, &disk_id);
    }
    return n;
}

static int admit_formed(struct control *c, const struct transport_identity *peer, char *text)
{
    struct uuid disk_id;
    char known[UUID_TEXT_SIZE];
    char told[UUID_TEXT_SIZE];

    if (control_peers_known_disk(c, peer->node, &disk_id)) {
        if (!uuid_equal(&disk_id, &peer->disk_id) && !MUTANT(RESUME_AFTER_WIPE)) {
            snprintf(text, ERRMSG_SIZE,
                     "node %u is known with disk %s, this is %s: its data directory was emptied or replaced; bring the "
                     "old one back, or start with a new node id",
                     peer->node, uuid_format(&disk_id, known), uuid_format(&peer->disk_id, told));
            return ERR_DISK_WIPED;
        }
        return 0;
    }
    if (!uuid_is_nil(&peer->cluster_id)) {
        return 0; /* some member has let it in, our read model lags */
    }
    if (c->id.founders.n == 1) {
        snprintf(text, ERRMSG_SIZE, "this cluster was founded by a single seed: it takes no further nodes");
        return ERR_REFUSED;
    }
    if (control_peers_find(c, peer->node) == NULL && count_guests(c) >= CONTROL_GUESTS_MAX) {
        snprintf(text, ERRMSG_SIZE, "%d nodes are joining already", CONTROL_GUESTS_MAX);
        return ERR_BUSY;
    }
    return 0;
}

int control_peers_admit(void *data, const struct transport_identity *peer, char *text)
{
    struct control *c = data;
    struct control_peer *p;
    int rv;

    if (c->closing || c->refused) {
        snprintf(text, ERRMSG_SIZE, "node %u is shutting down", c->node);
        return ERR_SHUTDOWN;
    }
    rv = control_is_formed(c) ? admit_formed(c, peer, text) : formation_admit(c, peer, text);
    if (rv != 0) {
        return rv;
    }
    p = control_peers_find(c, peer->node);
    /* Its own word on where it is reached counts, unless the address at hand works, or is the one that founding is
     * about. */
    if (p == NULL || (!p->up && (control_is_formed(c) || seed_list_find(&c->formation.seeds, peer->node) == NULL))) {
        p = control_peers_note(c, peer->node, peer->peer_address);
        if (p == NULL) {
            snprintf(text, ERRMSG_SIZE, "node %u knows too many peers", c->node);
            return ERR_BUSY;
        }
    }
    if (!uuid_equal(&p->disk_id, &peer->disk_id)) {
        p->disk_id = peer->disk_id;
        p->formed = false;
    }
    p->heard_ms = env_now_ms(c->env);
    return 0;
}

void control_peers_refused(void *data, uint32_t node, int err, const char *text)
{
    struct control *c = data;
    struct control_peer *p = control_peers_find(c, node);
    uint32_t refusing = 0;

    if (!control_is_formed(c)) {
        if (err == ERR_DISK_WIPED || err == ERR_STALE_BOOT || err == ERR_REFUSED) {
            control_refuse(c, err, text);
        }
        return;
    }
    if (p == NULL || (err != ERR_DISK_WIPED && err != ERR_STALE_BOOT)) {
        return;
    }
    /* One confused peer must not stop a healthy node: most of them say so, and none lets it take part. */
    p->refuses_us = true;
    for (p = c->peers; p != NULL; p = p->hh.next) {
        refusing += p->refuses_us && !p->up;
    }
    if (!c->metadata.confirmed && 2 * refusing > HASH_COUNT(c->peers)) {
        control_refuse(c, err, text);
    }
}

void control_peers_link(void *data, uint32_t node, bool up)
{
    struct control *c = data;
    struct control_peer *p = control_peers_find(c, node);
    if (p == NULL) {
        return;
    }
    p->up = up;
    p->up_ms = up ? env_now_ms(c->env) : 0;
    p->met = false;
    if (up) {
        p->refuses_us = false;
        c->peers_changed = true;
        c->calls.kick = true;
    } else {
        control_calls_link_down(c, node);
        log_ends_link_down(c, node);
        formation_link_down(c, node);
    }
    control_wake(c);
}

/* The registration of a node moved, or is seen for the first time. */
static void follow_node(struct control *c, const struct metadata_node *n)
{
    struct control_peer *p = control_peers_find(c, n->node);
    bool first = p == NULL || p->registered[0] == '\0';

    if (p != NULL && strcmp(p->registered, n->peer_address) == 0) {
        return;
    }
    /* What this node was configured with, or reaches, stands before what it reads of the past. */
    if (p == NULL || !first || (!p->up && seed_list_find(&c->formation.seeds, n->node) == NULL)) {
        p = control_peers_note(c, n->node, n->peer_address);
    }
    if (p != NULL) {
        snprintf(p->registered, sizeof p->registered, "%s", n->peer_address);
    }
}

void control_peers_follow_metadata(struct control *c)
{
    for (uint32_t i = 0; i < metadata_fsm_nodes(c->metadata.fsm); i++) {
        const struct metadata_node *n = metadata_fsm_node_at(c->metadata.fsm, i);
        if (n->node != c->node) {
            follow_node(c, n);
        }
    }
}

void control_peers_turn(struct control *c)
{
    struct control_peer *p;
    struct control_peer *next;

    if (!c->peers_changed) {
        return;
    }
    c->peers_changed = false;
    HASH_ITER (hh, c->peers, p, next) {
        if (p->changed) {
            int rv = transport_peer_set(c->transport, p->node, p->address);
            p->changed = false;
            if (rv != 0) {
                log_event(c->env->logger, LOG_WARN, "peer_address_unusable", "node=%u address=%s err=%s", p->node,
                          p->address, err_name(rv));
            }
        }
        if (p->up && !p->met) {
            p->met = true;
            c->formation.tell = true;    /* an unformed node introduces itself */
            c->formation.changed = true; /* who was missing may have been this one */
            leaders_tell_all(c, p->node);
        }
    }
}

void control_peers_tick(struct control *c, uint64_t now_ms)
{
    struct control_peer *p;
    struct control_peer *next;
    struct uuid disk_id;

    if (!control_is_formed(c)) {
        return;
    }
    HASH_ITER (hh, c->peers, p, next) {
        if (p->heard_ms != 0 && now_ms - p->heard_ms > CONTROL_GUEST_MS &&
            !control_peers_known_disk(c, p->node, &disk_id) && seed_list_find(&c->formation.seeds, p->node) == NULL) {
            log_event(c->env->logger, LOG_INFO, "guest_forgotten", "node=%u", p->node);
            transport_peer_remove(c->transport, p->node);
            control_calls_link_down(c, p->node);
            HASH_DEL(c->peers, p);
            free(p);
        }
    }
}

void control_peers_free(struct control *c)
{
    struct control_peer *p;
    struct control_peer *next;
    HASH_ITER (hh, c->peers, p, next) {
        HASH_DEL(c->peers, p);
        free(p);
    }
}

bool control_node_alive(const struct control *c, uint32_t node)
{
    const struct control_peer *p = control_peers_find(c, node);
    return node == c->node || (p != NULL && p->up && transport_peer_silent_ms(c->transport, node) < CONTROL_ALIVE_MS);
}
