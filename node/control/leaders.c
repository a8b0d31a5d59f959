/* Who leads what: soft state. Each node tells what it leads, as it happens and once a minute; the newer term wins. */
#include <stdlib.h>

#include "node/control/control_internal.h"

void leaders_init(struct control *c)
{
    list_init(&c->leaders.announce);
}

static struct leader *find(const struct control *c, uint64_t group)
{
    struct leader *l;
    HASH_FIND(hh, c->leaders.table, &group, sizeof group, l);
    return l;
}

static struct leader *find_or_make(struct control *c, uint64_t group)
{
    struct leader *l = find(c, group);
    if (l != NULL || HASH_COUNT(c->leaders.table) >= CONTROL_LEADERS_MAX) {
        return l;
    }
    l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->group = group;
    list_init(&l->announce);
    HASH_ADD(hh, c->leaders.table, group, sizeof l->group, l);
    if (l->hh.tbl == NULL) {
        free(l);
        return NULL;
    }
    return l;
}

static void drop(struct control *c, struct leader *l)
{
    c->leaders.own -= l->node == c->node;
    list_remove(&l->announce);
    HASH_DEL(c->leaders.table, l);
    free(l);
}

void leaders_note(struct control *c, uint64_t group, uint64_t term, uint32_t node)
{
    struct leader *l;

    if (metadata_fsm_group_deleted(c->metadata.fsm, group)) {
        return;
    }
    l = find_or_make(c, group);
    /* In one term there is one leader: that a follower has lost sight of it (node 0) says nothing. But that this node
     * itself leads no more, it knows. */
    if (l == NULL || term < l->term || (term == l->term && node == 0 && l->node != c->node)) {
        return;
    }
    if (l->term == term && l->node == node) {
        return;
    }
    c->leaders.own += node == c->node;
    c->leaders.own -= l->node == c->node;
    l->term = term;
    l->node = node;
    list_remove(&l->announce);
    if (node == c->node) {
        list_push_back(&c->leaders.announce, &l->announce);
        control_wake(c);
    }
    if (group == METADATA_GROUP) {
        c->calls.kick = true;
        control_wake(c);
    }
}

uint32_t control_leader_of(const struct control *c, uint64_t group, uint64_t *term)
{
    const struct leader *l = find(c, group);
    if (term != NULL) {
        *term = l == NULL ? 0 : l->term;
    }
    return l == NULL ? 0 : l->node;
}

void leaders_forget(struct control *c, uint64_t group)
{
    struct leader *l = find(c, group);
    if (l != NULL) {
        drop(c, l);
    }
}

void leaders_receive(struct control *c, uint32_t node, const uint8_t *message, size_t size)
{
    Cairn__Cluster__Leaders *m;
    if (!control_is_formed(c)) {
        return;
    }
    m = cairn__cluster__leaders__unpack(NULL, size, message);
    if (m == NULL) {
        return;
    }
    for (size_t i = 0; i < m->n_hints; i++) {
        const Cairn__Cluster__LeaderHint *hint = m->hints[i];
        if (hint->node == node) { /* each speaks for itself only */
            leaders_note(c, hint->group, hint->term, hint->node);
        }
    }
    cairn__cluster__leaders__free_unpacked(m, NULL);
}

/* ---- telling ------------------------------------------------------------------------------------------------- */

struct hints {
    Cairn__Cluster__LeaderHint items[CONTROL_HINTS_MAX];
    Cairn__Cluster__LeaderHint *pointers[CONTROL_HINTS_MAX];
    size_t n;
};

/* To one node, or (0) to all that are up. */
static void send_hints(struct control *c, uint32_t node, struct hints *h)
{
    Cairn__Cluster__Leaders m = CAIRN__CLUSTER__LEADERS__INIT;
    uint8_t *message;
    size_t size;

    m.hints = h->pointers;
    m.n_hints = h->n;
    h->n = 0;
    if (m.n_hints == 0) {
        return;
    }
    size = cairn__cluster__leaders__get_packed_size(&m);
    message = malloc(size);
    if (message == NULL) {
        return;
    }
    cairn__cluster__leaders__pack(&m, message);
    for (struct control_peer *p = c->peers; p != NULL; p = p->hh.next) {
        if (p->up && (node == 0 || p->node == node) &&
            transport_control(c->transport, p->node, CALL_PEER_LEADERS, message, size) != 0) {
            continue; /* told again within a minute */
        }
    }
    free(message);
}

static void add_hint(struct control *c, uint32_t node, struct hints *h, const struct leader *l)
{
    Cairn__Cluster__LeaderHint *hint = &h->items[h->n];
    cairn__cluster__leader_hint__init(hint);
    hint->group = l->group;
    hint->term = l->term;
    hint->node = l->node;
    h->pointers[h->n++] = hint;
    if (h->n == CONTROL_HINTS_MAX) {
        send_hints(c, node, h);
    }
}

void leaders_tell_all(struct control *c, uint32_t node)
{
    struct hints *h;
    if (c->leaders.own == 0) {
        return;
    }
    h = malloc(sizeof *h);
    if (h == NULL) {
        return;
    }
    h->n = 0;
    for (struct leader *l = c->leaders.table; l != NULL; l = l->hh.next) {
        if (l->node == c->node) {
            add_hint(c, node, h, l);
        }
    }
    send_hints(c, node, h);
    free(h);
}

void leaders_turn(struct control *c)
{
    struct hints *h;
    struct list *pos;
    if (list_empty(&c->leaders.announce)) {
        return;
    }
    h = malloc(sizeof *h);
    if (h == NULL) {
        return;
    }
    h->n = 0;
    while ((pos = list_pop_front(&c->leaders.announce)) != NULL) {
        add_hint(c, 0, h, list_entry(pos, struct leader, announce));
    }
    send_hints(c, 0, h);
    free(h);
}

static void drop_deleted(struct control *c)
{
    struct leader *l;
    struct leader *next;
    HASH_ITER (hh, c->leaders.table, l, next) {
        if (metadata_fsm_group_deleted(c->metadata.fsm, l->group)) {
            drop(c, l);
        }
    }
}

void leaders_tick(struct control *c, uint64_t now_ms)
{
    if (now_ms >= c->leaders.next_all_ms) {
        if (c->leaders.next_all_ms != 0) {
            drop_deleted(c);
            leaders_tell_all(c, 0);
        }
        c->leaders.next_all_ms =
            now_ms + CONTROL_LEADERS_ALL_MS / 2 + env_random(c->env) % (CONTROL_LEADERS_ALL_MS / 2);
    }
}

void leaders_free(struct control *c)
{
    struct leader *l;
    struct leader *next;
    HASH_ITER (hh, c->leaders.table, l, next) {
        drop(c, l);
    }
}
