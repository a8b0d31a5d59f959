/* Calls to the metadata's leader: what their answers promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/control/call.h"
#include "tests/unit/node/control_cluster.h"

struct asked {
    struct control_barrier barrier;
    bool done;
    int error;
};

static void asked_done(struct control_barrier *barrier, int error)
{
    struct asked *a = container_of(barrier, struct asked, barrier);
    a->done = true;
    a->error = error;
}

static void ask(struct env *env, void *data)
{
    struct cluster_node *n = ((void **)data)[0];
    control_barrier(n->control, ((void **)data)[1]);
}

static struct control_call *call_sent(const struct control *c)
{
    list_for_each (pos, &c->calls.active) {
        struct control_call *call = list_entry(pos, struct control_call, link);
        if (call->state == CALL_SENT) {
            return call;
        }
    }
    return NULL;
}

static bool is_asked(struct cluster *cl, void *data)
{
    return call_sent(((struct cluster_node *)data)->control) != NULL;
}

static bool is_answered(struct cluster *cl, void *data)
{
    return ((struct asked *)data)->done;
}

/* The leader has answered where its log stands; the local read model does not get there in time. */
static void a_barrier_that_the_read_model_does_not_reach_is_no_barrier(void **state)
{
    struct cluster cl;
    struct cluster_node *n;
    struct asked a = {.barrier = {.done = asked_done, .timeout_ms = 300}};
    Cairn__Cluster__ControlCall m = CAIRN__CLUSTER__CONTROL_CALL__INIT;
    Cairn__Cluster__ControlResponse response = CAIRN__CLUSTER__CONTROL_RESPONSE__INIT;
    uint8_t bytes[64];
    (void)state;
    cluster_init(&cl, 73, 3);
    for (uint32_t i = 1; i <= 3; i++) {
        cluster_start(&cl, i);
    }
    assert_true(cluster_run_until(&cl, cluster_settled, NULL, 20000));
    n = cluster_node(&cl, cluster_metadata_leader(&cl)->id % 3 + 1);
    assert_true(sim_node_call(n->machine, ask, (void *[]){n, &a.barrier}));
    assert_true(cluster_run_until(&cl, is_asked, n, 100));
    m.kind_case = CAIRN__CLUSTER__CONTROL_CALL__KIND_RESPONSE;
    m.response = &response;
    response.id = call_sent(n->control)->id;
    response.index = metadata_fsm_index(n->control->metadata.fsm) + 1000;
    control_calls_receive(n->control, call_sent(n->control)->target, CALL_METADATA_PROPOSE, bytes,
                          cairn__cluster__control_call__pack(&m, bytes));
    assert_null(call_sent(n->control));
    assert_false(a.done);
    assert_true(cluster_run_until(&cl, is_answered, &a, 2000));
    assert_int_equal(a.error, ERR_TIMEOUT);
    cluster_close(&cl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_barrier_that_the_read_model_does_not_reach_is_no_barrier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
