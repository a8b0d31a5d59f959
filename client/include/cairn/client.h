/* The connection to a cluster, shared by producers, consumers and admin calls: one background thread, which needs no
 * event loop of the program's own.
 *
 *     struct cairn_client *client;
 *     rv = cairn_client_open("node1:7400,node2:7400", NULL, &client, &error);
 *     ... open producers and consumers, close them ...
 *     cairn_client_close(client);
 */
#ifndef CAIRN_CLIENT_H
#define CAIRN_CLIENT_H

#include <cairn/error.h>
#include <cairn/export.h>
#include <cairn/options.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cairn_client;

/* @bootstrap: HOST:PORT[,HOST:PORT...], some nodes of the cluster; the others are learnt from them. @options may be
 * NULL. Connects in the background: an unreachable cluster shows in the calls that follow.
 * Errors: CAIRN_ERR_INVALID (@bootstrap), CAIRN_ERR_CONFIG (an option), CAIRN_ERR_NOMEM, CAIRN_ERR_IO. */
CAIRN_API int cairn_client_open(const char *bootstrap, const struct cairn_options *options, struct cairn_client **out,
                                struct cairn_error *error);

/* All producers and consumers of the client must be closed before. NULL is allowed. */
CAIRN_API void cairn_client_close(struct cairn_client *client);

CAIRN_API const char *cairn_version(void);

#ifdef __cplusplus
}
#endif

#endif
