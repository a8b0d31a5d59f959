/* A torn tail is discarded; corruption before it stops exactly the groups it touches (I6). */
#include <stdlib.h>
#include <string.h>

#include "raft/wal/wal_format.h"
#include "tests/unit/wal/fixture.h"

/* ---- finding things in a file ------------------------------------------------------------------------------------ */

struct image {
    uint8_t *data;
    size_t size;
    char path[ENV_PATH_MAX];
};

static void image_load(struct fx *fx, struct image *image, unsigned back)
{
    assert_true(fx_file(fx, back, image->path));
    image->size = (size_t)sim_node_file_size(fx->node, image->path);
    image->data = malloc(image->size);
    assert_int_equal(sim_node_file_peek(fx->node, image->path, 0, image->data, image->size), image->size);
}

static bool flush_at(const struct image *image, uint64_t at, struct wal_disk_flush *out)
{
    struct wal_disk_file header;
    if (wal_file_check_header(image->data, &header) != 0) {
        return false;
    }
    return wal_flush_check(image->data + at, at, image->size - at, out) == 0 && out->file_sequence == header.sequence;
}

/* The flush that holds entry (group, index); position 0: none. @record: where its local header stands. */
static struct wal_disk_flush find_entry(const struct image *image, uint64_t group, uint64_t index, uint64_t *record)
{
    struct wal_disk_flush flush = {0};

    for (uint64_t at = WAL_BLOCK_SIZE; at < image->size && flush_at(image, at, &flush);
         at += wal_round_up(flush.length, WAL_BLOCK_SIZE)) {
        uint64_t in = at + sizeof(flush) + sizeof(struct wal_disk_groups) +
                      flush.n_groups * sizeof(struct wal_disk_group);
        for (uint32_t i = 0; i < flush.n_records; i++) {
            struct wal_disk_record r;
            struct entry entry;
            memcpy(&r, image->data + in, sizeof(r));
            if (wal_kind_has_entry(r.kind) && r.group == group &&
                entry_decode_header(image->data + in + sizeof(r), &entry) == 0 && entry.index == index) {
                *record = in;
                return flush;
            }
            in += wal_record_size(r.length);
        }
    }
    memset(&flush, 0, sizeof(flush));
    return flush;
}

static struct wal_disk_flush last_flush(const struct image *image)
{
    struct wal_disk_flush flush;
    struct wal_disk_flush last = {0};

    for (uint64_t at = WAL_BLOCK_SIZE; at < image->size && flush_at(image, at, &flush);
         at += wal_round_up(flush.length, WAL_BLOCK_SIZE)) {
        last = flush;
    }
    return last;
}

/* ---- the tail ---------------------------------------------------------------------------------------------------- */

static void tail_begin(struct fx *fx, struct image *image)
{
    fx_init(fx, 21);
    fx_open(fx);
    fx_create(fx, 7, 1, true);
    fx_append(fx, 7, 1, 10, 1, 300);
    fx_append(fx, 7, 8, 12, 2, 900); /* the last flush replaces entries of the one before */
    fx_crash(fx, SIM_END_KILL);      /* before the closing flush */
    image_load(fx, image, 0);
}

static void a_torn_tail_is_discarded_wherever_it_is_torn(void **state)
{
    struct fx fx;
    struct image image;
    struct wal_disk_flush last;
    unsigned n_torn = 0;

    tail_begin(&fx, &image);
    last = last_flush(&image);
    fx_free(&fx);
    free(image.data);
    for (uint64_t s = last.position; s < last.position + last.length; s += SIM_SECTOR) {
        tail_begin(&fx, &image);
        fx_flip(&fx, image.path, s + 8);
        fx_open(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 0);
        fx_assert_log(&fx, 7, 1, 10); /* and so it is what was before */
        assert_int_equal(wal_group_term(wal_group_find(fx.wal, 7), 9), 1);
        n_torn += fx.recovery.torn_bytes > 0;
        /* The tear must not look like corruption the next time, nor the time after. */
        fx_append(&fx, 7, 11, 3, 3, 100);
        fx_reopen(&fx);
        fx_append(&fx, 7, 14, 1, 3, 100);
        fx_reopen(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 0);
        fx_assert_log(&fx, 7, 1, 14);
        fx_free(&fx);
        free(image.data);
    }
    assert_true(n_torn > 10);
}

static void a_rotten_last_flush_is_told_from_a_torn_one_by_the_closing_flush(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;
    struct wal_disk_flush flush;

    fx_init(&fx, 22);
    fx_open(&fx);
    fx_create(&fx, 7, 1, true);
    fx_append(&fx, 7, 1, 10, 1, 300);
    fx_settle(&fx);
    fx_crash(&fx, SIM_END_POWER);
    image_load(&fx, &image, 0);
    assert_true(last_flush(&image).flags & WAL_FLUSH_CLOSING);
    flush = find_entry(&image, 7, 10, &record);
    assert_true(flush.position > 0);
    fx_flip(&fx, image.path, record + WAL_ENTRY_OVERHEAD + 5);
    fx_open(&fx);
    assert_int_equal(fx.recovery.groups_damaged, 1);
    assert_true(fx_info(&fx, 7).damaged);
    free(image.data);
    fx_free(&fx);
}

/* ---- the middle -------------------------------------------------------------------------------------------------- */

static void middle_begin(struct fx *fx, struct image *image)
{
    fx_init(fx, 23);
    fx_open(fx);
    for (uint64_t g = 1; g <= 3; g++) {
        fx_create(fx, g, 10 + g, true);
    }
    for (uint64_t i = 1; i <= 5; i++) {
        for (uint64_t g = 1; g <= 3; g++) {
            fx_append(fx, g, i * 4 - 3, 4, 1, 200);
        }
    }
    fx_crash(fx, SIM_END_POWER);
    image_load(fx, image, 0);
}

/* Only group 2 is damaged, and stays so; the others are whole. */
static void assert_only_group_2(struct fx *fx)
{
    fx_open(fx);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fx->recovery.groups_damaged, 1);
        assert_false(fx->recovery.all_damaged);
        assert_true(fx_info(fx, 2).damaged);
        assert_false(fx_info(fx, 1).damaged);
        fx_assert_log(fx, 1, 1, 20 + (uint64_t)i);
        fx_assert_log(fx, 3, 1, 20);
        fx_append(fx, 1, 21 + (uint64_t)i, 1, 2, 10);
        fx_reopen(fx);
    }
}

static void corruption_in_the_middle_stops_just_the_groups_it_touches(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;
    struct wal_disk_flush flush;

    for (int where = 0; where < 4; where++) {
        middle_begin(&fx, &image);
        flush = find_entry(&image, 2, 10, &record);
        assert_true(flush.position > 0);
        switch (where) {
        case 0: /* a payload */
            fx_flip(&fx, image.path, record + WAL_ENTRY_OVERHEAD + 50);
            break;
        case 1: /* a record's header: what follows cannot be read, the list of groups can */
            fx_flip(&fx, image.path, record + 20);
            break;
        case 2: /* an entry's header */
            fx_flip(&fx, image.path, record + sizeof(struct wal_disk_record) + 17);
            break;
        default: /* the flush's header */
            fx_flip(&fx, image.path, flush.position + 30);
            break;
        }
        assert_only_group_2(&fx);
        fx_free(&fx);
        free(image.data);
    }
}

static void damage_met_while_running_is_kept_until_the_group_is_deleted(void **state)
{
    struct fx fx;

    fx_init(&fx, 77);
    fx_open(&fx);
    fx_create(&fx, 1, 11, false);
    fx_create(&fx, 2, 12, false);
    fx_append(&fx, 1, 1, 3, 2, 100);
    fx_append(&fx, 2, 1, 3, 2, 100);
    fx_settle(&fx);
    wal_group_damage(fx.wal, wal_group_find(fx.wal, 2));
    assert_true(fx_info(&fx, 2).damaged);
    fx_settle(&fx);
    for (int i = 0; i < 3; i++) {
        fx_reopen(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 1);
        assert_true(fx_info(&fx, 2).damaged);
        assert_false(fx_info(&fx, 1).damaged);
        fx_append(&fx, 1, 4 + (uint64_t)i, 1, 2, 100);
        fx_settle(&fx);
    }
    fx_delete(&fx, 2);
    fx_forget(&fx, 2);
    fx_create(&fx, 2, 99, false);
    fx_append(&fx, 2, 1, 5, 4, 100);
    fx_settle(&fx);
    fx_reopen(&fx);
    assert_int_equal(fx.recovery.groups_damaged, 0);
    fx_assert_log(&fx, 2, 1, 5);
    fx_free(&fx);
}

static void a_damaged_group_keeps_its_flag_until_it_is_deleted(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;

    middle_begin(&fx, &image);
    assert_true(find_entry(&image, 2, 10, &record).position > 0);
    fx_flip(&fx, image.path, record + 20);
    fx_open(&fx);
    fx_delete(&fx, 2);
    fx_forget(&fx, 2);
    fx_create(&fx, 2, 99, false);
    fx_append(&fx, 2, 1, 5, 4, 100);
    fx_settle(&fx);
    for (int i = 0; i < 2; i++) {
        fx_reopen(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 0);
        fx_assert_log(&fx, 2, 1, 5);
    }
    free(image.data);
    fx_free(&fx);
}

static void without_the_list_of_groups_every_replica_stops(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;
    struct wal_disk_flush flush;
    struct uuid before;

    middle_begin(&fx, &image);
    before = fx.recovery.wal_uuid;
    flush = find_entry(&image, 2, 10, &record);
    assert_true(flush.position > 0);
    fx_flip(&fx, image.path, flush.position + 30);
    fx_flip(&fx, image.path, flush.position + sizeof(flush) + 40);
    fx_open(&fx);
    assert_int_equal(fx.recovery.groups_damaged, 3);
    assert_true(fx.recovery.all_damaged);
    assert_false(uuid_equal(&before, &fx.recovery.wal_uuid));
    before = fx.recovery.wal_uuid;
    /* What comes to live here later is not damaged by it. */
    fx_create(&fx, 4, 77, false);
    fx_append(&fx, 4, 1, 9, 1, 100);
    for (int i = 0; i < 2; i++) {
        fx_reopen(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 3);
        assert_false(fx.recovery.all_damaged);
        assert_true(uuid_equal(&before, &fx.recovery.wal_uuid));
        fx_assert_log(&fx, 4, 1, 9);
        assert_false(fx_info(&fx, 4).damaged);
    }
    free(image.data);
    fx_free(&fx);
}

static void a_rotten_list_or_file_header_or_checkpoint_alone_harms_nobody(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;
    struct wal_disk_flush flush;

    for (int where = 0; where < 3; where++) {
        middle_begin(&fx, &image);
        flush = find_entry(&image, 2, 10, &record);
        assert_true(flush.position > 0);
        if (where == 0) {
            fx_flip(&fx, image.path, flush.position + sizeof(flush) + 40);
        } else if (where == 1) {
            fx_flip(&fx, image.path, 20);
        } else {
            /* One more file, whose checkpoint goes; the older one's serves. */
            fx_open(&fx);
            fx_append(&fx, 1, 21, 63, 1, 5000);
            fx_crash(&fx, SIM_END_POWER);
            free(image.data);
            image_load(&fx, &image, 0);
            fx_flip(&fx, image.path, WAL_BLOCK_SIZE + 300);
        }
        fx_open(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 0);
        fx_assert_log(&fx, 1, 1, where == 2 ? 83 : 20);
        fx_assert_log(&fx, 2, 1, 20);
        fx_assert_log(&fx, 3, 1, 20);
        fx_free(&fx);
        free(image.data);
    }
}

static void lost_hard_state_stops_the_group(void **state)
{
    struct fx fx;
    struct image image;
    struct wal_disk_flush flush;
    bool found = false;

    fx_init(&fx, 24);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    fx_create(&fx, 2, 12, true);
    fx_hard_state(&fx, 2, 6, 12);
    fx_append(&fx, 1, 1, 3, 1, 100);
    fx_crash(&fx, SIM_END_POWER);
    image_load(&fx, &image, 0);
    for (uint64_t at = WAL_BLOCK_SIZE; at < image.size && flush_at(&image, at, &flush);
         at += wal_round_up(flush.length, WAL_BLOCK_SIZE)) {
        uint64_t in = at + sizeof(flush) + sizeof(struct wal_disk_groups) +
                      flush.n_groups * sizeof(struct wal_disk_group);
        struct wal_disk_record r;
        memcpy(&r, image.data + in, sizeof(r));
        if (flush.n_records == 1 && r.kind == WAL_HARD_STATE && r.group == 2) {
            fx_flip(&fx, image.path, in + sizeof(r) + 3);
            found = true;
        }
    }
    assert_true(found);
    fx_open(&fx);
    assert_true(fx_info(&fx, 2).damaged);
    assert_false(fx_info(&fx, 1).damaged);
    free(image.data);
    fx_free(&fx);
}

static void a_group_whose_creation_is_lost_is_damaged_rather_than_unknown(void **state)
{
    struct fx fx;
    struct image image;
    struct wal_disk_flush flush;
    bool found = false;

    fx_init(&fx, 25);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    fx_create(&fx, 2, 12, true);
    fx_append(&fx, 1, 1, 3, 1, 100);
    fx_crash(&fx, SIM_END_POWER);
    image_load(&fx, &image, 0);
    for (uint64_t at = WAL_BLOCK_SIZE; at < image.size && flush_at(&image, at, &flush);
         at += wal_round_up(flush.length, WAL_BLOCK_SIZE)) {
        uint64_t in = at + sizeof(flush) + sizeof(struct wal_disk_groups) +
                      flush.n_groups * sizeof(struct wal_disk_group);
        struct wal_disk_record r;
        memcpy(&r, image.data + in, sizeof(r));
        if (r.kind == WAL_CREATED && r.group == 2) {
            fx_flip(&fx, image.path, in + 9);
            found = true;
        }
    }
    assert_true(found);
    fx_open(&fx);
    assert_true(fx_info(&fx, 2).damaged);
    assert_int_equal(fx_info(&fx, 2).replica, 12);
    fx_assert_log(&fx, 1, 1, 3);
    free(image.data);
    fx_free(&fx);
}

/* ---- older files ------------------------------------------------------------------------------------------------- */

static void old_begin(struct fx *fx, struct image *image, uint64_t *record)
{
    fx_init(fx, 26);
    fx_open(fx);
    fx_create(fx, 1, 11, true);
    fx_create(fx, 2, 12, true);
    fx_append(fx, 1, 1, 20, 1, 1000);
    fx_append(fx, 2, 1, 20, 1, 1000);
    fx_append(fx, 1, 21, 100, 1, 5000); /* a few files on */
    fx_settle(fx);
    fx_crash(fx, SIM_END_POWER);
    for (unsigned back = 0;; back++) {
        image_load(fx, image, back);
        if (find_entry(image, 2, 15, record).position > 0) {
            return;
        }
        free(image->data);
    }
}

static void corruption_in_an_older_file_counts_where_something_is_kept(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;

    old_begin(&fx, &image, &record);
    fx_flip(&fx, image.path, record + 3);
    for (int i = 0; i < 2; i++) {
        fx_open(&fx);
        assert_int_equal(fx.recovery.groups_damaged, 1);
        assert_true(fx_info(&fx, 2).damaged);
        fx_assert_log(&fx, 1, 1, 120);
        fx_crash(&fx, SIM_END_POWER);
    }
    fx_free(&fx);
    free(image.data);
}

static void a_rotten_dead_entry_harms_nobody(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;

    old_begin(&fx, &image, &record);
    fx_open(&fx);
    fx_trim(&fx, 2, 18);
    sim_world_run_for(fx.world, 100 * SIM_MS);
    fx_crash(&fx, SIM_END_POWER);
    fx_flip(&fx, image.path, record + WAL_ENTRY_OVERHEAD + 3);
    fx_open(&fx);
    assert_int_equal(fx.recovery.groups_damaged, 0);
    fx_assert_log(&fx, 2, 18, 20);
    free(image.data);
    fx_free(&fx);
}

static void reading_a_rotten_entry_says_so(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;
    uint32_t n;

    old_begin(&fx, &image, &record);
    fx_open(&fx);
    fx_flip(&fx, image.path, record + WAL_ENTRY_OVERHEAD + 3);
    assert_int_equal(fx_read(&fx, 2, 15, 1, 10000, &n), ERR_CORRUPT);
    assert_int_equal(fx_read(&fx, 2, 14, 1, 10000, &n), 0);
    free(image.data);
    fx_free(&fx);
}

static void unlink_call(struct fx *fx, void *arg)
{
    assert_int_equal(env_path_unlink(fx->params.env, arg), 0);
    assert_int_equal(env_dir_sync(fx->params.env, FX_DIR), 0);
}

static void a_lost_file_stops_every_replica(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;

    old_begin(&fx, &image, &record);
    fx_open(&fx);
    assert_true(fx_call(&fx, unlink_call, image.path));
    fx_crash(&fx, SIM_END_POWER);
    fx_open(&fx);
    assert_true(fx.recovery.all_damaged);
    assert_int_equal(fx.recovery.groups_damaged, 2);
    free(image.data);
    fx_free(&fx);
}

static void the_first_files_checkpoint_is_dispensable(void **state)
{
    struct fx fx;
    struct image image;

    fx_init(&fx, 28);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    fx_append(&fx, 1, 1, 7, 1, 100);
    fx_crash(&fx, SIM_END_POWER);
    image_load(&fx, &image, 0);
    fx_flip(&fx, image.path, WAL_BLOCK_SIZE + 20);
    fx_open(&fx);
    assert_int_equal(fx.recovery.groups_damaged, 0);
    fx_assert_log(&fx, 1, 1, 7);
    free(image.data);
    fx_free(&fx);
}

static void truncate_call(struct fx *fx, void *arg)
{
    struct env_file *file;
    assert_int_equal(env_file_open(fx->params.env, arg, ENV_OPEN_WRITE, &file), 0);
    assert_int_equal(env_file_truncate(fx->params.env, file, 3 * WAL_BLOCK_SIZE), 0);
    assert_int_equal(env_file_sync(fx->params.env, file), 0);
    env_file_close(fx->params.env, file);
}

static void a_file_that_ends_early_is_damage(void **state)
{
    struct fx fx;
    struct image image;
    uint64_t record;

    old_begin(&fx, &image, &record);
    fx_open(&fx);
    assert_true(fx_call(&fx, truncate_call, image.path));
    fx_crash(&fx, SIM_END_POWER);
    fx_open(&fx);
    assert_true(fx.recovery.groups_damaged > 0);
    assert_true(fx_info(&fx, 2).damaged);
    free(image.data);
    fx_free(&fx);
}

static void files_without_one_readable_are_refused(void **state)
{
    struct fx fx;
    struct image image;

    fx_init(&fx, 27);
    fx_open(&fx);
    fx_create(&fx, 1, 11, true);
    fx_crash(&fx, SIM_END_POWER);
    image_load(&fx, &image, 0);
    fx_flip(&fx, image.path, WAL_BLOCK_SIZE + 20);
    fx_flip(&fx, image.path, 20);
    fx_start(&fx);
    assert_int_equal(fx.open_status, ERR_CORRUPT);
    assert_true(strlen(fx.errmsg) > 0);
    free(image.data);
    fx_free(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_tail_is_discarded_wherever_it_is_torn),
        cmocka_unit_test(a_rotten_last_flush_is_told_from_a_torn_one_by_the_closing_flush),
        cmocka_unit_test(corruption_in_the_middle_stops_just_the_groups_it_touches),
        cmocka_unit_test(damage_met_while_running_is_kept_until_the_group_is_deleted),
        cmocka_unit_test(a_damaged_group_keeps_its_flag_until_it_is_deleted),
        cmocka_unit_test(without_the_list_of_groups_every_replica_stops),
        cmocka_unit_test(a_rotten_list_or_file_header_or_checkpoint_alone_harms_nobody),
        cmocka_unit_test(lost_hard_state_stops_the_group),
        cmocka_unit_test(a_group_whose_creation_is_lost_is_damaged_rather_than_unknown),
        cmocka_unit_test(corruption_in_an_older_file_counts_where_something_is_kept),
        cmocka_unit_test(a_rotten_dead_entry_harms_nobody),
        cmocka_unit_test(reading_a_rotten_entry_says_so),
        cmocka_unit_test(a_lost_file_stops_every_replica),
        cmocka_unit_test(the_first_files_checkpoint_is_dispensable),
        cmocka_unit_test(a_file_that_ends_early_is_damage),
        cmocka_unit_test(files_without_one_readable_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
