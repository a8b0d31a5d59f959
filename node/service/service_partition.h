/* What administrators and returning readers ask of partitions: where leader epochs end, to forget a partition's beginning, and
 * to hand leadership on. Apart from service.h because few ask.
 *
 * Hub thread. Callbacks may run inside the call that starts the verb. */
#ifndef CAIRN_SERVICE_PARTITION_H
#define CAIRN_SERVICE_PARTITION_H

#include "node/service/service.h"

/* Many partitions at a time; each part's result stands in its op. Allocate with the _new(), free() at or after @done. */
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

#endif
