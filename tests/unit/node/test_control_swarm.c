/* Everything at once: three seeds form and two more nodes join under faults drawn from a seed, while topics come and
 * go; then all heals, and everything must have come to the same end on every node.
 *
 *   test_control_swarm [first seed] [runs] */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/swarm.h"
#include "tests/unit/node/control_cluster.h"

#define NODES 5
#define FAULTS_S 25
#define HEAL_MS 120000

static void restart(struct sim_node *machine, void *data)
{
    struct cluster *cl = data;
    cluster_start(cl, (uint32_t)sim_node_id(machine) + 1);
}

/* Nobody is refused, nobody fails to open: the disks are sound, only their power is not. */
static const char *wrong(struct cluster *cl)
{
    for (uint32_t i = 0; i < cl->n; i++) {
        const struct cluster_node *n = &cl->nodes[i];
        if (n->open_error != 0 || n->refusal != 0) {
            return n->text[0] != '\0' ? n->text : err_name(n->open_error);
        }
    }
    return cl->n_working > 1 ? "two clusters have worked" : NULL;
}

static bool replicas_match(const struct control *c)
{
    uint32_t expected = 0;
    list_for_each (pos, metadata_fsm_topics(c->metadata.fsm)) {
        const struct metadata_topic *t = list_entry(pos, struct metadata_topic, link);
        for (uint32_t p = 0; p < t->n_partitions; p++) {
            const struct metadata_replica *mine = reconcile_own_replica(c, &t->partitions[p]);
            const struct local *l = reconcile_find(c, t->partitions[p].group);
            if (control_leader_of(c, t->partitions[p].group, NULL) == 0) {
                return false;
            }
            if (mine != NULL) {
                expected++;
                if (l == NULL || l->state != LOCAL_OPEN || l->replica != mine->replica) {
                    return false;
                }
            }
        }
    }
    return HASH_COUNT(c->reconcile.table) == expected && c->reconcile.under_way == 0;
}

static bool converged(struct cluster *cl, void *data)
{
    (void)data;
    for (uint32_t i = 0; i < cl->n; i++) {
        const struct control *c = cl->nodes[i].control;
        if (c == NULL || !c->metadata.confirmed || !replicas_match(c)) {
            return false;
        }
    }
    return cluster_settled(cl, NULL) && cluster_metadata_voters(cl) == NODES;
}

struct work {
    struct cluster *cl;
    uint32_t round;
    uint32_t created;
    uint32_t deleted;
    struct list requests; /* unanswered: a node that dies answers nobody */
};

struct request {
    struct control_proposal proposal;
    struct list link;
    struct work *work;
    bool deletes;
};

static void request_done(struct control_proposal *p, int error, const struct metadata_reply *reply)
{
    struct request *r = container_of(p, struct request, proposal);
    (void)reply;
    r->work->created += error == 0 && !r->deletes;
    r->work->deleted += error == 0 && r->deletes;
    list_remove(&r->link);
    free(r);
}

static void ask(struct env *env, void *data)
{
    struct work *w = data;
    struct cluster_node *node = NULL;
    struct request *r = calloc(1, sizeof *r);
    const struct metadata_fsm *m;
    char text[ERRMSG_SIZE];
    char name[32];

    for (uint32_t i = 0; i < w->cl->n; i++) {
        if (w->cl->nodes[i].control != NULL && w->cl->nodes[i].control->env == env) {
            node = &w->cl->nodes[i];
        }
    }
    assert(r != NULL);
    r->work = w;
    list_init(&r->link);
    r->proposal.done = request_done;
    r->proposal.timeout_ms = 3000;
    m = node == NULL ? NULL : control_metadata(node->control);
    if (m == NULL || !control_formed(node->control)) {
        free(r);
        return;
    }
    if (w->round % 3 == 2 && metadata_fsm_topic_count(m) > 0) {
        Cairn__Command__MetadataCommand command = CAIRN__COMMAND__METADATA_COMMAND__INIT;
        Cairn__Command__DeleteTopic body = CAIRN__COMMAND__DELETE_TOPIC__INIT;
        struct uuid id = list_entry(metadata_fsm_topics(m)->next, struct metadata_topic, link)->id;
        body.topic_id.data = id.bytes;
        body.topic_id.len = sizeof id.bytes;
        command.kind_case = CAIRN__COMMAND__METADATA_COMMAND__KIND_DELETE_TOPIC;
        command.delete_topic = &body;
        r->deletes = true;
        list_push_back(&w->requests, &r->link);
        control_propose(node->control, &command, &r->proposal);
        return;
    }
    snprintf(name, sizeof name, "t%u", w->round);
    Cairn__Command__MetadataCommand *command;
    if (control_place_topic(node->control, name, 3, 3, &command, text) != 0) {
        free(r);
        return;
    }
    list_push_back(&w->requests, &r->link);
    control_propose(node->control, command, &r->proposal);
    cairn__command__metadata_command__free_unpacked(command, NULL);
}

static int run(uint64_t seed)
{
    struct sim_swarm_knobs knobs;
    struct sim_swarm *swarm;
    struct cluster cl;
    struct work work = {.cl = &cl};
    struct list *unanswered;
    const char *problem;
    char faults[256];
    int rv = 1;

    list_init(&work.requests);
    cluster_init(&cl, seed, NODES);
    cluster_seeds(&cl, 3);
    for (uint32_t i = 1; i <= NODES; i++) {
        cluster_node(&cl, i)->shards = 1 + (uint32_t)(seed % 2);
        cluster_start(&cl, i);
    }
    sim_swarm_draw(&knobs, seed, NODES, 0, FAULTS_S * SIM_S);
    sim_swarm_describe(&knobs, faults, sizeof faults);
    swarm = sim_swarm_new(cl.world, &knobs, seed, restart, &cl);
    while (!sim_swarm_healed(swarm)) {
        struct cluster_node *node = cluster_node(&cl, 1 + (uint32_t)(sim_world_random(cl.world) % NODES));
        if (sim_node_running(node->machine) && !sim_node_paused(node->machine) && node->control != NULL) {
            (void)sim_node_call(node->machine, ask, &work);
            work.round++;
        }
        cluster_run(&cl, 200 + sim_world_random(cl.world) % 800);
    }
    problem = wrong(&cl);
    if (problem == NULL && !cluster_run_until(&cl, converged, NULL, HEAL_MS)) {
        problem = "no convergence";
    }
    if (problem == NULL) {
        problem = wrong(&cl);
    }
    if (problem == NULL) {
        rv = 0;
    } else {
        printf("seed %llu: %s\n  faults: %s\n", (unsigned long long)seed, problem, faults);
        for (uint32_t i = 0; i < NODES; i++) {
            const struct control *c = cl.nodes[i].control;
            if (c != NULL) {
                printf(
                    "  node %u: formed %d replica %llu confirmed %d ready %d index %llu digest %x replicas_match %d\n",
                    i + 1, control_formed(c), (unsigned long long)c->id.metadata_replica, c->metadata.confirmed,
                    c->metadata.ready, (unsigned long long)metadata_fsm_index(c->metadata.fsm),
                    metadata_fsm_digest(c->metadata.fsm), replicas_match(c));
            }
        }
    }
    if (getenv("VERBOSE") != NULL) {
        printf("seed %llu: asked %u created %u deleted %u voters %u at %llu ms\n", (unsigned long long)seed, work.round,
               work.created, work.deleted, cluster_metadata_voters(&cl),
               (unsigned long long)(sim_world_now(cl.world) / SIM_MS));
    }
    cluster_close(&cl);
    sim_swarm_free(swarm);
    while ((unanswered = list_pop_front(&work.requests)) != NULL) {
        free(list_entry(unanswered, struct request, link));
    }
    return rv;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t runs = argc > 2 ? strtoull(argv[2], NULL, 10) : 30;
    uint64_t bad = 0;
    for (uint64_t seed = first; seed < first + runs; seed++) {
        bad += (uint64_t)run(seed);
    }
    printf("%llu runs, %llu bad\n", (unsigned long long)runs, (unsigned long long)bad);
    return bad == 0 ? 0 : 1;
}
