#include "raft/wal/wal_replay.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/mutant.h"

/* Room for one more item in a growing array. False: out of memory, noted. */
static bool grow(struct wal_replay *replay, void **items, size_t n, size_t *capacity, size_t size)
{
    size_t want = *capacity == 0 ? 16 : *capacity * 2;
    void *p;

    if (n < *capacity) {
        return true;
    }
    p = realloc(*items, want * size);
    if (p == NULL) {
        replay->status = ERR_NOMEM;
        return false;
    }
    *items = p;
    *capacity = want;
    return true;
}

static void suspect(struct wal_replay *replay, struct wal_suspicion s)
{
    s.file = replay->file->sequence;
    if (grow(replay, (void **)&replay->suspicions, replay->n_suspicions, &replay->suspicions_capacity, sizeof(s))) {
        replay->suspicions[replay->n_suspicions++] = s;
    }
}

static void damage_all(struct wal_replay *replay)
{
    if (replay->old) {
        suspect(replay, (struct wal_suspicion){.all = true});
    } else {
        replay->all_damaged = true;
    }
}

/* A damaged replica that is not known (its CREATED record went with the damage) is made known, so that it is never
 * founded as if it had never been. */
static void damage_group(struct wal_replay *replay, uint64_t group, uint64_t replica, uint64_t index_min,
                         uint64_t index_max)
{
    struct wal_group *g;

    if (replay->old) {
        suspect(replay, (struct wal_suspicion){
                            .group = group, .replica = replica, .index_min = index_min, .index_max = index_max});
        return;
    }
    g = wal_group_find(replay->wal, group);
    if (g == NULL) {
        g = wal_group_new(replay->wal, group, replica);
        if (g == NULL) {
            replay->status = ERR_NOMEM;
            return;
        }
        g->now.incarnation = 1;
    } else if (replica > g->replica) {
        /* Its own CREATED record is what was lost. */
        wal_group_drop_all(replay->wal, g, 1);
        g->replica = replica;
        g->now.flags = 0;
    }
    if (MUTANT(TRUNCATE_AT_CORRUPTION)) {
        wal_group_drop_above(replay->wal, g, index_min > g->index.first ? index_min - 1 : g->index.first - 1);
        return;
    }
    g->now.flags |= WAL_STATE_DAMAGED;
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static void put_item(struct wal_replay *replay, struct wal_group *g, struct wal_item *item, const struct entry *entry,
                     uint64_t position)
{
    struct wal_file *file = replay->file;

    wal_item_dead(replay->wal, item);
    *item = (struct wal_item){.term = entry->term,
                              .length = entry->length,
                              .file = file->slot,
                              .position = (uint32_t)position,
                              .kind = entry->kind};
    wal_item_alive(replay->wal, item);
    if (wal_file_note(file, g, entry->index, entry->index) != 0) {
        replay->status = ERR_NOMEM;
    }
}

static bool push_hole(struct wal_replay *replay, struct wal_group *g)
{
    struct wal_item *item;

    if (wal_index_push(&g->index, &item) != 0) {
        replay->status = ERR_NOMEM;
        return false;
    }
    *item = (struct wal_item){.file = WAL_AT_NONE};
    return true;
}

static void replay_entry(struct wal_replay *replay, const struct wal_disk_record *r, const uint8_t *body,
                         uint64_t position, bool payload_ok)
{
    struct wal_group *g = wal_group_find(replay->wal, r->group);
    struct wal_item *item;
    struct entry entry;

    if (g == NULL || g->replica != r->replica || g->now.incarnation != r->incarnation ||
        (g->now.flags & WAL_STATE_TOMBSTONE)) {
        return; /* of an earlier life of the group */
    }
    if (entry_decode_header(body, &entry) != 0) {
        damage_group(replay, r->group, r->replica, 0, UINT64_MAX);
        return;
    }
    if (!payload_ok) {
        damage_group(replay, r->group, r->replica, entry.index, entry.index);
        return;
    }
    if (replay->old || (r->kind == WAL_COPY && !MUTANT(COPY_TRUNCATES))) {
        item = wal_index_at(&g->index, entry.index);
        if (item != NULL) {
            put_item(replay, g, item, &entry, position);
        }
        return;
    }
    if (entry.index < g->index.first) {
        wal_group_drop_above(replay->wal, g, g->index.first - 1); /* a trim overtook it in the queue */
        return;
    }
    if (entry.index > g->index.last + 1) {
        damage_group(replay, r->group, r->replica, entry.index, entry.index); /* what is between is lost */
        return;
    }
    if (entry.index > g->index.last || !MUTANT(REPLAY_KEEPS_REPLACED)) {
        wal_group_drop_above(replay->wal, g, entry.index - 1);
    }
    if (entry.index <= g->index.last || push_hole(replay, g)) {
        put_item(replay, g, wal_index_at(&g->index, entry.index), &entry, position);
    }
}

/* ---- states ------------------------------------------------------------------------------------------------------ */

static void group_gone(struct wal_replay *replay, struct wal_group *g)
{
    wal_group_drop_all(replay->wal, g, g->index.last + 1);
    HASH_DEL(replay->wal->groups, g);
    wal_group_unref(g);
}

static void set_hard_state(struct wal_group *g, const struct wal_disk_state *s)
{
    g->now.term = s->term;
    g->now.vote = s->vote;
    g->now.flags |= s->flags;
}

static void set_bounds(struct wal_replay *replay, struct wal_group *g, const struct wal_disk_state *s)
{
    if (s->last < g->index.last) {
        wal_group_drop_above(replay->wal, g, s->last);
    }
    if (s->first > g->index.first) {
        wal_group_drop_below(replay->wal, g, s->first);
    }
}

static struct wal_group *replay_created(struct wal_replay *replay, const struct wal_disk_record *r,
                                        const struct wal_disk_state *s)
{
    struct wal_group *g = wal_group_find(replay->wal, r->group);

    if (g != NULL) {
        group_gone(replay, g);
    }
    g = wal_group_new(replay->wal, r->group, r->replica);
    if (g == NULL) {
        replay->status = ERR_NOMEM;
        return NULL;
    }
    g->now.incarnation = r->incarnation;
    set_hard_state(g, s);
    (void)wal_index_reset(&g->index, s->first);
    return g;
}

static void replay_state(struct wal_replay *replay, const struct wal_disk_record *r, const struct wal_disk_state *s)
{
    struct wal_group *g;

    /* A bound that no writer of ours sets; behind a good checksum it would be a bug, not rot. */
    if (s->first == 0 || s->last + 1 < s->first) {
        damage_group(replay, r->group, r->replica, 0, UINT64_MAX);
        return;
    }
    if (r->kind == WAL_CREATED) {
        (void)replay_created(replay, r, s);
        return;
    }
    g = wal_group_find(replay->wal, r->group);
    if (g == NULL || g->replica != r->replica) {
        return;
    }
    if (r->kind == WAL_INSTALL) {
        if (r->incarnation > g->now.incarnation) {
            g->now.incarnation = r->incarnation;
            wal_group_drop_all(replay->wal, g, s->first);
            set_hard_state(g, s);
        }
        return;
    }
    if (r->incarnation != g->now.incarnation) {
        return;
    }
    set_hard_state(g, s);
    set_bounds(replay, g, s);
    if (r->kind == WAL_TOMBSTONE) {
        wal_group_drop_all(replay->wal, g, s->first);
    }
}

static void replay_record(void *data, const struct wal_disk_record *r, const uint8_t *body, uint64_t position,
                          bool payload_ok)
{
    struct wal_replay *replay = data;
    struct wal_disk_state state;
    struct wal_group *g;

    if (wal_kind_has_entry(r->kind)) {
        replay_entry(replay, r, body, position, payload_ok);
        return;
    }
    if (replay->old) {
        return;
    }
    if (wal_kind_has_state(r->kind)) {
        memcpy(&state, body, sizeof(state));
        replay_state(replay, r, &state);
        return;
    }
    if (r->kind == WAL_FORGET) {
        g = wal_group_find(replay->wal, r->group);
        if (g != NULL && g->replica == r->replica && (g->now.flags & WAL_STATE_TOMBSTONE)) {
            group_gone(replay, g);
        }
    } else if (r->kind == WAL_DROP &&
               grow(replay, (void **)&replay->dropped, replay->n_dropped, &replay->dropped_capacity, sizeof(uint64_t))) {
        memcpy(&replay->dropped[replay->n_dropped++], body, sizeof(uint64_t));
    }
}

void wal_replay_flush(struct wal_replay *replay, const struct wal_scan *scan)
{
    bool whole = wal_scan_records(scan, false, replay_record, replay);

    assert(whole);
    (void)whole;
    replay->recovery->flushes++;
}

/* ---- the checkpoint ---------------------------------------------------------------------------------------------- */

static void checkpoint_record(void *data, const struct wal_disk_record *r, const uint8_t *body, uint64_t position,
                              bool payload_ok)
{
    struct wal_replay *replay = data;
    struct wal_disk_state state;
    struct wal_group *g;

    if (r->kind == WAL_FILES) {
        size_t size = r->length - sizeof(replay->uuid);
        memcpy(&replay->uuid, body, sizeof(replay->uuid));
        free(replay->live);
        replay->live = size > 0 ? malloc(size) : NULL;
        if (replay->live == NULL && size > 0) {
            replay->status = ERR_NOMEM;
            return;
        }
        if (size > 0) {
            memcpy(replay->live, body + sizeof(replay->uuid), size);
        }
        replay->n_live = (uint32_t)(size / sizeof(struct wal_disk_live));
    }
    if (r->kind != WAL_STATE) {
        return;
    }
    memcpy(&state, body, sizeof(state));
    if (state.first == 0 || state.last + 1 < state.first || state.last + 1 - state.first > replay->entries_max) {
        damage_group(replay, r->group, r->replica, 0, UINT64_MAX);
        return;
    }
    replay->entries_max -= state.last + 1 - state.first;
    g = replay_created(replay, r, &state);
    while (g != NULL && g->index.last < state.last) {
        if (!push_hole(replay, g)) {
            return;
        }
    }
}

void wal_replay_checkpoint(struct wal_replay *replay, const struct wal_scan *scan)
{
    (void)wal_scan_records(scan, false, checkpoint_record, replay);
    replay->recovery->flushes++;
}

/* ---- damage ------------------------------------------------------------------------------------------------------ */


void wal_replay_damage(struct wal_replay *replay, const struct wal_scan *scan)
{
    replay->damages++;
    /* A checkpoint says nothing that the records before it did not say; recovery started from one that can be read. */
    if (scan->position == WAL_BLOCK_SIZE && (scan->has_header || scan->lost_one)) {
        return;
    }
    /* With its header: what can be read counts, and entries that are rotten say whose they are. */
    if (scan->has_header && wal_scan_records(scan, true, replay_record, replay)) {
        return;
    }
    if (scan->groups == NULL) {
        damage_all(replay);
        return;
    }
    for (uint32_t i = 0; i < scan->n_groups; i++) {
        struct wal_disk_group listed;
        memcpy(&listed, &scan->groups[i], sizeof(listed));
        if (replay->old && listed.index_min > listed.index_max) {
            continue; /* states only: the checkpoint has them */
        }
        damage_group(replay, listed.group, listed.replica, listed.index_min, listed.index_max);
    }
}

void wal_replay_file_lost(struct wal_replay *replay)
{
    replay->all_damaged = true;
}

static bool file_dealt_with(const struct wal_replay *replay, uint64_t sequence)
{
    for (uint32_t s = 0; s < replay->wal->n_slots; s++) {
        const struct wal_file *file = replay->wal->slots[s];
        if (file != NULL && file->sequence == sequence) {
            return !file->new_damage;
        }
    }
    return true;
}

static void judge(struct wal_replay *replay, const struct wal_suspicion *s)
{
    struct wal_group *g;

    if (file_dealt_with(replay, s->file)) {
        return;
    }
    if (s->all) {
        replay->all_damaged = true;
        return;
    }
    g = wal_group_find(replay->wal, s->group);
    if (g != NULL && g->replica == s->replica && s->index_min <= g->index.last && s->index_max >= g->index.first) {
        g->now.flags |= WAL_STATE_DAMAGED;
    }
}

static bool file_dropped(const struct wal_replay *replay, const struct wal_item *item)
{
    return item->file != WAL_AT_NONE && replay->wal->slots[item->file]->state == WAL_FILE_DROPPED;
}

/* Entries that the group has and no file gives: it is damaged, and keeps what is in front of them. */
static void find_holes(struct wal_replay *replay, struct wal_group *g)
{
    for (uint64_t i = g->index.first; i <= g->index.last; i++) {
        const struct wal_item *item = wal_index_at(&g->index, i);
        if (item->file == WAL_AT_NONE || file_dropped(replay, item)) {
            g->now.flags |= WAL_STATE_DAMAGED;
            wal_group_drop_above(replay->wal, g, i - 1);
            return;
        }
    }
}

void wal_replay_finish(struct wal_replay *replay)
{
    struct wal *wal = replay->wal;
    struct wal_group *g;
    struct wal_group *next;

    for (size_t i = 0; i < replay->n_suspicions; i++) {
        judge(replay, &replay->suspicions[i]);
    }
    HASH_ITER(hh, wal->groups, g, next)
    {
        find_holes(replay, g);
        if (replay->all_damaged && !(g->now.flags & WAL_STATE_TOMBSTONE)) {
            g->now.flags |= WAL_STATE_DAMAGED;
        }
        if ((g->now.flags & (WAL_STATE_DAMAGED | WAL_STATE_TOMBSTONE)) == WAL_STATE_DAMAGED) {
            replay->recovery->groups_damaged++;
        }
        g->logged = g->now;
        g->logged.first = g->index.first;
        g->logged.last = g->index.last;
        list_push_back(&wal->streamed, &g->link);
        wal->n_streamed++;
        wal_group_ref(g);
        replay->recovery->entries += g->index.last + 1 - g->index.first;
    }
}

void wal_replay_close(struct wal_replay *replay)
{
    free(replay->suspicions);
    free(replay->dropped);
    free(replay->live);
}
