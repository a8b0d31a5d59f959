/* What the harness does to ways between machines: cut, partition, slow, narrow, break, reset. */
#include <string.h>

#include "tests/sim/net.h"
#include "tests/sim/world.h"

void sim_net_block(struct sim_world *world, struct sim_node *from, struct sim_node *to, bool blocked)
{
    world->blocked[from->id][to->id] = blocked;
    sim_hash_add(world, from->id ^ (to->id << 8) ^ ((uint64_t)blocked << 16));
    if (!blocked) {
        sim_net_unstall(world);
    }
}

void sim_net_partition(struct sim_world *world, uint64_t side_mask)
{
    for (size_t i = 0; i < world->n_nodes; i++) {
        for (size_t j = 0; j < world->n_nodes; j++) {
            world->blocked[i][j] = ((side_mask >> i) & 1) != ((side_mask >> j) & 1);
        }
    }
    sim_hash_add(world, side_mask);
    sim_net_unstall(world);
}

void sim_net_partition_one_way(struct sim_world *world, uint64_t side_mask)
{
    for (size_t i = 0; i < world->n_nodes; i++) {
        for (size_t j = 0; j < world->n_nodes; j++) {
            world->blocked[i][j] = ((side_mask >> i) & 1) != 0 && ((side_mask >> j) & 1) == 0;
        }
    }
    sim_hash_add(world, ~side_mask);
    sim_net_unstall(world);
}

void sim_net_heal(struct sim_world *world)
{
    memset(world->blocked, 0, sizeof(world->blocked));
    sim_net_unstall(world);
}

void sim_net_slow(struct sim_world *world, struct sim_node *from, struct sim_node *to, uint64_t extra_ns)
{
    world->extra_ns[from->id][to->id] = extra_ns;
}

void sim_net_narrow(struct sim_world *world, struct sim_node *from, struct sim_node *to, uint64_t bytes_per_s)
{
    uint64_t before = world->narrow_bytes_per_s[from->id][to->id];

    world->narrow_bytes_per_s[from->id][to->id] = bytes_per_s;
    if (before == 0 || (bytes_per_s != 0 && bytes_per_s <= before)) {
        return;
    }
    list_for_each (l, &world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        for (int i = 0; i < 2; i++) {
            struct sim_point *point = &pair->points[i];
            if (point->node == from && point->other->node == to && point->out.n_segments > 0) {
                sim_stream_hurry(point);
            }
        }
    }
}

void sim_net_half_open(struct sim_world *world, struct sim_node *a, struct sim_node *b, uint64_t late_ns)
{
    list_for_each (l, &world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        for (int i = 0; i < 2; i++) {
            struct sim_point *point = &pair->points[i];
            if (point->node == a && point->other->node == b && point->error == 0 && !point->gone) {
                sim_stream_delay(point, late_ns);
                sim_point_break(point, ERR_CLOSED);
                world->counts.net_half_open++;
            }
        }
    }
}

void sim_net_reset(struct sim_world *world, struct sim_node *a, struct sim_node *b)
{
    list_for_each (l, &world->pairs) {
        struct sim_pair *pair = list_entry(l, struct sim_pair, link);
        struct sim_node *x = pair->points[0].node;
        struct sim_node *y = pair->points[1].node;
        if ((x == a && y == b) || (x == b && y == a)) {
            sim_point_fail(&pair->points[0], ERR_CLOSED);
            sim_point_fail(&pair->points[1], ERR_CLOSED);
        }
    }
}
