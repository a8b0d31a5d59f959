#include "node/node.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/http/http.h"
#include "node/node_metrics.h"

#define POOL_KEEP_MAX_BYTES (256u << 20) /* freed buffers kept for reuse */

struct node {
    struct env *env;
    struct buf_pool *pool;
    struct conns *conns;
    struct control *control;
    struct service *service;
    struct http *http; /* NULL: none was asked for */
    unsigned stopping; /* parts that have not come to their end */
    char addresses[METADATA_LISTENERS_MAX][ENV_ADDRESS_MAX];
    void (*closed)(void *data);
    void *closed_data;
};

/* Bind first: a busy port must be said before anything is written to the disk. */
static int listen_all(struct node *n, const struct node_params *params, struct control_params *control, char *errmsg)
{
    for (uint32_t i = 0; i < params->n_listeners; i++) {
        const struct conn_listener_params *l = &params->listeners[i];
        struct control_listener *told = &control->listeners[i];
        int rv = conns_listen(n->conns, l, errmsg);
        if (rv != 0) {
            return rv;
        }
        snprintf(n->addresses[i], sizeof n->addresses[i], "%s", conns_address(n->conns, i));
        snprintf(told->name, sizeof told->name, "%s", l->name);
        snprintf(told->address, sizeof told->address, "%s",
                 l->advertised[0] != '\0' ? l->advertised : n->addresses[i]);
    }
    control->n_listeners = params->n_listeners;
    if (params->http_listen != NULL && params->http_listen[0] != '\0') {
        struct http_params http = {
            .env = n->env, .address = params->http_listen, .more = node_metrics, .more_data = n->conns};
        return http_open(&http, &n->http, errmsg);
    }
    return 0;
}

int node_open(const struct node_params *params, struct node **out, char *errmsg)
{
    struct conns_params conns_params = {
        .env = params->env,
        .memory_max_bytes = params->memory_max_bytes,
        .connections_max = params->connections_max,
        .idle_timeout_ms = params->idle_timeout_ms,
        .kafka = {.auto_create_topics = params->auto_create_topics,
                  .default_partitions = params->control.default_partitions,
                  .default_replication = params->control.default_replication,
                  .connections_max = params->connections_max,
                  .idle_timeout_ms = params->idle_timeout_ms},
    };
    struct control_params *control_params = malloc(sizeof *control_params);
    struct node *n = calloc(1, sizeof *n);
    int rv = ERR_NOMEM;

    snprintf(errmsg, ERRMSG_SIZE, "%s", err_text(ERR_NOMEM));
    if (n == NULL || control_params == NULL) {
        goto err;
    }
    *control_params = params->control;
    n->env = params->env;
    n->pool = buf_pool_new(POOL_KEEP_MAX_BYTES);
    if (n->pool == NULL) {
        goto err;
    }
    conns_params.pool = n->pool;
    coordinator_config_default(&conns_params.kafka.groups);
    if (params->control.groups != NULL) {
        conns_params.kafka.groups = *params->control.groups;
    }
    snprintf(conns_params.kafka.data_dir, sizeof conns_params.kafka.data_dir, "%s", params->control.data_dir);
    n->conns = conns_new(&conns_params);
    if (n->conns == NULL) {
        goto err_after_pool;
    }
    rv = listen_all(n, params, control_params, errmsg);
    if (rv != 0) {
        goto err_after_conns;
    }
    control_params->env = params->env;
    control_params->pool = n->pool;
    rv = control_open(control_params, &n->control, errmsg);
    if (rv != 0) {
        goto err_after_conns;
    }
    n->service = service_new(n->env, n->control, params->version);
    if (n->service == NULL) {
        env_fatal(n->env, "out of memory"); /* the shards run already */
    }
    if (n->http != NULL && http_serve(n->http, n->service) != 0) {
        env_fatal(n->env, "no memory, or no thread, for HTTP");
    }
    conns_serve(n->conns, n->service);
    free(control_params);
    *out = n;
    return 0;
err_after_conns:
    if (n->http != NULL) {
        http_abandon(n->http);
    }
    conns_abandon(n->conns);
err_after_pool:
    buf_pool_free(n->pool);
err:
    free(n);
    free(control_params);
    return rv;
}

void node_on_refused(struct node *n, void (*cb)(void *data, int err, const char *text), void *data)
{
    control_on_refused(n->control, cb, data);
}

/* ---- stop: doors first, so that nobody waits for what will not come; then leaderships; then the logs ------------------- */

static void part_closed(void *data)
{
    struct node *n = data;
    void (*closed)(void *data) = n->closed;
    void *closed_data = n->closed_data;
    n->stopping--;
    if (n->stopping > 0) {
        return;
    }
    service_free(n->service);
    buf_pool_free(n->pool);
    free(n);
    closed(closed_data);
}

/* Clients are served (and told of the new leaders) while leaderships move. Then nobody waits for requests to end by
 * themselves, which without a quorum takes as long as clients wish: the ends of the service, the groups and the calls end
 * them, and closed connections go when the last of theirs has. */
static void handed_over(void *data)
{
    struct node *n = data;
    n->stopping = n->http == NULL ? 2 : 3;
    if (n->http != NULL) {
        http_close(n->http, part_closed, n);
    }
    conns_close(n->conns, part_closed, n);
    service_end(n->service);
    control_close(n->control, part_closed, n);
}

void node_stop(struct node *n, uint32_t limit_ms, void (*closed)(void *data), void *data)
{
    n->closed = closed;
    n->closed_data = data;
    log_event(n->env->logger, LOG_INFO, "node_stopping", "node=%u limit_ms=%u", control_node(n->control), limit_ms);
    control_hand_over(n->control, limit_ms, handed_over, n);
}

void node_abandon(struct node *n)
{
    assert(n->http == NULL);
    service_abandon(n->service);
    conns_abandon(n->conns);
    control_abandon(n->control);
    service_free(n->service);
    buf_pool_free(n->pool);
    free(n);
}

struct control *node_control(struct node *n)
{
    return n->control;
}

struct service *node_service(struct node *n)
{
    return n->service;
}

const char *node_http_address(const struct node *n)
{
    return n->http == NULL ? "" : http_address(n->http);
}

const char *node_listener_address(const struct node *n, uint32_t i)
{
    return n->addresses[i];
}
