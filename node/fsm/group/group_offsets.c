/* The commands on committed offsets, and looking them up. */
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/group_state.h"
#include "proto/base/crc32c.h"
#include "proto/base/mutant.h"

static struct offset_item *find_offset(const struct saved_item *item, const struct uuid *topic, int32_t partition)
{
    struct offset_key key = {.topic = *topic, .partition = partition};
    struct offset_item *o;
    HASH_FIND(hh, item->offsets, &key, sizeof key, o);
    return o;
}

static void remove_offset(struct saved_item *item, struct offset_item *o)
{
    HASH_DELETE(hh, item->offsets, o);
    group_blob_release(o->offset.metadata);
    free(o);
    item->group.n_offsets--;
}

void groups_clear_offsets(struct saved_item *item)
{
    struct offset_item *o;
    struct offset_item *next;
    HASH_ITER (hh, item->offsets, o, next) {
        remove_offset(item, o);
    }
}

static bool topic_id(const ProtobufCBinaryData *bytes, struct uuid *out)
{
    if (bytes->len != sizeof out->bytes) {
        return false;
    }
    memcpy(out->bytes, bytes->data, sizeof out->bytes);
    return true;
}

/* Who may commit: a member in the group's own generation, or anybody to a group that has no members. */
static int fence(const struct saved_item *item, const Cairn__Command__GroupCommit *c)
{
    const struct saved_group *g = &item->group;
    if (c->generation < 0 && c->member[0] == '\0') {
        return g->n_members == 0 ? 0 : ERR_UNKNOWN_MEMBER;
    }
    for (uint32_t i = 0; i < g->n_members; i++) {
        if (group_blob_is(g->members[i].id, c->member)) {
            return c->generation == g->generation || MUTANT(COMMIT_OF_OLDER_GENERATION) ? 0 : ERR_ILLEGAL_GENERATION;
        }
    }
    return MUTANT(COMMIT_FROM_STRANGER) ? 0 : ERR_UNKNOWN_MEMBER;
}

static int commit_one(struct groups_fsm *f, struct saved_item *item, const Cairn__Command__GroupOffset *c,
                      int64_t retention_ms)
{
    struct uuid topic = {{0}};
    struct offset_item *o;
    struct group_blob *metadata = group_blob_new(c->metadata.data, c->metadata.len);
    if (metadata == NULL) {
        return ERR_NOMEM;
    }
    (void)topic_id(&c->topic_id, &topic);
    o = find_offset(item, &topic, c->partition);
    if (o == NULL) {
        o = calloc(1, sizeof *o);
        if (o == NULL) {
            group_blob_release(metadata);
            return ERR_NOMEM;
        }
        o->key = (struct offset_key){.topic = topic, .partition = c->partition};
        HASH_ADD(hh, item->offsets, key, sizeof o->key, o);
        if (o->hh.tbl == NULL) {
            group_blob_release(metadata);
            free(o);
            return ERR_NOMEM;
        }
        item->group.n_offsets++;
    }
    group_blob_release(o->offset.metadata);
    o->offset = (struct group_offset){
        .topic = topic,
        .partition = c->partition,
        .leader_epoch = c->leader_epoch,
        .offset = c->offset,
        .commit_ms = f->time_ms,
        .expire_ms = retention_ms >= 0 ? f->time_ms + retention_ms : -1,
        .metadata = metadata,
    };
    return 0;
}

/* The offsets of @c are sound and have room: checked before anything is changed. */
static int check_offsets(const struct saved_item *item, const Cairn__Command__GroupCommit *c)
{
    uint32_t fresh = 0;
    for (size_t i = 0; i < c->n_offsets; i++) {
        struct uuid topic;
        if (!topic_id(&c->offsets[i]->topic_id, &topic) || c->offsets[i]->partition < 0) {
            return ERR_INVALID;
        }
        if (item == NULL || find_offset(item, &topic, c->offsets[i]->partition) == NULL) {
            fresh++;
        }
    }
    return fresh + (item == NULL ? 0 : item->group.n_offsets) > GROUP_OFFSETS_MAX ? ERR_BUSY : 0;
}

int groups_apply_commit(struct groups_fsm *f, const Cairn__Command__GroupCommit *c, struct group_reply *reply)
{
    struct saved_item *item = groups_find_item(f, c->group);
    int rv;
    reply->error = check_offsets(item, c);
    if (reply->error != 0) {
        return 0;
    }
    if (item == NULL && (c->generation >= 0 || c->member[0] != '\0')) {
        reply->error = ERR_ILLEGAL_GENERATION;
        return 0;
    }
    if (item == NULL) {
        rv = groups_add_item(f, c->group, reply, &item);
        if (item == NULL) {
            return rv;
        }
    }
    reply->error = fence(item, c);
    for (size_t i = 0; reply->error == 0 && i < c->n_offsets; i++) {
        rv = commit_one(f, item, c->offsets[i], c->retention_ms);
        if (rv != 0) {
            return rv;
        }
    }
    return 0;
}

void groups_apply_forget(struct groups_fsm *f, const Cairn__Command__GroupForget *c, struct group_reply *reply)
{
    struct saved_item *item = groups_find_item(f, c->group);
    if (item == NULL) {
        reply->error = ERR_GROUP_NOT_FOUND;
        return;
    }
    for (size_t i = 0; i < c->n_partitions; i++) {
        struct uuid topic;
        struct offset_item *o = NULL;
        if (topic_id(&c->partitions[i]->topic_id, &topic)) {
            o = find_offset(item, &topic, c->partitions[i]->partition);
        }
        if (o != NULL) {
            remove_offset(item, o);
            reply->count++;
        }
    }
}

/* A group that has or had members keeps its offsets for the retention after the last of them is gone; one that only
 * commits, for the retention after each commit (KIP-211). */
static bool expired(const struct saved_group *g, const struct group_offset *o, int64_t now_ms, int64_t retention_ms)
{
    int64_t since = o->commit_ms;
    if (o->expire_ms >= 0) {
        return now_ms >= o->expire_ms;
    }
    if (g->protocol_type->size > 0 && g->empty_since_ms > since) {
        since = g->empty_since_ms;
    }
    return now_ms - since >= retention_ms;
}

static void expire_group(struct groups_fsm *f, struct saved_item *item, int64_t retention_ms, struct group_reply *reply)
{
    struct offset_item *o;
    struct offset_item *next;
    if (item->group.n_members > 0) {
        return;
    }
    HASH_ITER (hh, item->offsets, o, next) {
        if (expired(&item->group, &o->offset, f->time_ms, retention_ms)) {
            remove_offset(item, o);
            reply->count++;
        }
    }
    if (item->group.n_offsets == 0) {
        groups_remove_item(f, item);
    }
}

void groups_apply_expire(struct groups_fsm *f, const Cairn__Command__GroupExpire *c, struct group_reply *reply)
{
    if (c->retention_ms < 0) {
        reply->error = ERR_INVALID;
        return;
    }
    for (size_t i = 0; i < c->n_spared; i++) {
        struct saved_item *item = groups_find_item(f, c->spared[i]);
        if (item != NULL) {
            item->spared = true;
        }
    }
    list_for_each_safe (pos, &f->groups) {
        struct saved_item *item = saved_item_of(list_entry(pos, struct saved_group, link));
        if (item->spared) {
            item->spared = false;
        } else {
            expire_group(f, item, c->retention_ms, reply);
        }
    }
}

void groups_apply_forget_topic(struct groups_fsm *f, const Cairn__Command__GroupForgetTopic *c,
                               struct group_reply *reply)
{
    struct uuid topic = {{0}};
    if (!topic_id(&c->topic_id, &topic)) {
        reply->error = ERR_INVALID;
        return;
    }
    list_for_each (pos, &f->groups) {
        struct saved_item *item = saved_item_of(list_entry(pos, struct saved_group, link));
        struct offset_item *o;
        struct offset_item *next;
        HASH_ITER (hh, item->offsets, o, next) {
            if (uuid_equal(&o->key.topic, &topic)) {
                remove_offset(item, o);
                reply->count++;
            }
        }
    }
}

const struct group_offset *groups_fsm_offset(const struct saved_group *g, const struct uuid *topic, int32_t partition)
{
    const struct offset_item *o = find_offset(saved_item_of(g), topic, partition);
    return o == NULL ? NULL : &o->offset;
}

const struct group_offset *groups_fsm_offset_next(const struct saved_group *g, const struct group_offset *previous)
{
    const struct offset_item *o;
    if (previous == NULL) {
        o = saved_item_of(g)->offsets;
    } else {
        o = ((const struct offset_item *)(const void *)((const char *)previous - offsetof(struct offset_item, offset)))
                ->hh.next;
    }
    return o == NULL ? NULL : &o->offset;
}

uint32_t groups_digest_offsets(const struct saved_item *item)
{
    uint32_t sum = 0;
    for (const struct offset_item *o = item->offsets; o != NULL; o = o->hh.next) {
        int64_t words[5] = {o->offset.partition, o->offset.leader_epoch, o->offset.offset, o->offset.commit_ms,
                            o->offset.expire_ms};
        uint32_t crc = crc32c(0, &o->offset.topic, sizeof o->offset.topic);
        crc = crc32c(crc, words, sizeof words);
        sum += crc32c(crc, o->offset.metadata->data, o->offset.metadata->size);
    }
    return sum;
}
