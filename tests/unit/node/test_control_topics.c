/* Topics on a running cluster: local groups follow the metadata, on every node, over deaths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/node/control_cluster.h"

static void form(struct cluster *cl, uint64_t seed, uint32_t n)
{
    cluster_init(cl, seed, n);
    for (uint32_t i = 1; i <= n; i++) {
        cluster_start(cl, i);
    }
    assert_true(cluster_run_until(cl, cluster_settled, NULL, 20000));
}

static struct local *local_of(const struct control *c, uint64_t group)
{
    struct local *l;
    HASH_FIND(hh, c->reconcile.table, &group, sizeof group, l);
    return l;
}

/* Every running node holds exactly the replicas that its metadata gives it, all of them led by somebody it knows. */
static bool matches(struct cluster *cl, void *data)
{
    for (uint32_t i = 0; i < cl->n; i++) {
        const struct control *c = cl->nodes[i].control;
        uint32_t expected = 0;
        if (c == NULL) {
            continue;
        }
        if (!c->metadata.confirmed || c->reconcile.dirty || c->reconcile.under_way != 0) {
            return false;
        }
        list_for_each (pos, metadata_fsm_topics(c->metadata.fsm)) {
            const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
            for (uint32_t p = 0; p < t->n_partitions; p++) {
                const struct metadata_partition *part = &t->partitions[p];
                if (control_leader_of(c, part->group, NULL) == 0) {
                    return false;
                }
                for (uint32_t r = 0; r < part->n_replicas; r++) {
                    const struct local *l = local_of(c, part->group);
                    if (part->replicas[r].node != c->node) {
                        continue;
                    }
                    expected++;
                    if (l == NULL || l->state != LOCAL_OPEN || l->replica != part->replicas[r].replica ||
                        l->message_max_bytes == 0) {
                        return false;
                    }
                }
            }
        }
        if (HASH_COUNT(c->reconcile.table) != expected) {
            return false;
        }
    }
    return cluster_settled(cl, data);
}

static void topics_are_founded_on_all_replicas_and_deleted(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards <= 2; shards++) {
        struct cluster cl;
        uint32_t leads[4] = {0};
        cluster_init(&cl, 60 + shards, 3);
        for (uint32_t i = 1; i <= 3; i++) {
            cluster_node(&cl, i)->shards = shards;
            cluster_start(&cl, i);
        }
        assert_true(cluster_run_until(&cl, cluster_settled, NULL, 20000));
        for (uint32_t i = 1; i <= 3; i++) { /* leader or not: any node takes it */
            char name[16];
            snprintf(name, sizeof name, "topic-%u", i);
            assert_int_equal(cluster_create_topic(&cl, i, name, 6, 3), 0);
            assert_int_equal(cluster_create_topic(&cl, i, name, 6, 3), ERR_TOPIC_EXISTS);
        }
        assert_true(cluster_run_until(&cl, matches, NULL, 5000));
        /* Preferred leaders lead, spread evenly. */
        for (struct leader *l = cluster_node(&cl, 1)->control->leaders.table; l != NULL; l = l->hh.next) {
            leads[l->node] += l->group != METADATA_GROUP;
        }
        assert_int_equal(leads[1] + leads[2] + leads[3], 18);
        assert_in_range(leads[1], 4, 8);
        assert_in_range(leads[2], 4, 8);
        assert_in_range(leads[3], 4, 8);
        assert_int_equal(cluster_delete_topic(&cl, 2, "topic-2"), 0);
        assert_true(cluster_run_until(&cl, matches, NULL, 5000));
        assert_int_equal(HASH_COUNT(cluster_node(&cl, 1)->control->reconcile.table), 12);
        cluster_close(&cl);
    }
}

static void a_node_that_was_away_founds_and_deletes_what_it_missed(void **state)
{
    struct cluster cl;
    (void)state;
    form(&cl, 70, 3);
    assert_int_equal(cluster_create_topic(&cl, 1, "before", 4, 3), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    cluster_kill(&cl, 3, SIM_END_POWER);
    cluster_run(&cl, 4000);
    assert_int_equal(cluster_create_topic(&cl, 1, "meanwhile", 4, 3), 0); /* two of its three can start */
    assert_int_equal(cluster_delete_topic(&cl, 2, "before"), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    cluster_start(&cl, 3);
    assert_true(cluster_run_until(&cl, matches, NULL, 10000));
    assert_int_equal(HASH_COUNT(cluster_node(&cl, 3)->control->reconcile.table), 4);
    cluster_close(&cl);
}

/* Old commands are replayed at every start; what they created and deleted must not come back. */
static void deleted_topics_stay_deleted_over_restarts(void **state)
{
    struct cluster cl;
    (void)state;
    form(&cl, 71, 3);
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 4, 3), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    assert_int_equal(cluster_delete_topic(&cl, 1, "t"), 0);
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 2, 3), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    for (uint32_t round = 0; round < 3; round++) {
        sim_world_power_cut(cl.world);
        for (uint32_t i = 1; i <= 3; i++) {
            cluster_start(&cl, i);
        }
        assert_true(cluster_run_until(&cl, matches, NULL, 10000));
        assert_int_equal(HASH_COUNT(cluster_node(&cl, 2)->control->reconcile.table), 2);
    }
    assert_int_equal(cl.not_opened, 0); /* not even tried */
    cluster_close(&cl);
}

/* Nodes die at disk operations all through the founding and deleting of groups. */
static void deaths_while_groups_are_made_and_deleted(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct cluster cl;
        form(&cl, 7100 + seed, 3);
        for (uint32_t i = 1; i <= 3; i++) {
            cluster_node(&cl, i)->restart = true;
        }
        for (uint32_t round = 0; round < 4; round++) {
            uint32_t victim = 1 + (uint32_t)(sim_world_random(cl.world) % 3);
            uint32_t asked = victim % 3 + 1;
            char name[16];
            int rv;
            snprintf(name, sizeof name, "t%u", round);
            if (!sim_node_running(cluster_node(&cl, victim)->machine) ||
                !sim_node_running(cluster_node(&cl, asked)->machine)) {
                cluster_run(&cl, 300);
            }
            sim_node_kill_at_op(cluster_node(&cl, victim)->machine, sim_world_random(cl.world) % 12,
                                sim_world_random(cl.world) % 2 == 0 ? SIM_END_POWER : SIM_END_KILL);
            rv = cluster_create_topic(&cl, asked, name, 5, 3);
            if (rv == 0 && round % 2 == 0 && cluster_node(&cl, asked)->control != NULL) {
                rv = cluster_delete_topic(&cl, asked, name);
            }
            assert_true(rv == 0 || rv == ERR_UNKNOWN_OUTCOME || rv == ERR_TIMEOUT || rv == ERR_LEADER_NOT_READY ||
                        rv == ERR_INVALID_REPLICAS || rv == ERR_NOT_FORMED);
            cluster_run(&cl, sim_world_random(cl.world) % 1500);
        }
        assert_true(cluster_run_until(&cl, matches, NULL, 20000));
        assert_int_equal(cl.n_working, 1);
        cluster_close(&cl);
    }
}

static bool everybody_knows_the_leaders(struct cluster *cl, void *data)
{
    const struct control *first = NULL;
    (void)data;
    for (uint32_t i = 0; i < cl->n; i++) {
        const struct control *c = cl->nodes[i].control;
        if (c == NULL) {
            continue;
        }
        if (first == NULL) {
            first = c;
        }
        for (struct leader *l = first->leaders.table; l != NULL; l = l->hh.next) {
            uint32_t node = control_leader_of(c, l->group, NULL);
            if (node == 0 || node != l->node || cluster_node(cl, node)->control == NULL) {
                return false;
            }
        }
    }
    return true;
}

static bool preferred_lead(struct cluster *cl, void *data)
{
    const struct control *c = cl->nodes[0].control;
    (void)data;
    list_for_each (pos, metadata_fsm_topics(c->metadata.fsm)) {
        const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        for (uint32_t p = 0; p < t->n_partitions; p++) {
            if (control_leader_of(c, t->partitions[p].group, NULL) != t->partitions[p].preferred_node) {
                return false;
            }
        }
    }
    return true;
}

static void leaders_move_away_at_a_death_and_back_after_it(void **state)
{
    struct cluster cl;
    (void)state;
    form(&cl, 80, 4); /* the fourth node has no replica of some groups: it hears of their leaders */
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 12, 3), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    assert_true(cluster_run_until(&cl, preferred_lead, NULL, 30000));
    cluster_kill(&cl, 2, SIM_END_POWER);
    assert_true(cluster_run_until(&cl, everybody_knows_the_leaders, NULL, 10000));
    cluster_start(&cl, 2);
    assert_true(cluster_run_until(&cl, preferred_lead, NULL, 60000));
    assert_true(cluster_run_until(&cl, everybody_knows_the_leaders, NULL, 10000));
    cluster_close(&cl);
}

struct hand_over {
    struct cluster_node *node;
    bool done;
};

static void handed_over(void *data)
{
    ((struct hand_over *)data)->done = true;
}

static void start_hand_over(struct env *env, void *data)
{
    struct hand_over *h = data;
    (void)env;
    control_hand_over(h->node->control, 5000, handed_over, h);
}

static bool hand_over_done(struct cluster *cl, void *data)
{
    (void)cl;
    return ((struct hand_over *)data)->done;
}

static void a_planned_stop_hands_everything_over_first(void **state)
{
    struct cluster cl;
    struct hand_over h = {0};
    (void)state;
    form(&cl, 81, 3);
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 12, 3), 0);
    assert_int_equal(cluster_create_topic(&cl, 1, "alone", 3, 1), 0); /* nobody to hand these to: not waited for */
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    h.node = cluster_metadata_leader(&cl);
    assert_true(h.node->control->leaders.own > 1);
    assert_true(sim_node_call(h.node->machine, start_hand_over, &h));
    assert_true(cluster_run_until(&cl, hand_over_done, &h, 450));
    assert_in_range(h.node->control->leaders.own, 0, 2);
    assert_true(cluster_run_until(&cl, everybody_knows_the_leaders, NULL, 2000));
    cluster_close(&cl);
}

#define BURST 64

struct burst {
    struct cluster_node *node;
    uint32_t done;
    uint32_t ok;
    uint32_t unknown;
    int error;
    int64_t ids[BURST]; /* of those that succeeded */
    struct burst_item {
        struct control_proposal proposal;
        struct burst *burst;
    } items[BURST];
};

static void burst_done(struct control_proposal *p, int error, const struct metadata_reply *reply)
{
    struct burst *b = container_of(p, struct burst_item, proposal)->burst;
    b->done++;
    if (error == 0) {
        b->ids[b->ok++] = reply->value;
    }
    b->unknown += error == ERR_UNKNOWN_OUTCOME;
    b->error = error;
}

static void start_burst(struct env *env, void *data)
{
    struct burst *b = data;
    (void)env;
    for (uint32_t i = 0; i < BURST; i++) {
        Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
        Cairn__Command__AllocateProducerIds body = CAIRN__COMMAND__ALLOCATE_PRODUCER_IDS__INIT;
        body.node = b->node->id;
        body.count = 1;
        command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_ALLOCATE_PRODUCER_IDS;
        command.allocate_producer_ids = &body;
        b->items[i].burst = b;
        b->items[i].proposal.done = burst_done;
        b->items[i].proposal.timeout_ms = 8000;
        control_propose(b->node->control, &command, &b->items[i].proposal);
    }
}

static bool burst_ended(struct cluster *cl, void *data)
{
    (void)cl;
    return ((struct burst *)data)->done == BURST;
}

/* Every proposal is answered once, and what was answered with success is there; unknown ones may be. */
static void proposals_survive_the_leaders_death(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct cluster cl;
        struct burst b = {0};
        struct cluster_node *leader;
        form(&cl, 8300 + seed, 3);
        leader = cluster_metadata_leader(&cl);
        b.node = cluster_node(&cl, leader->id % 3 + 1);
        assert_true(sim_node_call(b.node->machine, start_burst, &b));
        sim_world_run_for(cl.world, sim_world_random(cl.world) % (4 * SIM_MS));
        cluster_kill(&cl, leader->id, SIM_END_POWER);
        assert_true(cluster_run_until(&cl, burst_ended, &b, 15000));
        assert_int_equal(b.ok + b.unknown, BURST);
        for (uint32_t i = 0; i < b.ok; i++) { /* each got its own answer */
            assert_true(b.ids[i] > 0);
            for (uint32_t k = 0; k < i; k++) {
                assert_true(b.ids[i] != b.ids[k]);
            }
        }
        cluster_close(&cl);
    }
}

static void start_bad_delete(struct env *env, void *data)
{
    struct burst *b = data;
    Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
    Cairn__Command__DeleteTopic body = CAIRN__COMMAND__DELETE_TOPIC__INIT;
    struct uuid nobody = {{9}};
    (void)env;
    body.topic_id.data = nobody.bytes;
    body.topic_id.len = sizeof nobody.bytes;
    command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC;
    command.delete_topic = &body;
    b->items[0].burst = b;
    b->items[0].proposal.done = burst_done;
    control_propose(b->node->control, &command, &b->items[0].proposal);
}

static bool one_done(struct cluster *cl, void *data)
{
    (void)cl;
    return ((struct burst *)data)->done == 1;
}

static void a_refusal_of_the_state_machine_reaches_the_proposer(void **state)
{
    struct cluster cl;
    (void)state;
    form(&cl, 84, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        struct burst b = {.node = cluster_node(&cl, i)};
        assert_true(sim_node_call(b.node->machine, start_bad_delete, &b));
        assert_true(cluster_run_until(&cl, one_done, &b, 5000));
        assert_int_equal(b.error, ERR_UNKNOWN_TOPIC);
    }
    cluster_close(&cl);
}

static void newer_terms_win_and_lost_hints_come_again(void **state)
{
    struct cluster cl;
    struct control *c;
    uint64_t group = 0;
    uint32_t leader;
    (void)state;
    form(&cl, 85, 4);
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 12, 3), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    c = cluster_node(&cl, 4)->control;
    leaders_note(c, 1u << 20, 5, 2);
    leaders_note(c, 1u << 20, 4, 3);
    assert_int_equal(control_leader_of(c, 1u << 20, NULL), 2);
    leaders_note(c, 1u << 20, 5, 0);
    assert_int_equal(control_leader_of(c, 1u << 20, NULL), 2);
    leaders_note(c, 1u << 20, 6, 0);
    assert_int_equal(control_leader_of(c, 1u << 20, NULL), 0);
    leaders_forget(c, 1u << 20);
    for (struct leader *l = c->leaders.table; l != NULL && group == 0; l = l->hh.next) {
        group = l->group != METADATA_GROUP && local_of(c, l->group) == NULL ? l->group : 0;
    }
    assert_true(group != 0);
    leader = control_leader_of(c, group, NULL);
    leaders_forget(c, group);
    cluster_run(&cl, CONTROL_LEADERS_ALL_MS + 1000);
    assert_int_equal(control_leader_of(c, group, NULL), leader);
    cluster_close(&cl);
}

struct corruption {
    struct cluster_node *node;
    uint64_t group;
};

static void corrupt(struct env *env, void *data)
{
    struct corruption *x = data;
    struct shard *shard = shards_of_group(control_shards(x->node->control), x->group);
    (void)env;
    group_fail(partition_group(partition_find(shard, x->group)), ERR_CORRUPT, "what it read was not what it wrote");
}

/* The replica of @group on @id is another one than before, runs, and is a voter like two others. */
struct healed {
    uint64_t group;
    uint32_t id;
    uint64_t old_replica;
};

static bool healed(struct cluster *cl, void *data)
{
    const struct healed *h = data;
    struct control *c = cluster_node(cl, h->id)->control;
    uint32_t leader = c == NULL ? 0 : control_leader_of(c, h->group, NULL);
    const struct core_config *config;
    struct partition *p;
    struct local *l;

    if (leader == 0 || cluster_node(cl, leader)->control == NULL || !matches(cl, NULL)) {
        return false;
    }
    l = local_of(c, h->group);
    p = partition_find(shards_of_group(control_shards(cluster_node(cl, leader)->control), h->group), h->group);
    if (l == NULL || l->replica == h->old_replica || l->state != LOCAL_OPEN || p == NULL) {
        return false;
    }
    config = group_config(partition_group(p));
    return config->n == 3 && core_config_voters(config) == 3 && core_config_find(config, h->old_replica) == NULL &&
           core_config_find(config, l->replica) != NULL;
}

static void a_corrupt_replica_is_replaced_from_its_peers(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct cluster cl;
        struct corruption x;
        struct healed h;
        const struct metadata_topic *t;
        form(&cl, 9000 + seed, 3);
        assert_int_equal(cluster_create_topic(&cl, 1, "t", 3, 3), 0);
        assert_true(cluster_run_until(&cl, matches, NULL, 5000));
        t = metadata_fsm_topic_named(control_metadata(cluster_node(&cl, 1)->control), "t");
        x.group = h.group = t->partitions[seed % 3].group;
        h.id = 1 + (uint32_t)seed / 3 % 3;
        x.node = cluster_node(&cl, h.id); /* leader or follower */
        h.old_replica = local_of(x.node->control, x.group)->replica;
        assert_true(sim_node_call(x.node->machine, corrupt, &x));
        if (seed >= 6) { /* and dies in the middle of its replacement, more than once */
            x.node->restart = true;
            for (uint32_t i = 0; i < 4; i++) {
                if (sim_node_running(x.node->machine)) {
                    sim_node_kill_at_op(x.node->machine, sim_world_random(cl.world) % 6, SIM_END_POWER);
                }
                cluster_run(&cl, sim_world_random(cl.world) % 1500);
            }
            cluster_run(&cl, 300);
            if (local_of(x.node->control, x.group) != NULL &&
                local_of(x.node->control, x.group)->replica == h.old_replica &&
                local_of(x.node->control, x.group)->state == LOCAL_OPEN) {
                cluster_close(&cl); /* it died before it could ask, and what is on its disk is sound */
                continue;
            }
        }
        assert_true(cluster_run_until(&cl, healed, &h, 60000));
        /* Again: a successor is replaced like a founder. */
        h.old_replica = local_of(x.node->control, x.group)->replica;
        assert_true(sim_node_call(x.node->machine, corrupt, &x));
        assert_true(cluster_run_until(&cl, healed, &h, 60000));
        cluster_close(&cl);
    }
}

static uint32_t group_leader(struct cluster *cl, uint64_t group)
{
    for (uint32_t id = 1; id <= 3; id++) {
        struct control *c = cluster_node(cl, id)->control;
        if (control_leader_of(c, group, NULL) == id) {
            return id;
        }
    }
    return 0;
}

/* A leader that has not heard of a successor yet must not take it for the replica that it replaced. */
static void a_lagging_read_model_removes_no_successor(void **state)
{
    struct cluster cl;
    struct corruption x;
    struct healed h;
    struct metadata_partition *lagging = NULL;
    struct local *l;
    uint64_t successor;
    (void)state;
    form(&cl, 9100, 3);
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 1, 3), 0);
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    x.group = h.group = metadata_fsm_topic_named(control_metadata(cluster_node(&cl, 1)->control), "t")->partitions[0].group;
    h.id = group_leader(&cl, x.group) % 3 + 1; /* a follower */
    x.node = cluster_node(&cl, h.id);
    h.old_replica = local_of(x.node->control, x.group)->replica;
    assert_true(sim_node_call(x.node->machine, corrupt, &x));
    assert_true(cluster_run_until(&cl, healed, &h, 60000));
    successor = local_of(x.node->control, x.group)->replica;
    for (uint32_t id = 1; id <= 3; id++) { /* whoever leads */
        struct control *c = cluster_node(&cl, id)->control;
        lagging = (struct metadata_partition *)(uintptr_t)metadata_fsm_partition_of_group(control_metadata(c), x.group);
        for (uint32_t i = 0; id != h.id && i < lagging->n_replicas; i++) {
            if (lagging->replicas[i].replica == successor) {
                lagging->replicas[i].replica = h.old_replica;
            }
        }
        l = reconcile_find(c, x.group);
        assert_non_null(l);
        l->members_settled = 0;
    }
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t leader = group_leader(&cl, x.group);
        struct partition *p;
        cluster_run(&cl, 100);
        p = leader == 0 ? NULL : partition_find(shards_of_group(control_shards(cluster_node(&cl, leader)->control), x.group), x.group);
        assert_true(p == NULL || core_config_find(group_config(partition_group(p)), successor) != NULL);
    }
    cluster_close(&cl);
}

/* Whatever the read model says: without the leader's word nothing is founded. */
static void nothing_is_founded_from_unconfirmed_metadata(void **state)
{
    struct cluster cl;
    struct control *c;
    (void)state;
    form(&cl, 86, 3);
    c = cluster_node(&cl, 3)->control;
    c->metadata.confirmed = false;
    c->metadata.confirming = true; /* as if its barrier were on its way, for long */
    assert_int_equal(cluster_create_topic(&cl, 1, "t", 4, 3), 0);
    cluster_run(&cl, 3000);
    assert_int_equal(metadata_fsm_topic_count(control_metadata(c)), 1);
    assert_int_equal(HASH_COUNT(c->reconcile.table), 0);
    c->metadata.confirming = false;
    assert_true(cluster_run_until(&cl, matches, NULL, 5000));
    assert_int_equal(HASH_COUNT(c->reconcile.table), 4);
    cluster_close(&cl);
}

static void unlink_one(void *data, const char *name)
{
    struct env *env = data;
    char path[ENV_PATH_MAX];
    snprintf(path, sizeof path, "/var/cairn/shard-0/%s", name);
    assert_int_equal(env_path_unlink(env, path), 0);
}

static void empty_log(struct env *env, void *data)
{
    (void)data;
    assert_int_equal(env_dir_list(env, "/var/cairn/shard-0", unlink_one, env), 0);
    assert_int_equal(env_dir_sync(env, "/var/cairn/shard-0"), 0);
    env_loop_stop(env);
}

static void a_node_that_lost_its_log_does_not_start(void **state)
{
    struct sim_program program = {.start = empty_log};
    struct cluster cl;
    (void)state;
    form(&cl, 87, 3);
    cluster_kill(&cl, 2, SIM_END_KILL);
    sim_node_start(cluster_node(&cl, 2)->machine, &program);
    cluster_run(&cl, 1000);
    assert_false(sim_node_running(cluster_node(&cl, 2)->machine));
    cluster_start(&cl, 2);
    cluster_run(&cl, 1000);
    assert_int_equal(cluster_node(&cl, 2)->open_error, ERR_DISK_WIPED);
    assert_non_null(strstr(cluster_node(&cl, 2)->text, "shard-0"));
    cluster_close(&cl);
}

struct log_files {
    struct cluster_node *node;
    char paths[8][ENV_PATH_MAX];
    uint32_t n;
};

static void note_file(void *data, const char *name)
{
    struct log_files *files = data;
    if (strncmp(name, "wal-", 4) == 0 && files->n < 8) {
        snprintf(files->paths[files->n++], ENV_PATH_MAX, "/var/cairn/shard-1/%s", name);
    }
}

/* Padding is no fun. */
static void flip_something(struct cluster *cl, const struct log_files *files)
{
    for (uint32_t i = 0; i < 100000; i++) {
        const char *path = files->paths[sim_world_random(cl->world) % files->n];
        uint64_t at = sim_world_random(cl->world) % (256u << 10);
        uint8_t byte = 0;
        if (sim_node_file_peek(files->node->machine, path, at, &byte, 1) == 1 && byte != 0) {
            assert_true(sim_node_flip_bit(files->node->machine, path, at, (unsigned)(sim_world_random(cl->world) % 8)));
            return;
        }
    }
    fail_msg("nothing is written in these files");
}

/* One bit flips in the log of the second shard, anywhere in what was written. The node notices or not (what nobody
 * needs any more may rot), refuses to start where it cannot tell what it lost, and otherwise heals; nobody ever leads
 * twice. */
static void a_flipped_bit_on_disk_is_healed_or_refused(void **state)
{
    uint32_t damaged = 0;
    uint32_t refused = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct cluster cl;
        struct log_files file = {0};
        const struct control *c;
        uint32_t old = 0;
        cluster_init(&cl, 9500 + seed, 3);
        for (uint32_t i = 1; i <= 3; i++) {
            cluster_node(&cl, i)->shards = 2;
            cluster_start(&cl, i);
        }
        assert_true(cluster_run_until(&cl, cluster_settled, NULL, 20000));
        assert_int_equal(cluster_create_topic(&cl, 1, "t", 6, 3), 0);
        assert_true(cluster_run_until(&cl, matches, NULL, 5000));
        cluster_run(&cl, 3000);
        cluster_kill(&cl, 3, SIM_END_POWER);
        file.node = cluster_node(&cl, 3);
        assert_true(sim_node_list(file.node->machine, "/var/cairn/shard-1", note_file, &file));
        assert_true(file.n > 0);
        flip_something(&cl, &file);
        cluster_start(&cl, 3);
        cluster_run(&cl, 500);
        if (file.node->open_error != 0) {
            assert_true(file.node->open_error == ERR_DISK_WIPED || file.node->open_error == ERR_CORRUPT);
            assert_true(file.node->text[0] != '\0');
            refused++;
            cluster_close(&cl);
            continue;
        }
        c = file.node->control;
        assert_non_null(c);
        for (struct local *l = c->reconcile.table; l != NULL; l = l->hh.next) {
            old += l->corrupt;
        }
        damaged += old > 0;
        if (!cluster_run_until(&cl, matches, NULL, 60000)) {
            fail_msg("seed %d: not healed", (int)seed);
        }
        for (struct local *l = c->reconcile.table; l != NULL; l = l->hh.next) {
            assert_int_equal(l->state, LOCAL_OPEN);
        }
        cluster_close(&cl);
    }
    print_message("damaged and healed %u, refused %u of 40\n", damaged, refused);
    assert_true(damaged + refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_are_founded_on_all_replicas_and_deleted),
        cmocka_unit_test(a_node_that_was_away_founds_and_deletes_what_it_missed),
        cmocka_unit_test(deleted_topics_stay_deleted_over_restarts),
        cmocka_unit_test(deaths_while_groups_are_made_and_deleted),
        cmocka_unit_test(leaders_move_away_at_a_death_and_back_after_it),
        cmocka_unit_test(a_planned_stop_hands_everything_over_first),
        cmocka_unit_test(proposals_survive_the_leaders_death),
        cmocka_unit_test(a_refusal_of_the_state_machine_reaches_the_proposer),
        cmocka_unit_test(newer_terms_win_and_lost_hints_come_again),
        cmocka_unit_test(a_corrupt_replica_is_replaced_from_its_peers),
        cmocka_unit_test(a_lagging_read_model_removes_no_successor),
        cmocka_unit_test(nothing_is_founded_from_unconfirmed_metadata),
        cmocka_unit_test(a_node_that_lost_its_log_does_not_start),
        cmocka_unit_test(a_flipped_bit_on_disk_is_healed_or_refused),
    };
    if (getenv("ONLY") != NULL) {
        cmocka_set_test_filter(getenv("ONLY"));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
