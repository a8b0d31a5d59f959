#include "tests/sim/impl.h"
int sim_listen(struct env *env, const char *address, env_accept_cb accept, void *data, struct env_listener **out,
               char *errmsg) { return ERR_INVALID; }
const char *sim_listener_address(struct env_listener *listener) { return listener->address; }
void sim_listener_close(struct env_listener *listener) {}
int sim_connect(struct env *env, const char *address, env_connect_cb cb, void *data) { return ERR_INVALID; }
void sim_conn_read_start(struct env_conn *conn, const struct env_conn_callbacks *callbacks, void *data) {}
void sim_conn_read_stop(struct env_conn *conn) {}
void sim_conn_write(struct env_conn *conn, struct env_write *write, const struct iovec *iov, size_t n_iov) {}
const char *sim_conn_peer(struct env_conn *conn) { return ""; }
void sim_conn_close(struct env_conn *conn, env_closed_cb cb, void *data) {}
void sim_net_node_ends(struct sim_node *node, enum sim_end how) {}
void sim_net_free(struct sim_world *world) {}
