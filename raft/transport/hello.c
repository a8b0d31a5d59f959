#include "raft/transport/hello.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/native/cluster.pb-c.h"

#define NODE_VERSION "0.1.0"

static void put_uuid(ProtobufCBinaryData *out, struct uuid *u)
{
    out->data = u->bytes;
    out->len = uuid_is_nil(u) ? 0 : sizeof(u->bytes);
}

int hello_encode(const struct hello *hello, uint8_t *out, size_t size, size_t *length)
{
    Cairn__Cluster__PeerHello m = CAIRN__CLUSTER__PEER_HELLO__INIT;
    struct transport_identity id = hello->id;
    char version[] = NODE_VERSION;
    size_t n;

    m.protocol_min = hello->protocol_min;
    m.protocol_max = hello->protocol_max;
    put_uuid(&m.cluster_id, &id.cluster_id);
    put_uuid(&m.disk_id, &id.disk_id);
    m.node = id.node;
    m.boot = id.boot;
    m.to_node = hello->to_node;
    m.peer_address = id.peer_address;
    m.node_version = version;
    m.lane = hello->lane;
    n = cairn__cluster__peer_hello__get_packed_size(&m);
    if (n > size) {
        return ERR_TOO_BIG;
    }
    *length = cairn__cluster__peer_hello__pack(&m, out);
    return 0;
}

static int get_uuid(const ProtobufCBinaryData *in, struct uuid *out)
{
    memset(out, 0, sizeof(*out));
    if (in->len == 0) {
        return 0;
    }
    if (in->len != sizeof(out->bytes)) {
        return ERR_MALFORMED;
    }
    memcpy(out->bytes, in->data, sizeof(out->bytes));
    return 0;
}

/* Text of a peer ends in logs: printable ASCII only. */
static void get_text(char *out, size_t size, const char *text)
{
    size_t i;

    for (i = 0; text != NULL && text[i] != '\0' && i + 1 < size; i++) {
        out[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    out[i] = '\0';
}

int hello_decode(const uint8_t *data, size_t size, struct hello *out)
{
    Cairn__Cluster__PeerHello *m = cairn__cluster__peer_hello__unpack(NULL, size, data);
    int rv = ERR_MALFORMED;

    if (m == NULL) {
        return ERR_MALFORMED;
    }
    memset(out, 0, sizeof(*out));
    out->protocol_min = m->protocol_min;
    out->protocol_max = m->protocol_max;
    out->to_node = m->to_node;
    out->lane = m->lane;
    out->id.node = m->node;
    out->id.boot = m->boot;
    get_text(out->id.peer_address, sizeof(out->id.peer_address), m->peer_address);
    if (get_uuid(&m->cluster_id, &out->id.cluster_id) != 0 || get_uuid(&m->disk_id, &out->id.disk_id) != 0) {
        goto out;
    }
    if (uuid_is_nil(&out->id.disk_id) || out->id.node == 0 || out->lane > TRANSPORT_DATA) {
        goto out;
    }
    rv = 0;
out:
    cairn__cluster__peer_hello__free_unpacked(m, NULL);
    return rv;
}

int refusal_encode(int err, const char *text, uint8_t *out, size_t size, size_t *length)
{
    Cairn__Cluster__PeerRefusal m = CAIRN__CLUSTER__PEER_REFUSAL__INIT;
    char copy[ERRMSG_SIZE];

    get_text(copy, sizeof(copy), text);
    m.error = (uint32_t)err;
    m.text = copy;
    if (cairn__cluster__peer_refusal__get_packed_size(&m) > size) {
        return ERR_TOO_BIG;
    }
    *length = cairn__cluster__peer_refusal__pack(&m, out);
    return 0;
}

int refusal_decode(const uint8_t *data, size_t size, int *err, char *text)
{
    Cairn__Cluster__PeerRefusal *m = cairn__cluster__peer_refusal__unpack(NULL, size, data);

    if (m == NULL) {
        return ERR_MALFORMED;
    }
    *err = m->error > 0 && m->error <= UINT16_MAX ? (int)m->error : ERR_REFUSED;
    get_text(text, ERRMSG_SIZE, m->text);
    cairn__cluster__peer_refusal__free_unpacked(m, NULL);
    return 0;
}

void hello_boots_note(struct hello_boots *boots, const struct uuid *disk_id, uint64_t boot)
{
    for (uint32_t i = 0; i < boots->n; i++) {
        if (uuid_equal(&boots->seen[i].disk_id, disk_id)) {
            if (boot > boots->seen[i].boot) {
                boots->seen[i].boot = boot;
            }
            return;
        }
    }
    boots->seen[boots->next].disk_id = *disk_id;
    boots->seen[boots->next].boot = boot;
    boots->next = (boots->next + 1) % HELLO_BOOTS_MAX;
    if (boots->n < HELLO_BOOTS_MAX) {
        boots->n++;
    }
}

int hello_check(const struct hello *hello, const struct transport_identity *self, uint32_t expected,
                const struct hello_boots *boots, char *text)
{
    const struct transport_identity *id = &hello->id;
    char ours[UUID_TEXT_SIZE];
    char theirs[UUID_TEXT_SIZE];

    if (hello->protocol_min > TRANSPORT_PROTOCOL_VERSION || hello->protocol_max < TRANSPORT_PROTOCOL_VERSION) {
        snprintf(text, ERRMSG_SIZE, "peer protocol %u to %u offered, this node speaks %u", hello->protocol_min,
                 hello->protocol_max, TRANSPORT_PROTOCOL_VERSION);
        return ERR_VERSION;
    }
    if (hello->to_node != 0 && hello->to_node != self->node) {
        snprintf(text, ERRMSG_SIZE, "node %u was meant, this is node %u: check the peer addresses", hello->to_node,
                 self->node);
        return ERR_NODE_MISMATCH;
    }
    if (id->node == self->node) {
        snprintf(text, ERRMSG_SIZE, "node id %u is this node's own: two nodes share an id, or it dialled itself",
                 id->node);
        return ERR_NODE_MISMATCH;
    }
    if (expected != 0 && id->node != expected) {
        snprintf(text, ERRMSG_SIZE, "node %u was meant, node %u answers there: check the peer addresses", expected,
                 id->node);
        return ERR_NODE_MISMATCH;
    }
    if (!uuid_is_nil(&id->cluster_id) && !uuid_is_nil(&self->cluster_id) &&
        !uuid_equal(&id->cluster_id, &self->cluster_id)) {
        snprintf(text, ERRMSG_SIZE, "cluster %s meets cluster %s", uuid_format(&id->cluster_id, theirs),
                 uuid_format(&self->cluster_id, ours));
        return ERR_CLUSTER_MISMATCH;
    }
    for (uint32_t i = 0; i < boots->n; i++) {
        if (uuid_equal(&boots->seen[i].disk_id, &id->disk_id) && id->boot < boots->seen[i].boot) {
            snprintf(text, ERRMSG_SIZE,
                     "start %" PRIu64 " of disk %s, but start %" PRIu64 " was seen: a restored or cloned disk",
                     id->boot, uuid_format(&id->disk_id, theirs), boots->seen[i].boot);
            return ERR_STALE_BOOT;
        }
    }
    return 0;
}
