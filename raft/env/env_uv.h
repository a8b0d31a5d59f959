/* The real environment: libuv, the kernel's clock, files and sockets. */
#ifndef CAIRN_ENV_UV_H
#define CAIRN_ENV_UV_H

#include "raft/env/env.h"

struct env_uv_params {
    struct logger *logger;  /* borrowed */
    unsigned pool_threads;  /* threads behind ENV_QUEUE_POOL; 0: 2 */
};

/* Make the first loop of a program. Errors: ERR_NOMEM, ERR_IO. */
int env_uv_new(const struct env_uv_params *params, struct env **out) MUST_USE;

/* Run the loop on the calling thread until env_loop_stop(). */
void env_uv_run(struct env *env);

/* @cb on the loop's thread when the process gets SIGTERM or SIGINT (first loop only). */
int env_uv_on_terminate(struct env *env, void (*cb)(struct env *env, void *data, int signum), void *data) MUST_USE;

/* After env_uv_run() returned, and its child loops are freed: closes what is still open. */
void env_uv_free(struct env *env);

#endif
