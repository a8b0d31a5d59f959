/* Runs a core on libuv in a background thread, so that a program needs no loop of its own. The only place of the
 * client, with the files beside it, that knows threads; the core below never sees them. */
#ifndef CAIRN_CLIENT_DRIVER_UV_H
#define CAIRN_CLIENT_DRIVER_UV_H

#include <stdbool.h>
#include <uv.h>

#include "client/src/core/core.h"

struct driver {
    struct client_io io;
    struct core core; /* the loop thread's */
    uv_loop_t loop;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_timer_t timer;
    uv_thread_t thread;
    uint64_t deadline_ns; /* what the core asked for */
    uint64_t armed_ns;    /* what the timer is set to */
    uv_mutex_t mutex;     /* of what follows */
    uv_cond_t ran;
    struct list tasks;
    bool stopping;
};

/* Something to do on the loop thread. */
struct driver_task {
    struct list link;
    void (*run)(struct core *core, void *arg);
    void *arg;
    bool done;
};

/* Errors: ERR_NOMEM, ERR_INVALID, ERR_IO. */
int driver_start(struct driver *d, const struct core_config *config) MUST_USE;
/* Closes all connections and joins the thread. */
void driver_stop(struct driver *d);

/* The core takes a turn soon. Any thread; cheap when one is coming anyway. */
void driver_wake(struct driver *d);
/* Run @run on the loop thread and wait for it. On the loop thread itself (in a callback): runs at once, so @run must
 * then be harmless inside a turn. */
void driver_run(struct driver *d, void (*run)(struct core *core, void *arg), void *arg);
bool driver_on_loop(struct driver *d);
/* The clock of the core's turns. */
uint64_t driver_now_ns(void);

#endif
