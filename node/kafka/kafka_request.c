/* What handlers ask of their request, and of the cluster on its behalf. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/kafka/kafka_internal.h"

void *kafka_alloc(struct kafka_request *r, size_t count, size_t size)
{
    void *out;
    if (kafka_arena_alloc(&r->answer_arena, count == 0 ? 1 : count, size, &out) != 0) {
        return NULL;
    }
    memset(out, 0, (count == 0 ? 1 : count) * size);
    return out;
}

char *kafka_text(struct kafka_request *r, struct kafka_string s)
{
    size_t length = s.length > 0 ? (size_t)s.length : 0;
    char *out = kafka_alloc(r, length + 1, 1);
    for (size_t i = 0; out != NULL && i < length; i++) {
        out[i] = s.data[i] == '\0' ? '\1' : s.data[i];
    }
    return out;
}

struct kafka_string kafka_format(struct kafka_request *r, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    char *out;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    n = n < 0 ? 0 : n >= (int)sizeof text ? (int)sizeof text - 1 : n;
    out = kafka_alloc(r, (size_t)n + 1, 1);
    if (out == NULL) {
        return (struct kafka_string){NULL, -1};
    }
    memcpy(out, text, (size_t)n);
    return (struct kafka_string){out, n};
}

const struct metadata_topic *kafka_find_topic(struct kafka_request *r, struct kafka_string name)
{
    char text[METADATA_NAME_MAX + 1];

    if (name.length <= 0 || name.length > METADATA_NAME_MAX || memchr(name.data, '\0', (size_t)name.length) != NULL) {
        return NULL;
    }
    memcpy(text, name.data, (size_t)name.length);
    text[name.length] = '\0';
    return metadata_fsm_topic_named(service_metadata(r->service), text);
}

/* "host:port" or "[ipv6]:port", as configured. */
bool kafka_endpoint(struct kafka_request *r, uint32_t node, struct kafka_string *host, int32_t *port)
{
    const char *address = service_address(r->service, &r->session->ctx, node);
    const char *colon = strrchr(address, ':');
    const char *begin = address;
    const char *end = colon;

    if (colon == NULL) {
        return false;
    }
    if (begin[0] == '[' && end > begin && end[-1] == ']') {
        begin++;
        end--;
    }
    host->data = begin;
    host->length = (int32_t)(end - begin);
    *port = (int32_t)strtol(colon + 1, NULL, 10);
    return true;
}

bool kafka_node_usable(struct kafka_request *r, uint32_t node)
{
    struct control *control = service_control(r->service);
    return node != 0 && (node == control_node(control) || control_node_alive(control, node)) &&
           service_address(r->service, &r->session->ctx, node)[0] != '\0';
}

uint32_t kafka_leader_of(struct kafka_request *r, const struct metadata_partition *p, int32_t *epoch)
{
    uint64_t term = 0;
    uint32_t leader = control_leader_of(service_control(r->service), p->group, &term);
    if (epoch != NULL) {
        *epoch = (int32_t)term;
    }
    return kafka_node_usable(r, leader) ? leader : 0;
}

int16_t kafka_check_epoch(int32_t asked, uint64_t leader_epoch)
{
    if (asked < 0 || (uint64_t)asked == leader_epoch) {
        return 0;
    }
    return (uint64_t)asked < leader_epoch ? KAFKA_ERROR_FENCED_LEADER_EPOCH : KAFKA_ERROR_UNKNOWN_LEADER_EPOCH;
}

uint32_t kafka_controller(struct kafka_request *r)
{
    struct control *control = service_control(r->service);
    uint32_t leader = control_leader_of(control, METADATA_GROUP, NULL);
    return kafka_node_usable(r, leader) ? leader : control_node(control);
}
