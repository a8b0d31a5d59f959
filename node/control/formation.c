/* First start. A seed tells the others the list it was given and its own identity. When it has heard from each of them
 * first-hand, it pledges, durably, to exactly that list; when it has seen the same pledge of all, it founds the cluster
 * whose id is the list's hash.
 *
 * Why no second cluster can form: the id stands for nodes *with their disks*; each disk pledges to one list at a time
 * and founding takes the pledges of all. A disk that founds never pledges again. A pledge taken back by --forget-pledge
 * is one of a node that has not founded, thus has no vote; should another have founded on it meanwhile, that one tells
 * the list, and the node founds with it under the same id. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/control/control_internal.h"
#include "proto/base/mutant.h"

static int config_error(char *errmsg, const char *problem)
{
    snprintf(errmsg, ERRMSG_SIZE, "seeds: %s; allowed: 1 to %d of id@host:port, each id and address once", problem,
             CONTROL_SEEDS_MAX);
    return ERR_CONFIG;
}

int formation_open(struct control *c, const struct control_params *params, char *errmsg)
{
    struct formation *f = &c->formation;
    char problem[ERRMSG_SIZE / 2];

    for (uint32_t i = 0; i < params->n_seeds; i++) {
        const struct control_seed *seed = &params->seeds[i];
        int rv = seed_list_add(&f->seeds, seed->node, seed->address, NULL);
        if (rv != 0) {
            snprintf(problem, sizeof problem, "%u@%.64s: %s", seed->node, seed->address, err_text(rv));
            return config_error(errmsg, problem);
        }
    }
    if (control_is_formed(c)) {
        return 0;
    }
    if (f->seeds.n == 0) {
        return config_error(errmsg, "none given");
    }
    for (uint32_t i = 0; c->id.pledge.n > 0 && i < CONTROL_SEEDS_MAX; i++) {
        if (i < c->id.pledge.n && seed_list_find(&f->seeds, c->id.pledge.seeds[i].node) != NULL) {
            continue;
        }
        if (i < c->id.pledge.n || c->id.pledge.n != f->seeds.n) {
            return config_error(errmsg,
                                "not those that this node has pledged to found with (bring them back, or start once "
                                "with --forget-pledge)");
        }
        break;
    }
    for (uint32_t i = 0; i < f->seeds.n; i++) {
        struct seed *seed = &f->seeds.seeds[i];
        if (c->id.pledge.n > 0) {
            seed->disk_id = seed_list_find(&c->id.pledge, seed->node)->disk_id;
        } else if (seed->node == c->node) {
            seed->disk_id = c->id.disk_id;
        }
    }
    f->changed = true;
    return 0;
}

/* ---- hearing ------------------------------------------------------------------------------------------------- */

int formation_admit(struct control *c, const struct transport_identity *peer, char *text)
{
    struct formation *f = &c->formation;
    struct seed *seed = seed_list_find(&f->seeds, peer->node);
    char known[UUID_TEXT_SIZE];
    char told[UUID_TEXT_SIZE];

    if (!uuid_is_nil(&peer->cluster_id)) {
        return 0; /* what it founded is judged when it tells its list */
    }
    if (seed == NULL || seed_list_find(&f->seeds, c->node) == NULL) {
        snprintf(text, ERRMSG_SIZE, "the cluster is not formed yet");
        return ERR_NOT_FORMED;
    }
    if (uuid_equal(&seed->disk_id, &peer->disk_id)) {
        return 0;
    }
    if (c->id.pledge.n > 0) {
        snprintf(
            text, ERRMSG_SIZE,
            "node %u pledged to found with node %u on disk %s, this is %s: emptied or replaced; start the nodes that "
            "pledged once with --forget-pledge",
            c->node, peer->node, uuid_format(&seed->disk_id, known), uuid_format(&peer->disk_id, told));
        return ERR_NOT_FORMED;
    }
    seed->disk_id = peer->disk_id;
    memset(&f->heard[seed_list_rank(&f->seeds, peer->node)], 0, sizeof f->heard[0]);
    f->changed = true;
    f->tell = true;
    control_wake(c);
    return 0;
}

/* A member of a formed cluster tells its founders. */
static void hear_formed(struct control *c, uint32_t node, const struct seed_list *founders,
                        const struct uuid *cluster_id)
{
    struct uuid hash = seed_list_hash(founders);
    uint32_t rank = seed_list_rank(founders, c->node);
    struct control_peer *p = control_peers_find(c, node);
    char text[ERRMSG_SIZE];

    if (!seed_list_complete(founders) || !uuid_equal(&hash, cluster_id)) {
        log_event(c->env->logger, LOG_WARN, "form_ignored", "node=%u text=\"its founders do not make its cluster id\"",
                  node);
        return;
    }
    if (rank != UINT32_MAX) {
        if (!uuid_equal(&founders->seeds[rank].disk_id, &c->id.disk_id) && !MUTANT(RESUME_AFTER_WIPE)) {
            snprintf(text, sizeof text,
                     "node %u is a founder of the cluster with another disk: this data directory was "
                     "emptied or replaced; bring the old one back, or start with a new node id",
                     c->node);
            control_refuse(c, ERR_DISK_WIPED, text);
            return;
        }
        /* It could be founded because this disk had pledged to exactly that. */
        if (identity_write_formed(&c->id, founders, rank < METADATA_VOTERS_MAX ? rank + 1 : 0,
                                  rank < METADATA_VOTERS_MAX) != 0) {
            env_fatal(c->env, "the identity file cannot be written");
        }
        log_event(c->env->logger, LOG_INFO, "form_adopted", "node=%u rank=%u from=%u", c->node, rank, node);
        control_became_formed(c);
        return;
    }
    if (c->id.pledge.n > 0) {
        if (env_now_ms(c->env) >= c->formation.next_log_ms) {
            log_event(c->env->logger, LOG_ERROR, "form_conflict",
                      "node=%u text=\"it is part of a cluster that this node is "
                      "no founder of, but this node has pledged to found with others: start it once with "
                      "--forget-pledge to join\"",
                      node);
        }
        return;
    }
    if (seed_list_find(&c->formation.seeds, node) != NULL && p != NULL) {
        p->formed = true;
        join_start(c, founders, cluster_id);
    }
}

/* Another seed that is as unformed as this one. */
static void hear_seed(struct control *c, uint32_t node, const struct seed_list *list, const struct uuid *pledge)
{
    struct formation *f = &c->formation;
    uint32_t rank = seed_list_rank(&f->seeds, node);
    struct formation_seed *heard;
    struct uuid complete = {0};

    if (rank == UINT32_MAX) {
        return;
    }
    heard = &f->heard[rank];
    if (heard->mismatch != !seed_list_same_seeds(&f->seeds, list)) {
        heard->mismatch = !heard->mismatch;
        f->changed = true;
        control_wake(c);
        if (heard->mismatch) {
            log_event(c->env->logger, LOG_ERROR, "form_mismatch",
                      "node=%u text=\"it was given other seeds or writes their "
                      "addresses in another way: all seeds need the same list\"",
                      node);
        }
    }
    if (seed_list_complete(list)) {
        complete = seed_list_hash(list);
    }
    if (!uuid_equal(&heard->pledge, pledge) || !uuid_equal(&heard->list, &complete)) {
        heard->pledge = *pledge;
        heard->list = complete;
        f->changed = true;
        control_wake(c);
    }
}

/* What a seed said counts while it is there. Its pledge stands on its disk. */
void formation_link_down(struct control *c, uint32_t node)
{
    uint32_t rank = seed_list_rank(&c->formation.seeds, node);
    if (rank != UINT32_MAX) {
        memset(&c->formation.heard[rank].list, 0, sizeof c->formation.heard[rank].list);
    }
}

static void tell(struct control *c, uint32_t node);

void formation_receive(struct control *c, uint32_t node, const uint8_t *message, size_t size)
{
    Cairn__Cluster__FormState *m = cairn__cluster__form_state__unpack(NULL, size, message);
    struct seed_list *list = NULL;
    struct uuid pledge = {0};
    struct uuid cluster_id = {0};

    if (m == NULL) {
        return;
    }
    list = malloc(sizeof *list);
    if (list == NULL || seed_list_decode(m->seeds, m->n_seeds, list) != 0 ||
        (m->pledge.len != 0 && m->pledge.len != sizeof pledge.bytes) ||
        (m->cluster_id.len != 0 && m->cluster_id.len != sizeof cluster_id.bytes)) {
        goto out;
    }
    if (m->pledge.len != 0) {
        memcpy(pledge.bytes, m->pledge.data, m->pledge.len);
    }
    if (m->cluster_id.len != 0) {
        memcpy(cluster_id.bytes, m->cluster_id.data, m->cluster_id.len);
    }
    if (control_is_formed(c)) {
        if (uuid_is_nil(&cluster_id)) {
            tell(c, node);
        }
    } else if (!uuid_is_nil(&cluster_id)) {
        hear_formed(c, node, list, &cluster_id);
    } else {
        hear_seed(c, node, list, &pledge);
    }
out:
    free(list);
    cairn__cluster__form_state__free_unpacked(m, NULL);
}

/* ---- telling ------------------------------------------------------------------------------------------------- */

static void tell(struct control *c, uint32_t node)
{
    Cairn__Cluster__FormState m = CAIRN__CLUSTER__FORM_STATE__INIT;
    struct seed_messages *list = malloc(sizeof *list);
    struct uuid pledge;
    uint8_t *message;
    size_t size;

    if (list == NULL) {
        return;
    }
    if (control_is_formed(c)) {
        seed_list_messages(&c->id.founders, list);
        m.n_seeds = c->id.founders.n;
        m.cluster_id.data = c->id.cluster_id.bytes;
        m.cluster_id.len = sizeof c->id.cluster_id.bytes;
    } else {
        seed_list_messages(&c->formation.seeds, list);
        m.n_seeds = c->formation.seeds.n;
        if (c->id.pledge.n > 0) {
            pledge = seed_list_hash(&c->id.pledge);
            m.pledge.data = pledge.bytes;
            m.pledge.len = sizeof pledge.bytes;
        }
    }
    m.seeds = list->pointers;
    size = cairn__cluster__form_state__get_packed_size(&m);
    message = malloc(size);
    if (message != NULL) {
        cairn__cluster__form_state__pack(&m, message);
        (void)(transport_control(c->transport, node, CALL_FORM, message, size) == 0); /* lost: said again */
    }
    free(message);
    free(list);
}

static void tell_all(struct control *c)
{
    for (uint32_t i = 0; i < c->formation.seeds.n; i++) {
        struct control_peer *p = control_peers_find(c, c->formation.seeds.seeds[i].node);
        if (p != NULL && p->up) {
            tell(c, p->node);
        }
    }
}

/* ---- deciding ------------------------------------------------------------------------------------------------ */

/* A pledge binds: it is given when every seed is there and says that it knows the same disks. */
static bool may_pledge(const struct control *c)
{
    const struct formation *f = &c->formation;
    struct uuid hash;

    if (!seed_list_complete(&f->seeds)) {
        return false;
    }
    hash = seed_list_hash(&f->seeds);
    for (uint32_t i = 0; i < f->seeds.n; i++) {
        const struct control_peer *p = control_peers_find(c, f->seeds.seeds[i].node);
        if (f->seeds.seeds[i].node == c->node) {
            continue;
        }
        if (p == NULL || !p->up || p->formed || f->heard[i].mismatch || !uuid_equal(&f->heard[i].list, &hash)) {
            return false;
        }
    }
    return true;
}

static bool all_pledged(const struct control *c)
{
    const struct formation *f = &c->formation;
    struct uuid hash = seed_list_hash(&c->id.pledge);
    for (uint32_t i = 0; i < f->seeds.n; i++) {
        if (f->seeds.seeds[i].node != c->node && !uuid_equal(&f->heard[i].pledge, &hash) &&
            !(i + 1 == f->seeds.n && MUTANT(BOOTSTRAP_SEED_MISSING))) {
            return false;
        }
    }
    return true;
}

static void decide(struct control *c)
{
    struct formation *f = &c->formation;
    uint32_t rank = seed_list_rank(&f->seeds, c->node);
    char text[UUID_TEXT_SIZE];
    struct uuid hash;

    if (rank == UINT32_MAX) {
        return; /* no seed: it joins what the seeds form */
    }
    if (c->id.pledge.n == 0) {
        if (!may_pledge(c)) {
            return;
        }
        if (identity_write_pledge(&c->id, &f->seeds) != 0) {
            env_fatal(c->env, "the identity file cannot be written");
        }
        hash = seed_list_hash(&f->seeds);
        log_event(c->env->logger, LOG_INFO, "form_pledged", "node=%u seeds=%u list=%s", c->node, f->seeds.n,
                  uuid_format(&hash, text));
        f->tell = true;
    }
    if (!all_pledged(c)) {
        return;
    }
    if (identity_write_formed(&c->id, &c->id.pledge, rank < METADATA_VOTERS_MAX ? rank + 1 : 0,
                              rank < METADATA_VOTERS_MAX) != 0) {
        env_fatal(c->env, "the identity file cannot be written");
    }
    log_event(c->env->logger, LOG_INFO, "form_founded", "node=%u rank=%u cluster=%s", c->node, rank,
              uuid_format(&c->id.cluster_id, text));
    control_became_formed(c);
}

void formation_turn(struct control *c)
{
    if (control_is_formed(c)) {
        return;
    }
    if (c->formation.changed) {
        c->formation.changed = false;
        decide(c);
    }
    if (c->formation.tell) {
        c->formation.tell = false;
        tell_all(c);
    }
}

static void log_waiting(struct control *c)
{
    const struct formation *f = &c->formation;
    char waiting[256] = "";
    size_t at = 0;

    for (uint32_t i = 0; i < f->seeds.n && at < sizeof waiting - 32; i++) {
        const struct seed *seed = &f->seeds.seeds[i];
        const char *what = f->heard[i].mismatch               ? "other_seeds"
                           : uuid_is_nil(&seed->disk_id)      ? "not_heard_of"
                           : uuid_is_nil(&f->heard[i].pledge) ? "no_pledge"
                                                              : NULL;
        if (seed->node != c->node && what != NULL) {
            at += (size_t)snprintf(waiting + at, sizeof waiting - at, "%s%u:%s", at > 0 ? "," : "", seed->node, what);
        }
    }
    log_event(c->env->logger, LOG_INFO, "form_waiting", "node=%u pledged=%d waiting_for=%s", c->node,
              c->id.pledge.n > 0, waiting);
}

void formation_tick(struct control *c, uint64_t now_ms)
{
    struct formation *f = &c->formation;
    if (control_is_formed(c)) {
        return;
    }
    if (now_ms >= f->next_tell_ms) {
        f->next_tell_ms = now_ms + CONTROL_FORM_TELL_MS;
        f->tell = true;
        control_wake(c);
    }
    if (f->next_log_ms == 0) {
        f->next_log_ms = now_ms + CONTROL_FORM_LOG_MS;
    } else if (now_ms >= f->next_log_ms) {
        f->next_log_ms = now_ms + CONTROL_FORM_LOG_MS;
        log_waiting(c);
    }
}
