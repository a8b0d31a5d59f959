#include "node/fsm/group/group_fsm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/group/group_state.h"
#include "proto/base/crc32c.h"

struct groups_fsm *groups_fsm_new(void)
{
    struct groups_fsm *f = calloc(1, sizeof *f);
    if (f != NULL) {
        list_init(&f->groups);
    }
    return f;
}

static void clear_members(struct saved_group *g)
{
    for (uint32_t i = 0; i < g->n_members; i++) {
        group_member_clear(&g->members[i]);
    }
    free(g->members);
    g->members = NULL;
    g->n_members = 0;
}

static void free_item(struct saved_item *item)
{
    struct saved_group *g = &item->group;
    clear_members(g);
    groups_clear_offsets(item);
    group_blob_release(g->id);
    group_blob_release(g->protocol_type);
    group_blob_release(g->protocol);
    group_blob_release(g->leader);
    free(item);
}

void groups_remove_item(struct groups_fsm *f, struct saved_item *item)
{
    HASH_DELETE(hh, f->table, item);
    list_remove(&item->group.link);
    free_item(item);
}

void groups_fsm_free(struct groups_fsm *f)
{
    struct saved_item *item;
    struct saved_item *next;
    if (f == NULL) {
        return;
    }
    HASH_ITER (hh, f->table, item, next) {
        groups_remove_item(f, item);
    }
    free(f);
}

struct saved_item *groups_find_item(const struct groups_fsm *f, const char *id)
{
    struct saved_item *item;
    HASH_FIND(hh, f->table, id, strlen(id), item);
    return item;
}

int groups_add_item(struct groups_fsm *f, const char *id, struct group_reply *reply, struct saved_item **out)
{
    struct saved_item *item;
    struct saved_group *g;
    *out = NULL;
    if (id[0] == '\0' || strlen(id) > GROUP_NAME_MAX) {
        reply->error = ERR_INVALID_GROUP;
        return 0;
    }
    if (HASH_COUNT(f->table) >= GROUP_GROUPS_MAX) {
        reply->error = ERR_BUSY;
        return 0;
    }
    item = calloc(1, sizeof *item);
    if (item == NULL) {
        return ERR_NOMEM;
    }
    g = &item->group;
    list_init(&g->link);
    g->id = group_blob_text(id);
    g->protocol_type = group_blob_text("");
    g->protocol = group_blob_text("");
    g->leader = group_blob_text("");
    g->empty_since_ms = f->time_ms;
    if (g->id == NULL || g->protocol_type == NULL || g->protocol == NULL || g->leader == NULL) {
        free_item(item);
        return ERR_NOMEM;
    }
    HASH_ADD_KEYPTR(hh, f->table, g->id->data, g->id->size, item);
    if (item->hh.tbl == NULL) { /* uthash's sign that it found no memory */
        free_item(item);
        return ERR_NOMEM;
    }
    list_push_back(&f->groups, &g->link);
    *out = item;
    return 0;
}

static int decode_member(const Cairn__Command__GroupMember *c, struct group_member *m)
{
    memset(m, 0, sizeof *m);
    m->session_timeout_ms = c->session_timeout_ms;
    m->rebalance_timeout_ms = c->rebalance_timeout_ms;
    m->id = group_blob_text(c->member);
    m->instance = c->instance[0] != '\0' ? group_blob_text(c->instance) : NULL;
    m->client_id = group_blob_text(c->client_id);
    m->client_host = group_blob_text(c->client_host);
    m->assignment = c->assignment.len > 0 ? group_blob_new(c->assignment.data, c->assignment.len) : NULL;
    if (m->id == NULL || m->client_id == NULL || m->client_host == NULL ||
        (m->instance == NULL && c->instance[0] != '\0') || (m->assignment == NULL && c->assignment.len > 0)) {
        return ERR_NOMEM;
    }
    m->protocols = c->n_protocols > 0 ? calloc(c->n_protocols, sizeof m->protocols[0]) : NULL;
    if (m->protocols == NULL && c->n_protocols > 0) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < c->n_protocols; i++) {
        const Cairn__Command__GroupProtocol *p = c->protocols[i];
        m->n_protocols++;
        m->protocols[i].name = group_blob_text(p->name);
        m->protocols[i].metadata = group_blob_new(p->metadata.data, p->metadata.len);
        if (m->protocols[i].name == NULL || m->protocols[i].metadata == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

static int replace_text(struct group_blob **blob, const char *text)
{
    struct group_blob *fresh;
    if (group_blob_is(*blob, text)) {
        return 0;
    }
    fresh = group_blob_text(text);
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    group_blob_release(*blob);
    *blob = fresh;
    return 0;
}

static int save_members(struct saved_group *g, const Cairn__Command__GroupSave *c)
{
    struct group_member *members = NULL;
    if (c->n_members > 0) {
        members = calloc(c->n_members, sizeof members[0]);
        if (members == NULL) {
            return ERR_NOMEM;
        }
    }
    for (size_t i = 0; i < c->n_members; i++) {
        int rv = decode_member(c->members[i], &members[i]);
        if (rv != 0) {
            for (size_t done = 0; done <= i; done++) {
                group_member_clear(&members[done]);
            }
            free(members);
            return rv;
        }
    }
    clear_members(g);
    g->members = members;
    g->n_members = (uint32_t)c->n_members;
    return 0;
}

static int apply_save(struct groups_fsm *f, const Cairn__Command__GroupSave *c, struct group_reply *reply)
{
    struct saved_item *item = groups_find_item(f, c->group);
    struct saved_group *g;
    bool was_empty;
    int rv;
    if (c->generation < 0 || c->n_members > GROUP_MEMBERS_MAX) {
        reply->error = ERR_INVALID;
        return 0;
    }
    if (item == NULL) {
        rv = groups_add_item(f, c->group, reply, &item);
        if (item == NULL) {
            return rv;
        }
    } else if (c->generation < item->group.generation) {
        reply->error = ERR_ILLEGAL_GENERATION;
        return 0;
    }
    g = &item->group;
    was_empty = g->n_members == 0;
    if (replace_text(&g->protocol_type, c->protocol_type) != 0 || replace_text(&g->protocol, c->protocol) != 0 ||
        replace_text(&g->leader, c->leader) != 0 || save_members(g, c) != 0) {
        return ERR_NOMEM;
    }
    g->generation = c->generation;
    g->assigned = c->assigned;
    if (g->n_members == 0 && !was_empty) {
        g->empty_since_ms = f->time_ms;
    }
    return 0;
}

/* Assignments come in the members' own order, so the search begins behind the last one found. */
static struct group_member *find_member(const struct saved_group *g, const char *id, uint32_t *hint)
{
    for (uint32_t i = 0; i < g->n_members; i++) {
        uint32_t at = (*hint + i) % g->n_members;
        if (group_blob_is(g->members[at].id, id)) {
            *hint = at + 1;
            return &g->members[at];
        }
    }
    return NULL;
}

static int apply_assign(struct groups_fsm *f, const Cairn__Command__GroupAssign *c, struct group_reply *reply)
{
    struct saved_item *item = groups_find_item(f, c->group);
    struct saved_group *g;
    uint32_t hint = 0;
    if (item == NULL) {
        reply->error = ERR_GROUP_NOT_FOUND;
        return 0;
    }
    g = &item->group;
    if (c->generation != g->generation) {
        reply->error = ERR_ILLEGAL_GENERATION;
        return 0;
    }
    for (uint32_t i = 0; i < g->n_members; i++) {
        group_blob_release(g->members[i].assignment);
        g->members[i].assignment = NULL;
    }
    for (size_t i = 0; i < c->n_assignments; i++) {
        const Cairn__Command__GroupAssignment *a = c->assignments[i];
        struct group_member *m = find_member(g, a->member, &hint);
        if (m == NULL || m->assignment != NULL || a->assignment.len == 0) {
            continue;
        }
        m->assignment = group_blob_new(a->assignment.data, a->assignment.len);
        if (m->assignment == NULL) {
            return ERR_NOMEM;
        }
    }
    g->assigned = true;
    return 0;
}

static void apply_delete(struct groups_fsm *f, const Cairn__Command__GroupDelete *c, struct group_reply *reply)
{
    struct saved_item *item = groups_find_item(f, c->group);
    if (item == NULL) {
        reply->error = ERR_GROUP_NOT_FOUND;
    } else if (item->group.n_members > 0) {
        reply->error = ERR_NON_EMPTY_GROUP;
    } else {
        reply->count = item->group.n_offsets;
        groups_remove_item(f, item);
    }
}

static int apply_command(struct groups_fsm *f, const Cairn__Command__GroupCommand *c, struct group_reply *reply)
{
    switch (c->kind_case) {
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_SAVE:
        return apply_save(f, c->save, reply);
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_ASSIGN:
        return apply_assign(f, c->assign, reply);
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_COMMIT:
        return groups_apply_commit(f, c->commit, reply);
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_FORGET:
        groups_apply_forget(f, c->forget, reply);
        return 0;
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_DELETE_GROUP:
        apply_delete(f, c->delete_group, reply);
        return 0;
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_EXPIRE:
        groups_apply_expire(f, c->expire, reply);
        return 0;
    case CAIRN__COMMAND__GROUP_COMMAND__KIND_FORGET_TOPIC:
        groups_apply_forget_topic(f, c->forget_topic, reply);
        return 0;
    default:
        return ERR_VERSION; /* a kind that this program does not know */
    }
}

int groups_fsm_apply(struct groups_fsm *f, const struct entry *entry, struct group_reply *reply)
{
    Cairn__Command__GroupCommand *c;
    int rv;
    memset(reply, 0, sizeof *reply);
    if (entry->time_ms > f->time_ms) {
        f->time_ms = entry->time_ms;
    }
    if (entry->kind != ENTRY_COMMAND) {
        f->index = entry->index;
        return 0;
    }
    c = cairn__command__group_command__unpack(NULL, entry->length, entry->data);
    if (c == NULL) {
        return ERR_MALFORMED;
    }
    rv = c->version > GROUP_COMMAND_VERSION ? ERR_VERSION : apply_command(f, c, reply);
    cairn__command__group_command__free_unpacked(c, NULL);
    if (rv == 0) {
        f->index = entry->index;
    }
    return rv;
}

struct entry *group_command_entry(Cairn__Command__GroupCommand *command)
{
    struct entry *entry;
    struct buf *buf;
    size_t size;
    command->version = GROUP_COMMAND_VERSION;
    size = cairn__command__group_command__get_packed_size(command);
    if (size > ENTRY_PAYLOAD_MAX) {
        return NULL;
    }
    buf = buf_new(NULL, size);
    if (buf == NULL) {
        return NULL;
    }
    cairn__command__group_command__pack(command, buf->data);
    entry = entry_new(ENTRY_COMMAND, buf, buf->data, (uint32_t)size);
    buf_release(buf);
    return entry;
}

uint64_t groups_fsm_index(const struct groups_fsm *f)
{
    return f->index;
}

const struct saved_group *groups_fsm_find(const struct groups_fsm *f, const char *id)
{
    struct saved_item *item = groups_find_item(f, id);
    return item == NULL ? NULL : &item->group;
}

const struct list *groups_fsm_groups(const struct groups_fsm *f)
{
    return &f->groups;
}

uint32_t groups_fsm_count(const struct groups_fsm *f)
{
    return (uint32_t)HASH_COUNT(f->table);
}

static uint32_t digest_blob(uint32_t crc, const struct group_blob *blob)
{
    uint32_t size = blob == NULL ? UINT32_MAX : blob->size;
    crc = crc32c(crc, &size, sizeof size);
    return blob == NULL ? crc : crc32c(crc, blob->data, blob->size);
}

static uint32_t digest_group(const struct saved_group *g)
{
    int64_t words[5] = {g->generation, g->assigned, g->empty_since_ms, g->n_members, g->n_offsets};
    uint32_t crc = crc32c(0, words, sizeof words);
    crc = digest_blob(crc, g->id);
    crc = digest_blob(crc, g->protocol_type);
    crc = digest_blob(crc, g->protocol);
    crc = digest_blob(crc, g->leader);
    for (uint32_t i = 0; i < g->n_members; i++) {
        const struct group_member *m = &g->members[i];
        int32_t timeouts[2] = {m->session_timeout_ms, m->rebalance_timeout_ms};
        crc = crc32c(crc, timeouts, sizeof timeouts);
        crc = digest_blob(crc, m->id);
        crc = digest_blob(crc, m->instance);
        crc = digest_blob(crc, m->client_id);
        crc = digest_blob(crc, m->client_host);
        crc = digest_blob(crc, m->assignment);
        for (uint32_t p = 0; p < m->n_protocols; p++) {
            crc = digest_blob(crc, m->protocols[p].name);
            crc = digest_blob(crc, m->protocols[p].metadata);
        }
    }
    return crc + groups_digest_offsets(saved_item_of(g));
}

uint32_t groups_fsm_digest(const struct groups_fsm *f)
{
    uint32_t sum = (uint32_t)HASH_COUNT(f->table);
    list_for_each (pos, &f->groups) {
        sum += digest_group(list_entry(pos, struct saved_group, link));
    }
    return sum;
}
