/* What administrators and returning readers ask of partitions: where leader epochs end, to forget a partition's
 * beginning, and to hand leadership on. Apart from service.h because few ask.
 *
 * Hub thread. Callbacks may run inside the call that starts the verb. */
#ifndef CAIRN_SERVICE_PARTITION_H
#define CAIRN_SERVICE_PARTITION_H

#include "node/service/service.h"

/* Many partitions at a time; each part's result stands in its op. Allocate with the _new(), free() at or after @done.
 */
struct service_epoch_ends;
struct service_epoch_ends_part {
    struct partition_epoch_end op; /* op.asked is set by the caller */
    struct uuid topic_id;
    uint32_t partition;
    struct service_epoch_ends *request;
};
struct service_epoch_ends {
    struct service *service;
    const struct request_context *ctx;
    void (*done)(struct service_epoch_ends *e);
    void *data;
    uint32_t n;
    uint32_t pending;
    struct service_epoch_ends_part parts[];
};
struct service_epoch_ends *service_epoch_ends_new(uint32_t parts) MUST_USE;
void service_epoch_ends(struct service *s, struct service_epoch_ends *e);

/* ERR_VERSION where a node of the cluster is too old to know the command. */
struct service_trims;
struct service_trims_part {
    struct partition_trim op; /* op.offset is set by the caller */
    struct uuid topic_id;
    uint32_t partition;
    struct service_trims *request;
};
struct service_trims {
    struct service *service;
    const struct request_context *ctx;
    void (*done)(struct service_trims *t);
    void *data;
    uint32_t n;
    uint32_t pending;
    struct service_trims_part parts[];
};
struct service_trims *service_trims_new(uint32_t parts) MUST_USE;
void service_trims(struct service *s, struct service_trims *t);

/* Replicas of this node (or, with @leader_only, those that lead here), for people. */
struct service_describes;
struct service_describes_part {
    struct partition_describe op; /* op.with_producers may be set by the caller */
    struct uuid topic_id;
    uint32_t partition;
    struct service_describes *request;
};
struct service_describes {
    struct service *service;
    bool leader_only;
    void (*done)(struct service_describes *d); /* then the caller's, until service_describes_free() */
    void *data;
    uint32_t n;
    uint32_t pending;
    struct service_describes_part parts[];
};
struct service_describes *service_describes_new(uint32_t parts) MUST_USE;
void service_describes(struct service *s, struct service_describes *d);
void service_describes_free(struct service_describes *d); /* NULL is allowed */

/* Leaders back to where they are preferred. Those that lead here hand over at once, the others' nodes do by themselves
 * before long. Part errors: ERR_EXISTS it leads already, ERR_LEADER_NOT_READY the preferred node is not alive,
 * ERR_TIMEOUT not yet, ERR_UNKNOWN_TOPIC. */
struct service_elections;
struct service_elections_part {
    struct partition_transfer op;
    struct uuid topic_id;
    uint32_t partition;
    int error;
    bool waiting;
    struct service_elections *request;
};
struct service_elections {
    struct service *service;
    uint32_t timeout_ms;
    void (*done)(struct service_elections *e); /* then the caller's: free() it */
    void *data;
    uint32_t n;
    uint32_t pending; /* transfers under way, and one while waiting */
    uint64_t deadline_ms;
    struct timer timer;
    struct list link; /* the service's */
    struct service_elections_part parts[];
};
struct service_elections *service_elections_new(uint32_t parts) MUST_USE;
void service_elections(struct service *s, struct service_elections *e);

#endif
