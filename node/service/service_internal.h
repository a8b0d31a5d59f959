/* Inside of node/service, shared by its files. */
#ifndef CAIRN_SERVICE_INTERNAL_H
#define CAIRN_SERVICE_INTERNAL_H

#include "node/service/service.h"
#include "node/service/service_group.h"

#define SERVICE_SWEEP_MS 250 /* how often produce requests are looked at for their time limit */

struct service {
    struct env *env;
    struct control *control;
    const char *version;
    uint64_t started_ms;
    struct list producing; /* struct service_produce, unanswered */
    struct list late;      /* struct service_produce, answered as unknown, and not back from the shards */
    struct list electing;  /* struct service_elections */
    struct list creating;  /* struct service_topic: for the leaders of what they made */
    bool ending;
    uint32_t fetch_rotor;
    struct timer sweep;
    int64_t producer_next; /* [next, end): ids left of the block */
    int64_t producer_end;
    bool allocating;
    struct control_proposal allocation;
    struct list initializing; /* struct service_init_producer */
    struct list finding;      /* struct service_find_coordinator: for a leader */
    struct timer find_timer;
    bool creating_coordinators; /* one of the next two is under way */
    uint64_t coordinators_again_ms;
    struct control_barrier coordinators_barrier;
    struct control_proposal coordinators_proposal;
};

/* The group of a partition. 0, or ERR_UNKNOWN_TOPIC (retriable: the read model may lag). */
int service_find_group(const struct service *s, const struct uuid *topic_id, uint32_t partition, uint64_t *group) MUST_USE;
/* The leader that this node has heard of, where the local replica could not say. */
void service_complete_where(const struct service *s, uint64_t group, struct partition_where *where);
/* A topic's verb is through. */
void service_topic_finish(struct service_topic *t, int error, const char *text);
uint32_t service_topic_timeout_ms(const struct service_topic *t);
/* Done when every partition has a leader that is known here, or at t->deadline_ms. Init first. */
void service_topic_wait_init(struct service_topic *t);
void service_topic_await_leaders(struct service_topic *t);
int service_topic_check_configs(struct service_topic *t);
/* @placements of partitions as the caller wants them: t->nodes. */
int service_topic_place(const struct service_topic *t, Cairn__Command__PartitionPlacement **placements, size_t n);
void service_sweep(struct timer *timer);
void service_end_produce(struct service *s);
void service_end_topics(struct service *s);
void service_end_elections(struct service *s);
void service_abandon_elections(struct service *s);
void service_free_produce(struct service *s);
/* The internal group that @group belongs to; 0: there are none yet. */
uint64_t service_internal_group(const struct service *s, const char *group);
void service_init_groups(struct service *s);
void service_end_groups(struct service *s);
void service_abandon_groups(struct service *s);

#endif
