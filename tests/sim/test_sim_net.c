/* The network carries bytes as TCP does: in order, in pieces, late, or not at all, and tells as little. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define ADDRESS "n1:7000"
#define BIG (3 * 1024 * 1024)

/* One program a node: the server echoes, or swallows; the client sends and counts. */
struct peer {
    struct env *env;
    struct env_listener *listener;
    struct env_conn *conn;
    struct env_write write;
    struct iovec iov;
    uint8_t *out;    /* what is sent */
    size_t out_size;
    uint8_t *in;     /* what came */
    size_t in_size;
    size_t in_capacity;
    size_t echoed;
    bool echo;
    bool writing;
    bool no_read;
    unsigned connects;
    int connect_status;
    unsigned writes_done;
    int write_status;
    unsigned ends;
    ssize_t end; /* how reading ended */
    unsigned closed;
    unsigned reads;
};

struct net {
    struct sim_world *world;
    struct sim_node *server_node;
    struct sim_node *client_node;
    struct peer server;
    struct peer client;
};

static void send_bytes(struct peer *p, const uint8_t *bytes, size_t size);

static void on_written(struct env_write *write, int status)
{
    struct peer *p = container_of(write, struct peer, write);
    p->writing = false;
    p->writes_done++;
    p->write_status = status;
    if (p->echo && status == 0 && p->echoed < p->in_size) {
        size_t at = p->echoed;
        p->echoed = p->in_size;
        send_bytes(p, p->in + at, p->in_size - at);
    }
}

static void send_bytes(struct peer *p, const uint8_t *bytes, size_t size)
{
    assert_false(p->writing);
    p->writing = true;
    p->write.done = on_written;
    p->iov.iov_base = (void *)(uintptr_t)bytes;
    p->iov.iov_len = size;
    env_conn_write(p->env, p->conn, &p->write, &p->iov, 1);
}

static void on_alloc(struct env_conn *conn, void *data, uint8_t **base, size_t *len)
{
    struct peer *p = data;
    assert_ptr_equal(conn, p->conn);
    *base = p->in + p->in_size;
    *len = p->in_capacity - p->in_size < 64 * 1024 ? p->in_capacity - p->in_size : 64 * 1024;
}

static void on_read(struct env_conn *conn, void *data, ssize_t n)
{
    struct peer *p = data;
    p->reads++;
    if (n <= 0) {
        p->ends++;
        p->end = n;
        return;
    }
    p->in_size += (size_t)n;
    if (p->echo && !p->writing) {
        size_t at = p->echoed;
        p->echoed = p->in_size;
        send_bytes(p, p->in + at, p->in_size - at);
    }
}

static const struct env_conn_callbacks callbacks = {on_alloc, on_read};

static void on_accept(struct env_listener *listener, void *data, struct env_conn *conn)
{
    struct peer *p = data;
    p->connects++;
    p->conn = conn;
    p->in_size = 0;
    p->echoed = 0;
    p->writing = false;
    if (!p->no_read) {
        env_conn_read_start(p->env, conn, &callbacks, p);
    }
}

static void on_connect(struct env *env, void *data, int status, struct env_conn *conn)
{
    struct peer *p = data;
    p->connects++;
    p->connect_status = status;
    p->conn = conn;
    if (status == 0) {
        assert_string_equal(env_conn_peer(env, conn), ADDRESS);
        env_conn_read_start(env, conn, &callbacks, p);
        if (p->out_size > 0) {
            send_bytes(p, p->out, p->out_size);
        }
    }
}

static void start_server(struct env *env, void *data)
{
    struct peer *p = data;
    char errmsg[ERRMSG_SIZE];
    struct env_listener *second;
    p->env = env;
    assert_int_equal(env_listen(env, ADDRESS, on_accept, p, &p->listener, errmsg), 0);
    assert_string_equal(env_listener_address(env, p->listener), ADDRESS);
    assert_int_equal(env_listen(env, ADDRESS, on_accept, p, &second, errmsg), ERR_REFUSED);
    assert_int_equal(env_listen(env, "n2:1", on_accept, p, &second, errmsg), ERR_INVALID);
}

static void start_client(struct env *env, void *data)
{
    struct peer *p = data;
    p->env = env;
    assert_int_equal(env_connect(env, ADDRESS, on_connect, p), 0);
}

static void peer_init(struct peer *p, size_t out_size, bool echo)
{
    memset(p, 0, sizeof(*p));
    p->in_capacity = BIG + 1;
    p->in = malloc(p->in_capacity);
    p->out_size = out_size;
    p->out = calloc(1, out_size + 16);
    p->echo = echo;
    for (size_t i = 0; i < out_size; i++) {
        p->out[i] = (uint8_t)(i * 7 + i / 251);
    }
}

static void boot(struct sim_node *node, void (*start)(struct env *, void *), struct peer *p)
{
    struct sim_program program = {.start = start, .data = p};
    sim_node_start(node, &program);
}

static void net_init(struct net *net, uint64_t seed, size_t out_size, bool echo)
{
    net->world = sim_world_new(seed, NULL);
    net->server_node = sim_node_new(net->world, "n1");
    net->client_node = sim_node_new(net->world, "n2");
    peer_init(&net->server, 0, echo);
    peer_init(&net->client, out_size, false);
    boot(net->server_node, start_server, &net->server);
    sim_world_run_for(net->world, SIM_MS);
    boot(net->client_node, start_client, &net->client);
}

static void net_close(struct net *net)
{
    sim_world_free(net->world);
    free(net->server.in);
    free(net->server.out);
    free(net->client.in);
    free(net->client.out);
}

static bool all_echoed(void *data)
{
    const struct net *net = data;
    return net->client.in_size == net->client.out_size;
}

static bool client_ended(void *data)
{
    const struct net *net = data;
    return net->client.ends > 0;
}

static void ping_pong(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct net net;
        net_init(&net, seed, 1 + seed * 37, true);
        assert_true(sim_world_run_until_true(net.world, all_echoed, &net, SIM_S));
        assert_memory_equal(net.client.in, net.client.out, net.client.out_size);
        assert_int_equal(net.client.writes_done, 1);
        assert_int_equal(net.client.write_status, 0);
        net_close(&net);
    }
}

static void megabytes_come_whole_and_in_pieces(void **state)
{
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct net net;
        net_init(&net, seed, BIG, true);
        assert_true(sim_world_run_until_true(net.world, all_echoed, &net, 10 * SIM_S));
        assert_memory_equal(net.client.in, net.client.out, BIG);
        assert_true(net.client.reads > 5);
        net_close(&net);
    }
}

static void a_reader_that_pauses_stops_the_writer(void **state)
{
    struct net net;
    net_init(&net, 3, BIG, false);
    net.server.no_read = true;
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.client.connects, 1);
    assert_int_equal(net.client.writes_done, 0); /* the buffers are full */
    struct env *env = sim_node_env(net.server_node);
    env_conn_read_start(env, net.server.conn, &callbacks, &net.server);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.client.writes_done, 1);
    assert_int_equal(net.server.in_size, BIG);
    assert_memory_equal(net.server.in, net.client.out, BIG);
    net_close(&net);
}

static void partition_stalls_and_heals(void **state)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct net net;
        net_init(&net, seed, 0, true);
        sim_world_run_for(net.world, 100 * SIM_MS);
        assert_int_equal(net.client.connects, 1);
        if (seed & 1) {
            sim_net_partition(net.world, 1);
        } else {
            sim_net_block(net.world, net.client_node, net.server_node, true);
        }
        net.client.out_size = 100;
        send_bytes(&net.client, net.server.in, 100);
        sim_world_run_for(net.world, 5 * SIM_S);
        assert_int_equal(net.server.in_size, 0);
        assert_int_equal(net.client.ends, 0);
        sim_net_heal(net.world);
        sim_world_run_for(net.world, SIM_S);
        assert_int_equal(net.server.in_size, 100);
        assert_int_equal(net.client.in_size, 100);
        net_close(&net);
    }
}

static void one_way_block_lets_the_other_way_through(void **state)
{
    struct net net;
    net_init(&net, 4, 0, true);
    sim_world_run_for(net.world, 100 * SIM_MS);
    sim_net_block(net.world, net.server_node, net.client_node, true);
    net.client.out_size = 100;
    send_bytes(&net.client, net.server.in, 100);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.server.in_size, 100);
    assert_int_equal(net.client.in_size, 0);
    sim_net_block(net.world, net.server_node, net.client_node, false);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.client.in_size, 100);
    net_close(&net);
}

static void long_partition_times_the_connection_out(void **state)
{
    struct net net;
    net_init(&net, 4, 0, true);
    sim_world_run_for(net.world, 100 * SIM_MS);
    sim_net_partition(net.world, 1);
    send_bytes(&net.client, net.server.in, 100);
    sim_world_run_for(net.world, 60 * SIM_S);
    assert_int_equal(net.client.ends, 1);
    assert_int_equal(net.client.end, -ERR_TIMEOUT);
    assert_int_equal(net.server.ends, 0); /* half-open: it never hears of it */
    struct peer second;
    peer_init(&second, 0, false);
    net.client.env = sim_node_env(net.client_node);
    second.env = net.client.env;
    assert_int_equal(env_connect(second.env, ADDRESS, on_connect, &second), 0);
    sim_world_run_for(net.world, 4 * SIM_S);
    assert_int_equal(second.connects, 0);
    sim_world_run_for(net.world, 2 * SIM_S);
    assert_int_equal(second.connects, 1);
    assert_int_equal(second.connect_status, ERR_TIMEOUT);
    free(second.in);
    free(second.out);
    net_close(&net);
}

static void nobody_listens_is_refused(void **state)
{
    struct net net;
    net_init(&net, 4, 0, true);
    sim_node_kill(net.server_node, SIM_END_KILL);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.client.connects, 1);
    assert_int_equal(net.client.connect_status, ERR_REFUSED);
    assert_null(net.client.conn);
    boot(net.server_node, start_server, &net.server); /* reconnect works */
    sim_world_run_for(net.world, SIM_MS);
    net.client.out_size = 10;
    assert_int_equal(env_connect(net.client.env, ADDRESS, on_connect, &net.client), 0);
    assert_true(sim_world_run_until_true(net.world, all_echoed, &net, SIM_S));
    net_close(&net);
}

static void killed_program_ends_its_connections(void **state)
{
    unsigned eof = 0, reset = 0, cut = 0, whole = 0;

    for (uint64_t seed = 0; seed < 60; seed++) {
        struct net net;
        net_init(&net, seed, 0, false);
        sim_world_run_for(net.world, 100 * SIM_MS);
        send_bytes(&net.server, net.client.in, 50000);
        sim_world_run_for(net.world, seed * 10 * SIM_US);
        sim_node_kill(net.server_node, SIM_END_KILL);
        assert_true(sim_world_run_until_true(net.world, client_ended, &net, SIM_S));
        eof += net.client.end == 0;
        reset += net.client.end == -ERR_CLOSED;
        whole += net.client.in_size == 50000;
        cut += net.client.in_size < 50000;
        assert_true(net.client.in_size <= 50000);
        net_close(&net);
    }
    assert_true(eof > 0);
    assert_true(reset > 0);
    assert_true(cut > 0);
    assert_true(whole > 0);
}

static void power_cut_leaves_the_peer_half_open_until_it_speaks(void **state)
{
    struct net net;
    net_init(&net, 8, 0, false);
    sim_world_run_for(net.world, 100 * SIM_MS);
    sim_node_kill(net.server_node, SIM_END_POWER);
    sim_world_run_for(net.world, 100 * SIM_S);
    assert_int_equal(net.client.ends, 0);
    send_bytes(&net.client, net.server.in, 10);
    sim_world_run_for(net.world, 5 * SIM_S);
    assert_int_equal(net.client.ends, 0);
    boot(net.server_node, start_server, &net.server);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.client.ends, 1);
    assert_int_equal(net.client.end, -ERR_CLOSED);
    net_close(&net);
}

/* The buffers are full and nothing is under way: only asking for room tells. */
static void a_writer_that_waits_for_room_learns_that_nobody_reads(void **state)
{
    for (unsigned how = 0; how < 3; how++) {
        struct net net;
        net_init(&net, how, BIG, false);
        net.server.no_read = true;
        sim_world_run_for(net.world, SIM_S);
        assert_int_equal(net.client.writes_done, 0);
        if (how == 0) {
            sim_net_half_open(net.world, net.server_node, net.client_node, 0);
        } else if (how == 1) {
            sim_node_kill(net.server_node, SIM_END_POWER);
            sim_world_run_for(net.world, SIM_S);
            boot(net.server_node, start_server, &net.server);
        } else { /* the reset never gets through */
            sim_net_block(net.world, net.server_node, net.client_node, true);
            env_conn_close(net.server.env, net.server.conn, NULL, NULL);
            sim_world_run_for(net.world, SIM_S);
            assert_int_equal(net.client.ends, 0);
            sim_world_run_for(net.world, 60 * SIM_S);
            sim_net_heal(net.world);
        }
        assert_true(sim_world_run_until_true(net.world, client_ended, &net, SIM_S));
        assert_int_equal(net.client.end, how == 2 ? -ERR_TIMEOUT : -ERR_CLOSED);
        assert_int_equal(net.client.writes_done, 1);
        assert_int_equal(net.client.write_status, -net.client.end);
        net_close(&net);
    }
}

static void paused_program_s_kernel_goes_on(void **state)
{
    struct net net;
    net_init(&net, 8, 100, true);
    sim_node_pause(net.server_node);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.client.connects, 1);
    assert_int_equal(net.client.connect_status, 0);
    assert_int_equal(net.client.writes_done, 1);
    assert_int_equal(net.client.in_size, 0);
    sim_node_resume(net.server_node);
    assert_true(sim_world_run_until_true(net.world, all_echoed, &net, SIM_S));
    net_close(&net);
}

static void on_closed(void *data)
{
    struct peer *p = data;
    p->closed++;
    assert_int_equal(p->writes_done, 1); /* before this */
}

static void close_cancels_writes_then_tells(void **state)
{
    struct net net;
    net_init(&net, 8, BIG, false);
    net.server.no_read = true;
    sim_world_run_for(net.world, 100 * SIM_MS);
    assert_int_equal(net.client.writes_done, 0);
    env_conn_close(net.client.env, net.client.conn, on_closed, &net.client);
    assert_int_equal(net.client.closed, 0);
    assert_int_equal(net.client.writes_done, 0);
    sim_world_run_for(net.world, 100 * SIM_MS);
    assert_int_equal(net.client.write_status, ERR_CLOSED);
    assert_int_equal(net.client.closed, 1);
    env_conn_read_start(net.server.env, net.server.conn, &callbacks, &net.server);
    sim_world_run_for(net.world, SIM_S);
    assert_int_equal(net.server.ends, 1);
    assert_int_equal(net.server.end, 0);
    assert_true(net.server.in_size > 0 && net.server.in_size < BIG);
    assert_memory_equal(net.server.in, net.client.out, net.server.in_size);
    net_close(&net);
}

static void resets_come_in_the_middle_of_bytes(void **state)
{
    unsigned resets = 0, middle = 0;

    for (uint64_t seed = 0; seed < 30; seed++) {
        struct net net;
        net_init(&net, seed, BIG, true);
        sim_world_knobs(net.world)->net.reset_ppm = 50000;
        sim_world_run_for(net.world, 3 * SIM_S);
        resets += net.client.ends > 0 && net.client.end == -ERR_CLOSED;
        middle += net.client.ends > 0 && net.client.in_size > 0 && net.client.in_size < BIG;
        assert_memory_equal(net.server.in, net.client.out, net.server.in_size);
        net_close(&net);
    }
    assert_true(resets > 0);
    assert_true(middle > 0);
}

static uint64_t hash_of(uint64_t seed)
{
    struct net net;
    net_init(&net, seed, 100000, true);
    sim_world_run_for(net.world, SIM_S);
    uint64_t hash = sim_world_hash(net.world);
    net_close(&net);
    return hash;
}

static void one_seed_is_one_run(void **state)
{
    assert_true(hash_of(11) == hash_of(11));
    assert_true(hash_of(11) != hash_of(12));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ping_pong),
        cmocka_unit_test(megabytes_come_whole_and_in_pieces),
        cmocka_unit_test(a_reader_that_pauses_stops_the_writer),
        cmocka_unit_test(partition_stalls_and_heals),
        cmocka_unit_test(one_way_block_lets_the_other_way_through),
        cmocka_unit_test(long_partition_times_the_connection_out),
        cmocka_unit_test(nobody_listens_is_refused),
        cmocka_unit_test(killed_program_ends_its_connections),
        cmocka_unit_test(power_cut_leaves_the_peer_half_open_until_it_speaks),
        cmocka_unit_test(a_writer_that_waits_for_room_learns_that_nobody_reads),
        cmocka_unit_test(paused_program_s_kernel_goes_on),
        cmocka_unit_test(close_cancels_writes_then_tells),
        cmocka_unit_test(resets_come_in_the_middle_of_bytes),
        cmocka_unit_test(one_seed_is_one_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
