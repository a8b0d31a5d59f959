/* Committed offsets: kept, and asked for. Commits go out one after the other, so that a later one wins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/src/core/consumer.h"
#include "client/src/core/membership.h"
#include "proto/native/native.pb-c.h"

#define UNKNOWN_TOPIC_PATIENCE_MS 3000 /* a node may not have heard of a topic yet */

int membership_parts_add(struct core *core, struct membership_parts *parts, const char *topic, uint32_t partition,
                         int64_t offset)
{
    struct meta_topic *meta;

    if (parts->count == parts->capacity) {
        size_t capacity = parts->capacity > 0 ? parts->capacity * 2 : 8;
        struct membership_part *items = realloc(parts->items, capacity * sizeof *items);
        if (items == NULL) {
            return ERR_NOMEM;
        }
        parts->items = items;
        parts->capacity = capacity;
    }
    meta = meta_topic_acquire(core, topic);
    if (meta == NULL) {
        return ERR_NOMEM;
    }
    parts->items[parts->count++] = (struct membership_part){.topic = meta, .partition = partition, .offset = offset};
    return 0;
}

void membership_parts_of(struct membership_parts *parts, const struct consumer_partition *p)
{
    struct membership_part *part = &parts->items[parts->count - 1];

    part->of_known = p->topic_known;
    memcpy(part->of, p->topic_id, sizeof part->of);
}

void membership_parts_clear(struct core *core, struct membership_parts *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        meta_topic_release(core, parts->items[i].topic);
    }
    parts->count = 0;
}

bool membership_parts_have(const struct membership_parts *parts, const struct membership_part *part)
{
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->items[i].topic == part->topic && parts->items[i].partition == part->partition) {
            return true;
        }
    }
    return false;
}

struct membership_offsets *membership_offsets_new(struct membership *g)
{
    struct membership_offsets *o = calloc(1, sizeof *o);

    if (o != NULL) {
        o->group = g;
        o->core = g->core;
    }
    return o;
}

void membership_offsets_free(struct membership_offsets *o)
{
    membership_parts_clear(o->core, &o->parts);
    free(o->parts.items);
    free(o);
}

/* Out of its list; @done comes next. */
static void offsets_detach(struct membership_offsets *o, int status)
{
    o->status = status;
    if (o->call != NULL) {
        call_cancel(o->call);
        o->call = NULL;
    }
    list_remove(&o->link);
    o->group->commit_count -= !o->asks;
    if (o->text[0] == '\0') {
        snprintf(o->text, sizeof o->text, "%s", err_text(status));
    }
}

void membership_offsets_cancel(struct membership_offsets *o)
{
    offsets_detach(o, ERR_CANCELLED);
    membership_offsets_free(o);
}

void membership_offsets_stop(struct membership *g)
{
    while (!list_empty(&g->commits) || !list_empty(&g->asks)) {
        struct list *from = !list_empty(&g->commits) ? &g->commits : &g->asks;
        struct membership_offsets *o = list_entry(from->next, struct membership_offsets, link);
        offsets_detach(o, ERR_SHUTDOWN);
        o->done(o);
    }
}

static void offsets_begin(struct membership *g, struct membership_offsets *o, bool asks, uint32_t timeout_ms)
{
    o->asks = asks;
    o->generation = g->generation;
    o->begun_ns = g->core->now_ns;
    o->deadline_ns = g->core->now_ns + timeout_ms * NS_PER_MS;
    g->commit_count += !asks;
    list_push_back(asks ? &g->asks : &g->commits, &o->link);
    core_wake_at(g->core, 0);
}

int membership_offsets_commit(struct membership *g, struct membership_offsets *o, uint32_t timeout_ms)
{
    if (g->commit_count >= MEMBERSHIP_COMMITS_MAX) {
        return ERR_BUSY;
    }
    offsets_begin(g, o, false, timeout_ms);
    return 0;
}

void membership_offsets_ask(struct membership *g, struct membership_offsets *o, uint32_t timeout_ms)
{
    offsets_begin(g, o, true, timeout_ms);
}

int membership_processed(struct membership *g, struct membership_offsets **out)
{
    struct consumer *c = g->consumer;
    struct membership_offsets *o = NULL;
    int rv = 0;

    *out = NULL;
    list_for_each (pos, &c->partitions) {
        const struct consumer_partition *p = list_entry(pos, struct consumer_partition, link);

        if (p->removed || p->done_offset < 0 || p->done_offset == p->committed_offset) {
            continue;
        }
        o = o != NULL ? o : membership_offsets_new(g);
        rv = o != NULL ? membership_parts_add(g->core, &o->parts, p->topic, p->partition, p->done_offset) : ERR_NOMEM;
        if (rv != 0) {
            if (o != NULL) {
                membership_offsets_free(o);
            }
            return rv;
        }
        membership_parts_of(&o->parts, p);
    }
    *out = o;
    return 0;
}

/* Whether all topics of @o have an id, or have none for sure (their parts get an error). */
static bool offsets_known(struct membership_offsets *o)
{
    struct core *core = o->core;
    bool patient = core->now_ns - o->begun_ns < UNKNOWN_TOPIC_PATIENCE_MS * NS_PER_MS;
    bool known = true;

    for (size_t i = 0; i < o->parts.count; i++) {
        struct membership_part *part = &o->parts.items[i];
        const struct meta_topic *topic = part->topic;

        part->error = 0;
        if (topic->error != 0 && topic->error != ERR_LEADER_NOT_READY && !patient) {
            part->error = topic->error;
        } else if (topic->partition_count == 0 || (topic->error != 0 && topic->error != ERR_LEADER_NOT_READY)) {
            known = false;
        } else if (!part->of_known) {
            part->of_known = true;
            memcpy(part->of, topic->id, sizeof part->of);
        } else if (memcmp(part->of, topic->id, sizeof part->of) != 0) {
            part->error = ERR_UNKNOWN_TOPIC; /* deleted, and made again: an offset in the one is none in the other */
        }
    }
    if (!known) {
        meta_refresh(core);
        core_wake_at(core, core->now_ns + MEMBERSHIP_RETRY_MIN_MS * NS_PER_MS);
    }
    return known;
}

/* The part that an answer's entry is about; answers come in the order of the questions. */
static struct membership_part *part_find(struct membership_parts *parts, size_t *next, const ProtobufCBinaryData *id,
                                         uint32_t partition)
{
    for (size_t n = 0; n < parts->count; n++) {
        struct membership_part *part = &parts->items[(*next + n) % parts->count];
        if (part->partition == partition && id->len == sizeof part->of && memcmp(part->of, id->data, id->len) == 0) {
            *next = (size_t)(part - parts->items) + 1;
            return part;
        }
    }
    return NULL;
}

static int commit_read(struct membership_offsets *o, const struct frame *frame)
{
    Cairn__Native__CommitOffsetsResponse *m =
        cairn__native__commit_offsets_response__unpack(NULL, frame->header.message_length, frame->message);
    size_t next = 0;

    if (m == NULL) {
        return ERR_UNKNOWN_OUTCOME;
    }
    for (size_t i = 0; i < m->n_offsets; i++) {
        struct membership_part *part = part_find(&o->parts, &next, &m->offsets[i]->topic_id, m->offsets[i]->partition);
        if (part != NULL) {
            part->error = (int)m->offsets[i]->error;
        }
    }
    cairn__native__commit_offsets_response__free_unpacked(m, NULL);
    return 0;
}

static int ask_read(struct membership_offsets *o, const struct frame *frame)
{
    Cairn__Native__FetchOffsetsResponse *m =
        cairn__native__fetch_offsets_response__unpack(NULL, frame->header.message_length, frame->message);
    size_t next = 0;
    int rv = 0;

    if (m == NULL) {
        return ERR_MALFORMED;
    }
    for (size_t i = 0; i < o->parts.count; i++) {
        o->parts.items[i].offset = -1;
    }
    for (size_t i = 0; i < m->n_offsets; i++) {
        const Cairn__Native__FetchedOffset *in = m->offsets[i];
        struct membership_part *part = part_find(&o->parts, &next, &in->topic_id, in->partition);
        if (part == NULL) {
            continue;
        }
        part->error = (int)in->error;
        part->offset = in->error == 0 ? in->offset : -1;
        if (err_retriable(part->error)) { /* not known now is not the same as none */
            rv = part->error;
        }
    }
    cairn__native__fetch_offsets_response__free_unpacked(m, NULL);
    return rv;
}

/* What is committed need not be committed again. */
static void commit_remember(struct membership_offsets *o)
{
    struct consumer *c = o->group->consumer;

    consumer_lock(c);
    for (size_t i = 0; i < o->parts.count; i++) {
        const struct membership_part *part = &o->parts.items[i];
        struct consumer_partition *p = consumer_find(c, part->topic->name, part->partition);
        if (p != NULL && part->error == 0 && memcmp(p->topic_id, part->of, sizeof part->of) == 0) {
            p->committed_offset = part->offset;
        }
    }
    consumer_unlock(c);
}

static void offsets_answer(struct core_call *call, int status, const struct frame *frame)
{
    struct membership_offsets *o = call->owner;
    struct membership *g = o->group;

    o->call = NULL;
    g->coordinator = call->target;
    if (status == 0) {
        status = o->asks ? ask_read(o, frame) : commit_read(o, frame);
    } else {
        snprintf(o->text, sizeof o->text, "%s", call->text);
    }
    if (status == 0 && !o->asks) {
        commit_remember(o);
    }
    for (size_t i = 0; i < o->parts.count && status == 0 && !o->asks; i++) {
        status = o->parts.items[i].error;
    }
    offsets_detach(o, status);
    core_wake_at(g->core, 0);
    o->done(o);
}

static bool commit_send(struct membership_offsets *o, uint64_t timeout_ns)
{
    struct membership *g = o->group;
    Cairn__Native__CommitOffsetsRequest m = CAIRN__NATIVE__COMMIT_OFFSETS_REQUEST__INIT;
    Cairn__Native__CommitOffset *items = calloc(o->parts.count, sizeof *items);
    Cairn__Native__CommitOffset **pointers = calloc(o->parts.count, sizeof *pointers);
    uint8_t *message = NULL;

    m.group = g->config.id;
    m.member = o->generation >= 0 ? g->member : m.member;
    m.instance = o->generation >= 0 ? g->config.instance : m.instance;
    m.generation = o->generation;
    m.offsets = pointers;
    for (size_t i = 0; items != NULL && pointers != NULL && i < o->parts.count; i++) {
        struct membership_part *part = &o->parts.items[i];
        Cairn__Native__CommitOffset *item = &items[m.n_offsets];

        if (part->error != 0) {
            continue;
        }
        cairn__native__commit_offset__init(item);
        item->topic_id.data = part->of;
        item->topic_id.len = sizeof part->of;
        item->partition = part->partition;
        item->offset = part->offset;
        pointers[m.n_offsets++] = item;
    }
    if (items != NULL && pointers != NULL) {
        message = malloc(cairn__native__commit_offsets_request__get_packed_size(&m) + 1);
    }
    if (message != NULL) {
        o->call =
            membership_call(g, CALL_COMMIT_OFFSETS, message, cairn__native__commit_offsets_request__pack(&m, message),
                            timeout_ns, offsets_answer, o);
    }
    free(message);
    free(pointers);
    free(items);
    return o->call != NULL;
}

static bool ask_send(struct membership_offsets *o, uint64_t timeout_ns)
{
    struct membership *g = o->group;
    Cairn__Native__FetchOffsetsRequest m = CAIRN__NATIVE__FETCH_OFFSETS_REQUEST__INIT;
    Cairn__Native__GroupPartition *items = calloc(o->parts.count, sizeof *items);
    Cairn__Native__GroupPartition **pointers = calloc(o->parts.count, sizeof *pointers);
    uint8_t *message = NULL;

    m.group = g->config.id;
    m.partitions = pointers;
    for (size_t i = 0; items != NULL && pointers != NULL && i < o->parts.count; i++) {
        struct membership_part *part = &o->parts.items[i];
        Cairn__Native__GroupPartition *item = &items[m.n_partitions];

        if (part->error != 0) {
            part->offset = -1;
            continue;
        }
        cairn__native__group_partition__init(item);
        item->topic_id.data = part->of;
        item->topic_id.len = sizeof part->of;
        item->partition = part->partition;
        pointers[m.n_partitions++] = item;
    }
    if (items != NULL && pointers != NULL) {
        message = malloc(cairn__native__fetch_offsets_request__get_packed_size(&m) + 1);
    }
    if (message != NULL) {
        o->call =
            membership_call(g, CALL_FETCH_OFFSETS, message, cairn__native__fetch_offsets_request__pack(&m, message),
                            timeout_ns, offsets_answer, o);
    }
    free(message);
    free(pointers);
    free(items);
    return o->call != NULL;
}

/* Send @o, or end it. True: it ended. */
static bool offsets_turn(struct membership_offsets *o)
{
    struct core *core = o->core;
    int gone = 0;
    size_t wanted = 0;

    if (o->call != NULL) {
        return false;
    }
    if (core->now_ns >= o->deadline_ns) {
        offsets_detach(o, ERR_TIMEOUT);
        return true;
    }
    core_wake_at(core, o->deadline_ns);
    if (!o->asks && o->generation != o->group->generation) { /* it may be somebody else's by now */
        offsets_detach(o, ERR_ILLEGAL_GENERATION);
        return true;
    }
    if (!offsets_known(o)) {
        return false;
    }
    for (size_t i = 0; i < o->parts.count; i++) {
        gone = o->parts.items[i].error != 0 ? o->parts.items[i].error : gone;
        wanted += o->parts.items[i].error == 0;
    }
    if (wanted == 0) { /* for an answer to a question, that is none */
        for (size_t i = 0; i < o->parts.count; i++) {
            o->parts.items[i].offset = -1;
        }
        offsets_detach(o, o->asks ? 0 : gone);
        return true;
    }
    if (!(o->asks ? ask_send(o, o->deadline_ns - core->now_ns) : commit_send(o, o->deadline_ns - core->now_ns))) {
        core_wake_at(core, core->now_ns + MEMBERSHIP_RETRY_MAX_MS * NS_PER_MS);
    }
    return false;
}

void membership_offsets_turn(struct membership *g)
{
    while (!list_empty(&g->commits)) {
        struct membership_offsets *o = list_entry(g->commits.next, struct membership_offsets, link);
        if (!offsets_turn(o)) {
            break;
        }
        core_wake_at(g->core, 0); /* somebody may wait for the end of it */
        o->done(o);
    }
    list_for_each_safe (pos, &g->asks) {
        struct membership_offsets *o = list_entry(pos, struct membership_offsets, link);
        if (offsets_turn(o)) {
            core_wake_at(g->core, 0);
            o->done(o);
        }
    }
}
