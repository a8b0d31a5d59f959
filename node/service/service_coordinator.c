/* Who coordinates a group; and the internal groups, made when somebody first asks. */
#include <string.h>

#include "node/service/service_internal.h"
#include "proto/base/crc32c.h"

#define CREATE_AGAIN_MS 500  /* each attempt is a barrier of the metadata group: an entry */
#define FIND_POLL_MS 10      /* while waiting for a coordinator */
#define FIND_WAIT_MS 1000    /* for a leader of internal groups that exist: clients ask again, and others wait behind them */
#define SERVICE_COORDINATORS 16

/* The internal group of @group, for good: another hash, or another count, would lose every group. */
uint64_t service_internal_group(const struct service *s, const char *group)
{
    const struct metadata_topic *t = metadata_fsm_coordinators(service_metadata(s));
    return t == NULL ? 0 : t->partitions[crc32c(0, group, strlen(group)) % t->n_partitions].group;
}

uint32_t service_coordinator_of(const struct service *s, const char *group)
{
    uint64_t id = service_internal_group(s, group);
    uint32_t node = id == 0 ? 0 : control_leader_of(s->control, id, NULL);
    return node == control_node(s->control) || control_node_alive(s->control, node) ? node : 0;
}

static void answer(struct service_find_coordinator *f, int error)
{
    f->error = error;
    f->done(f);
}

static bool answer_if_known(struct service *s, struct service_find_coordinator *f)
{
    f->node = service_coordinator_of(s, f->group);
    if (f->node == 0) {
        return false;
    }
    f->address = service_address(s, f->ctx, f->node);
    answer(f, 0);
    return true;
}

/* ---- making the internal groups --------------------------------------------------------------------------------------- */

static void created(struct control_proposal *proposal, int error, const struct metadata_reply *reply)
{
    container_of(proposal, struct service, coordinators_proposal)->creating_coordinators = false;
}

/* By a current read model: only who knows that there are none may make them, and only where every node would understand. */
static void create_known(struct control_barrier *barrier, int error)
{
    struct service *s = container_of(barrier, struct service, coordinators_barrier);
    Cairn__Command__MetadataCommand *command;
    if (error != 0 || s->ending || metadata_fsm_coordinators(service_metadata(s)) != NULL ||
        metadata_fsm_version(service_metadata(s)) < 2 ||
        control_place_coordinators(s->control, SERVICE_COORDINATORS, &command) != 0) {
        s->creating_coordinators = false;
        return;
    }
    s->coordinators_proposal.done = created;
    s->coordinators_proposal.timeout_ms = SERVICE_FIND_TIMEOUT_MS;
    control_propose(s->control, command, &s->coordinators_proposal);
    cairn__command__metadata_command__free_unpacked(command, NULL);
}

static void create_coordinators(struct service *s)
{
    uint64_t now_ms = env_now_ms(s->env);
    if (s->creating_coordinators || s->ending || now_ms < s->coordinators_again_ms) {
        return;
    }
    s->creating_coordinators = true;
    s->coordinators_again_ms = now_ms + CREATE_AGAIN_MS;
    s->coordinators_barrier.done = create_known;
    s->coordinators_barrier.timeout_ms = SERVICE_FIND_TIMEOUT_MS;
    control_barrier(s->control, &s->coordinators_barrier);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------------ */

static void poll(struct timer *timer)
{
    struct service *s = container_of(timer, struct service, find_timer);
    uint64_t now_ms = env_now_ms(s->env);
    struct list waiting;
    struct list *pos;
    list_init(&waiting);
    list_splice_back(&waiting, &s->finding);
    while ((pos = list_pop_front(&waiting)) != NULL) {
        struct service_find_coordinator *f = list_entry(pos, struct service_find_coordinator, link);
        if (s->ending || now_ms >= f->deadline_ms) {
            answer(f, s->ending ? ERR_SHUTDOWN : ERR_LEADER_NOT_READY);
        } else if (!answer_if_known(s, f)) {
            list_push_back(&s->finding, &f->link);
        }
    }
    if (!list_empty(&s->finding)) {
        if (metadata_fsm_coordinators(service_metadata(s)) == NULL) {
            create_coordinators(s);
        }
        env_timer_start(s->env, timer, FIND_POLL_MS);
    }
}

void service_find_coordinator(struct service *s, struct service_find_coordinator *f)
{
    bool exist = metadata_fsm_coordinators(service_metadata(s)) != NULL;
    f->service = s;
    f->error = 0;
    f->node = 0;
    f->address = "";
    list_init(&f->link);
    if (f->group[0] == '\0' || strlen(f->group) > GROUP_NAME_MAX) {
        answer(f, ERR_INVALID_GROUP);
        return;
    }
    if (s->ending) {
        answer(f, ERR_SHUTDOWN);
        return;
    }
    if (answer_if_known(s, f)) {
        return;
    }
    f->deadline_ms = env_now_ms(s->env) + (exist ? FIND_WAIT_MS : SERVICE_FIND_TIMEOUT_MS);
    list_push_back(&s->finding, &f->link);
    if (!exist) {
        create_coordinators(s);
    }
    if (!timer_active(&s->find_timer)) {
        env_timer_start(s->env, &s->find_timer, FIND_POLL_MS);
    }
}

void service_init_groups(struct service *s)
{
    list_init(&s->finding);
    timer_init(&s->find_timer, poll);
}

void service_end_groups(struct service *s)
{
    env_timer_stop(s->env, &s->find_timer);
    poll(&s->find_timer); /* the service is ending: answers all */
}

void service_abandon_groups(struct service *s)
{
    env_timer_stop(s->env, &s->find_timer);
    list_init(&s->finding);
}
