/* Committed offsets: commit, fetch, delete, expire. */
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/coordinator_internal.h"
#include "proto/base/mutant.h"

static char *unconst(const char *text)
{
    return (char *)(uintptr_t)text;
}

static ProtobufCBinaryData topic_bytes(const struct uuid *topic)
{
    return (ProtobufCBinaryData){.len = sizeof topic->bytes, .data = (uint8_t *)(uintptr_t)topic->bytes};
}

/* Who commits: a member of the generation, or somebody from outside to a group without members (@simple). The rule
 * stands in the state machine again: this one knows what is not saved yet. */
static int check_commit(struct coordinator *c, struct live_group *g, const struct coordinator_commit *r, bool *simple)
{
    struct live_member *m;
    bool anonymous = r->generation < 0 && r->member[0] == '\0' && r->instance == NULL;
    int rv;
    *simple = r->generation < 0 && (g == NULL || g->state == COORDINATOR_EMPTY);
    if (*simple) {
        return g != NULL && g->dirty ? ERR_BUSY : 0; /* would be judged before the save that empties the group */
    }
    if (g == NULL) {
        return groups_fsm_find(c->fsm, r->group) == NULL ? ERR_ILLEGAL_GENERATION : ERR_UNKNOWN_MEMBER;
    }
    if (anonymous) {
        return ERR_UNKNOWN_MEMBER;
    }
    rv = group_check_member(g, r->member, r->instance, &m);
    if (rv != 0) {
        return MUTANT(COMMIT_FROM_STRANGER) ? 0 : rv;
    }
    if ((r->generation != g->generation || m->fresh) && !MUTANT(COMMIT_OF_OLDER_GENERATION)) {
        return ERR_ILLEGAL_GENERATION;
    }
    group_touch(c, m);
    return g->state == COORDINATOR_COMPLETING ? ERR_REBALANCE : 0;
}

static int check_parts(struct coordinator_commit *r, uint32_t *n)
{
    size_t bytes = 0;
    if (r->group[0] == '\0' || strlen(r->group) > GROUP_NAME_MAX) {
        return ERR_INVALID_GROUP;
    }
    if (r->n_parts > GROUP_COMMIT_OFFSETS_MAX) {
        return ERR_TOO_BIG;
    }
    *n = 0;
    for (uint32_t i = 0; i < r->n_parts; i++) {
        if (r->parts[i].error == 0 && r->parts[i].metadata_size > GROUP_COMMIT_METADATA_MAX) {
            r->parts[i].error = ERR_OFFSET_METADATA_TOO_BIG;
        }
        if (r->parts[i].error == 0) {
            bytes += r->parts[i].metadata_size;
            ++*n;
        }
    }
    return bytes > GROUP_COMMIT_BYTES_MAX ? ERR_TOO_BIG : 0;
}

/* Nobody waits for these: with no ticket, their completion finds nothing. */
static void propose_quietly(struct coordinator *c, Cairn__Command__GroupCommand *command)
{
    struct entry *entry = group_command_entry(command);
    if (entry != NULL && c->ops.propose(c->data, entry, ++c->token) != 0) {
        entry_release(entry);
    }
}

static int propose_commit(struct coordinator *c, struct coordinator_commit *r, bool simple, uint32_t n)
{
    static const char nobody[] = "";
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupCommit commit = CAIRN__COMMAND__GROUP_COMMIT__INIT;
    Cairn__Command__GroupOffset *offsets = calloc(n, sizeof offsets[0]);
    Cairn__Command__GroupOffset **pointers = calloc(n, sizeof pointers[0]);
    int rv = ERR_NOMEM;
    if (offsets == NULL || pointers == NULL) {
        goto out;
    }
    for (uint32_t i = 0; i < r->n_parts; i++) {
        const struct coordinator_part *part = &r->parts[i];
        Cairn__Command__GroupOffset *o = &offsets[commit.n_offsets];
        if (part->error != 0) {
            continue;
        }
        cairn__command__group_offset__init(o);
        o->topic_id = topic_bytes(&part->topic);
        o->partition = part->partition;
        o->offset = part->offset;
        o->leader_epoch = part->leader_epoch;
        o->metadata.len = part->metadata == NULL ? 0 : part->metadata_size;
        o->metadata.data = (uint8_t *)(uintptr_t)part->metadata;
        pointers[commit.n_offsets++] = o;
    }
    commit.group = unconst(r->group);
    commit.generation = simple ? -1 : r->generation;
    commit.member = unconst(simple ? nobody : r->member);
    commit.retention_ms = r->retention_ms;
    commit.offsets = pointers;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_COMMIT;
    command.commit = &commit;
    if (MUTANT(COMMIT_TOLD_EARLY)) {
        propose_quietly(c, &command);
        rv = 0;
        goto out;
    }
    rv = coordinator_propose(c, &command, NULL, &r->request);
out:
    free(offsets);
    free(pointers);
    return rv == ERR_NOT_LEADER || rv == ERR_LEADER_NOT_READY ? ERR_NOT_COORDINATOR : rv;
}

void coordinator_commit(struct coordinator *c, uint64_t now_ms, struct coordinator_commit *r)
{
    struct live_group *g = NULL;
    bool simple = false;
    uint32_t n = 0;
    int rv;
    if (!coordinator_begin(c, now_ms, &r->request, COORDINATOR_COMMIT)) {
        return;
    }
    rv = check_parts(r, &n);
    if (rv == 0) {
        rv = coordinator_find(c, r->group, &g);
    }
    if (rv == 0) {
        rv = check_commit(c, g, r, &simple);
    }
    if (rv == 0 && n > 0) {
        rv = propose_commit(c, r, simple, n);
    }
    if (rv != 0 || n == 0 || MUTANT(COMMIT_TOLD_EARLY)) {
        coordinator_answer(c, g, &r->request, rv);
    }
    coordinator_end(c, g);
}

void coordinator_fetch(struct coordinator *c, uint64_t now_ms, struct coordinator_fetch *f)
{
    int rv;
    if (f->all) {
        f->parts = NULL;
        f->n_parts = 0;
    }
    for (uint32_t i = 0; i < f->n_parts; i++) {
        f->parts[i].offset = -1;
        f->parts[i].leader_epoch = -1;
        f->parts[i].metadata_out = NULL;
        f->parts[i].error = 0;
    }
    if (!coordinator_begin(c, now_ms, &f->request, COORDINATOR_FETCH)) {
        return;
    }
    if (f->unchecked || MUTANT(COORDINATE_BEFORE_BARRIER)) {
        coordinator_fetch_confirmed(c, f);
        coordinator_end(c, NULL);
        return;
    }
    rv = coordinator_confirm(c, &f->request);
    if (rv != 0) {
        coordinator_answer(c, NULL, &f->request, rv == ERR_NOMEM ? ERR_NOMEM : ERR_NOT_COORDINATOR);
    }
    coordinator_end(c, NULL);
}

static void fill_part(struct coordinator_part *part, const struct group_offset *o)
{
    part->offset = o->offset;
    part->leader_epoch = o->leader_epoch;
    part->metadata_out = group_blob_acquire(o->metadata);
}

void coordinator_fetch_confirmed(struct coordinator *c, struct coordinator_fetch *f)
{
    const struct saved_group *saved = groups_fsm_find(c->fsm, f->group);
    const struct group_offset *o = NULL;
    struct live_group *g;
    HASH_FIND(hh, c->groups, f->group, strlen(f->group), g);
    f->known = saved != NULL || g != NULL;
    if (saved != NULL && f->all && saved->n_offsets > 0) {
        f->parts = calloc(saved->n_offsets, sizeof f->parts[0]);
        if (f->parts == NULL) {
            coordinator_answer(c, NULL, &f->request, ERR_NOMEM);
            return;
        }
        while ((o = groups_fsm_offset_next(saved, o)) != NULL) {
            f->parts[f->n_parts] = (struct coordinator_part){.topic = o->topic, .partition = o->partition};
            fill_part(&f->parts[f->n_parts++], o);
        }
    }
    for (uint32_t i = 0; saved != NULL && !f->all && i < f->n_parts; i++) {
        o = groups_fsm_offset(saved, &f->parts[i].topic, f->parts[i].partition);
        if (o != NULL) {
            fill_part(&f->parts[i], o);
        }
    }
    coordinator_answer(c, NULL, &f->request, 0);
}

static bool subscribed(const struct live_group *g, const char *topic)
{
    list_for_each (pos, &g->members) {
        const struct group_member *m = &list_entry(pos, struct live_member, link)->info;
        for (uint32_t i = 0; i < m->n_protocols; i++) {
            if (group_subscribes(m->protocols[i].metadata, topic)) {
                return true;
            }
        }
    }
    return false;
}

static int propose_forget(struct coordinator *c, struct coordinator_forget *r, uint32_t n)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupForget forget = CAIRN__COMMAND__GROUP_FORGET__INIT;
    Cairn__Command__GroupPartition *items = calloc(n, sizeof items[0]);
    Cairn__Command__GroupPartition **pointers = calloc(n, sizeof pointers[0]);
    int rv = ERR_NOMEM;
    if (items == NULL || pointers == NULL) {
        goto out;
    }
    for (uint32_t i = 0; i < r->n_parts; i++) {
        Cairn__Command__GroupPartition *item = &items[forget.n_partitions];
        if (r->parts[i].error == 0) {
            cairn__command__group_partition__init(item);
            item->topic_id = topic_bytes(&r->parts[i].topic);
            item->partition = r->parts[i].partition;
            pointers[forget.n_partitions++] = item;
        }
    }
    forget.group = unconst(r->group);
    forget.partitions = pointers;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_FORGET;
    command.forget = &forget;
    rv = coordinator_propose(c, &command, NULL, &r->request);
out:
    free(items);
    free(pointers);
    return rv == ERR_NOT_LEADER || rv == ERR_LEADER_NOT_READY ? ERR_NOT_COORDINATOR : rv;
}

void coordinator_forget(struct coordinator *c, uint64_t now_ms, struct coordinator_forget *r)
{
    struct live_group *g = NULL;
    uint32_t n = 0;
    int rv;
    if (!coordinator_begin(c, now_ms, &r->request, COORDINATOR_FORGET)) {
        return;
    }
    rv = coordinator_find(c, r->group, &g);
    if (rv == 0 && g == NULL && groups_fsm_find(c->fsm, r->group) == NULL) {
        rv = ERR_GROUP_NOT_FOUND;
    } else if (rv == 0 && g != NULL && g->n_members > 0 && !group_blob_is(g->protocol_type, "consumer")) {
        rv = ERR_NON_EMPTY_GROUP; /* nobody here can tell what it subscribes to */
    } else if (rv == 0 && r->n_parts > GROUP_COMMIT_OFFSETS_MAX) {
        rv = ERR_TOO_BIG;
    }
    for (uint32_t i = 0; rv == 0 && i < r->n_parts; i++) {
        const char *name = r->parts[i].topic_name;
        if (r->parts[i].error == 0 && g != NULL && g->n_members > 0 && (name == NULL || subscribed(g, name))) {
            r->parts[i].error = ERR_SUBSCRIBED;
        }
        n += r->parts[i].error == 0;
    }
    if (rv == 0 && n > 0) {
        rv = propose_forget(c, r, n);
    }
    if (rv != 0 || n == 0) {
        coordinator_answer(c, g, &r->request, rv);
    }
    coordinator_end(c, g);
}

void coordinator_expire(struct coordinator *c)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupExpire expire = CAIRN__COMMAND__GROUP_EXPIRE__INIT;
    char **spared;
    if (groups_fsm_count(c->fsm) == 0) {
        return;
    }
    spared = calloc(GROUP_EXPIRE_SPARED_MAX, sizeof spared[0]);
    if (spared == NULL) {
        return;
    }
    for (struct live_group *g = c->groups; g != NULL; g = g->hh.next) {
        const struct saved_group *saved = groups_fsm_find(c->fsm, g->id->data);
        if (saved == NULL || saved->n_members > 0) {
            continue;
        }
        if (expire.n_spared == GROUP_EXPIRE_SPARED_MAX) {
            goto out;
        }
        spared[expire.n_spared++] = g->id->data;
    }
    expire.retention_ms = c->config.offset_retention_ms;
    expire.spared = spared;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_EXPIRE;
    command.expire = &expire;
    propose_quietly(c, &command);
out:
    free(spared);
}

void coordinator_forget_topic(struct coordinator *c, const struct uuid *topic)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupForgetTopic forget = CAIRN__COMMAND__GROUP_FORGET_TOPIC__INIT;
    if (!c->leading) {
        return;
    }
    forget.topic_id = topic_bytes(topic);
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_FORGET_TOPIC;
    command.forget_topic = &forget;
    propose_quietly(c, &command);
}
