/* An answer on its way to a client: what front doors make and connections send, the same for every protocol. */
#ifndef CAIRN_SERVICE_ANSWER_H
#define CAIRN_SERVICE_ANSWER_H

#include <sys/uio.h>

#include "node/service/service.h"

/* The connection sends @iov in order, then calls service_answer_release(). Hub thread. */
struct service_answer {
    struct list link;
    struct buf *head;  /* what was encoded */
    struct iovec *iov; /* pieces of @head, and between or behind them what @fetch holds */
    uint32_t n_iov;
    size_t bytes;
    struct service_fetch *fetch; /* holds the entries that @iov points into; NULL: none */
    struct iovec iov_inline[1];
};
void service_answer_release(struct service_answer *a);

#endif
