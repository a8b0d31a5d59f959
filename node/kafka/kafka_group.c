#include "node/kafka/kafka_group.h"

#include <string.h>

static void free_calls(struct kafka_request *r)
{
    service_groups_free(r->state);
    r->state = NULL;
}

struct service_groups *kafka_group_calls(struct kafka_request *r, uint32_t n, enum coordinator_verb verb)
{
    struct service_groups *g = service_groups_new(n);
    if (g == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        g->calls[i].op.verb = verb;
    }
    r->state = g;
    r->cleanup = free_calls;
    return g;
}

void kafka_group_ask(struct kafka_request *r, struct service_groups *g, void (*done)(struct service_groups *g))
{
    g->ctx = &r->session->ctx;
    g->data = r;
    g->done = done;
    service_groups(r->service, g);
}

int16_t kafka_group_error(int error)
{
    return kafka_error_from_err(error, KAFKA_COORDINATOR);
}

int16_t kafka_group_member_error(int error)
{
    int16_t code = kafka_group_error(error);
    return code == KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS ? KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE : code;
}

const char *kafka_group_text(struct kafka_request *r, struct kafka_string s, bool *ok)
{
    const char *text = kafka_text(r, s);
    *ok = *ok && text != NULL;
    return text;
}

const char *kafka_group_optional(struct kafka_request *r, struct kafka_string s, bool *ok)
{
    return s.length < 0 ? NULL : kafka_group_text(r, s, ok);
}

const char *kafka_group_host(struct kafka_request *r, bool *ok)
{
    const char *peer = r->session->peer == NULL ? "" : r->session->peer;
    const char *colon = strrchr(peer, ':');
    struct kafka_string host = kafka_format(r, "/%.*s", colon == NULL ? 0 : (int)(colon - peer), peer);
    *ok = *ok && host.length >= 0;
    return kafka_group_text(r, host, ok);
}

struct kafka_string kafka_group_string(const struct group_blob *blob)
{
    return blob == NULL ? kafka_string("") : (struct kafka_string){blob->data, (int32_t)blob->size};
}

struct kafka_string kafka_group_string_or_null(const struct group_blob *blob)
{
    return blob == NULL ? kafka_string(NULL) : kafka_group_string(blob);
}

struct kafka_bytes kafka_group_bytes(const struct group_blob *blob)
{
    static const uint8_t none[1];
    return blob == NULL ? (struct kafka_bytes){none, 0}
                        : (struct kafka_bytes){(const uint8_t *)blob->data, (int32_t)blob->size};
}
