/* One produce and one fetch to just one node, whatever it says about leaders: for asking a process that was asleep. Both are
 * sent at once, before anything is read, so that they can wait in the socket of a stopped process. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/base/crc32c.h"
#include "proto/record/record_iter.h"
#include "tests/integration/checker/checker.h"

#define VALUE_SIZE 100
#define WAIT_MS 1000
#define CORRELATION_PRODUCE 1
#define CORRELATION_FETCH 2

static int write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n <= 0) {
            return ERR_IO;
        }
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

static int read_all(int fd, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, bytes, size);
        if (n <= 0) {
            return n == 0 ? ERR_CLOSED : ERR_TIMEOUT;
        }
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

static int send_request(int fd, uint16_t call, uint32_t correlation, const ProtobufCMessage *message,
                        const uint8_t *payload, size_t payload_size)
{
    struct frame_header header = {
        .kind = FRAME_REQUEST,
        .call = call,
        .call_version = 1,
        .correlation = correlation,
        .message_length = (uint32_t)protobuf_c_message_get_packed_size(message),
        .payload_length = (uint32_t)payload_size,
    };
    uint8_t *bytes = malloc(frame_size(&header));
    int rv = ERR_NOMEM;

    if (bytes == NULL) {
        return rv;
    }
    frame_encode_header(&header, bytes);
    protobuf_c_message_pack(message, bytes + FRAME_HEADER_SIZE);
    if (payload_size > 0) {
        memcpy(bytes + FRAME_HEADER_SIZE + header.message_length, payload, payload_size);
    }
    rv = write_all(fd, bytes, frame_size(&header));
    free(bytes);
    return rv;
}

/* *body holds message and payload; free() it. */
static int receive(int fd, struct frame_header *header, uint8_t **body)
{
    const struct frame_limits limits = {FRAME_MESSAGE_MAX, FRAME_PAYLOAD_MAX};
    uint8_t bytes[FRAME_HEADER_SIZE];
    int rv = read_all(fd, bytes, sizeof bytes);

    if (rv == 0) {
        rv = frame_decode_header(bytes, &limits, header);
    }
    if (rv != 0) {
        return rv;
    }
    *body = malloc((size_t)header->message_length + header->payload_length + 1);
    if (*body == NULL) {
        return ERR_NOMEM;
    }
    rv = read_all(fd, *body, (size_t)header->message_length + header->payload_length);
    if (rv != 0) {
        free(*body);
    }
    return rv;
}

static int connect_to(const char *address, double timeout_s, char *errmsg)
{
    struct timeval limit = {.tv_sec = (time_t)timeout_s};
    int fd = net_connect(address, true, errmsg);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    return fd;
}

/* ---- the topic's id, from any node that knows it ------------------------------------------------------------------------------ */

static int ask_topic(const char *address, const char *topic, struct uuid *out)
{
    Cairn__Native__MetadataRequest m = CAIRN__NATIVE__METADATA_REQUEST__INIT;
    Cairn__Native__MetadataResponse *r = NULL;
    char *topics[1] = {(char *)(uintptr_t)topic};
    char errmsg[ERRMSG_SIZE];
    struct frame_header header;
    uint8_t *body = NULL;
    int fd = connect_to(address, 2, errmsg);
    int rv = ERR_CLOSED;

    if (fd < 0) {
        return rv;
    }
    m.topics = topics;
    m.n_topics = 1;
    rv = send_request(fd, CALL_METADATA, 1, &m.base, NULL, 0);
    if (rv == 0) {
        rv = receive(fd, &header, &body);
    }
    close(fd);
    if (rv != 0) {
        return rv;
    }
    r = header.status == 0 ? cairn__native__metadata_response__unpack(NULL, header.message_length, body) : NULL;
    rv = ERR_UNKNOWN_TOPIC;
    if (r != NULL && r->n_topics == 1 && r->topics[0]->topic_id.len == sizeof out->bytes) {
        memcpy(out->bytes, r->topics[0]->topic_id.data, sizeof out->bytes);
        rv = 0;
    }
    if (r != NULL) {
        cairn__native__metadata_response__free_unpacked(r, NULL);
    }
    free(body);
    return rv;
}

static int find_topic(const struct checker_args *args, struct uuid *out)
{
    char *copy = strdup(args->bootstrap);
    char *rest = copy;
    char *address;
    int rv = ERR_NOMEM;

    while (copy != NULL && (address = strsep(&rest, ",")) != NULL) {
        rv = ask_topic(address, args->topic, out);
        if (rv == 0) {
            break;
        }
    }
    free(copy);
    return rv;
}

/* ---- ask ------------------------------------------------------------------------------------------------------------------------ */

static int send_produce(int fd, const struct checker_args *args, struct uuid *topic_id)
{
    Cairn__Native__ProduceRequest m = CAIRN__NATIVE__PRODUCE_REQUEST__INIT;
    Cairn__Native__ProducePartition part = CAIRN__NATIVE__PRODUCE_PARTITION__INIT;
    Cairn__Native__ProducePartition *parts[1] = {&part};
    struct value v = {.kind = VALUE_DIRECT, .partition = args->direct_partition, .sequence = args->direct_token};
    uint8_t memory[VALUE_SIZE + 256];
    uint8_t value[VALUE_SIZE];
    struct record_batch_stamp stamp = RECORD_BATCH_PLAIN;
    struct record_builder builder;
    uint8_t *bytes;
    size_t size;
    int rv;

    v.time_us = clock_wall_us();
    value_encode(&v, value, sizeof value);
    record_builder_init(&builder, memory, sizeof memory);
    rv = record_builder_append(&builder, NULL, -1, value, sizeof value, NULL, 0, (int64_t)(v.time_us / 1000));
    if (rv == 0) {
        rv = record_builder_finish(&builder, &stamp, NULL, &bytes, &size);
    }
    if (rv != 0) {
        return rv;
    }
    part.topic_id.data = topic_id->bytes;
    part.topic_id.len = sizeof topic_id->bytes;
    part.partition = args->direct_partition;
    part.size = (uint32_t)size;
    m.partitions = parts;
    m.n_partitions = 1;
    m.timeout_ms = (uint32_t)(args->timeout_s * 1000 / 2);
    return send_request(fd, CALL_PRODUCE, CORRELATION_PRODUCE, &m.base, bytes, size);
}

static int send_fetch(int fd, const struct checker_args *args, struct uuid *topic_id)
{
    Cairn__Native__FetchRequest m = CAIRN__NATIVE__FETCH_REQUEST__INIT;
    Cairn__Native__FetchPartition part = CAIRN__NATIVE__FETCH_PARTITION__INIT;
    Cairn__Native__FetchPartition *parts[1] = {&part};

    part.topic_id.data = topic_id->bytes;
    part.topic_id.len = sizeof topic_id->bytes;
    part.partition = args->direct_partition;
    part.offset = args->direct_offset;
    part.max_bytes = FETCH_MAX_BYTES;
    m.partitions = parts;
    m.n_partitions = 1;
    m.max_wait_ms = WAIT_MS;
    m.max_bytes = FETCH_MAX_BYTES;
    return send_request(fd, CALL_FETCH, CORRELATION_FETCH, &m.base, NULL, 0);
}

/* ---- answers -------------------------------------------------------------------------------------------------------------------- */

static void tell_produce(const struct frame_header *header, const uint8_t *body)
{
    Cairn__Native__ProduceResponse *r =
        header->status == 0 ? cairn__native__produce_response__unpack(NULL, header->message_length, body) : NULL;
    if (r != NULL && r->n_partitions == 1) {
        printf("{\"type\": \"produce\", \"error\": \"%s\", \"base_offset\": %" PRId64 ", \"leader\": %u, \"epoch\": %" PRIu64
               "}\n",
               err_name((int)r->partitions[0]->error), r->partitions[0]->base_offset, r->partitions[0]->leader_node,
               r->partitions[0]->leader_epoch);
    } else {
        printf("{\"type\": \"produce\", \"error\": \"%s\", \"base_offset\": -1}\n",
               header->status == 0 ? "MALFORMED" : err_name(header->status));
    }
    if (r != NULL) {
        cairn__native__produce_response__free_unpacked(r, NULL);
    }
}

/* The batches as a digest of (offset, epoch, crc), for comparing what two nodes say of the same offsets. */
static void tell_batches(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    const char *comma = "";

    printf(", \"batches\": [");
    while (at < size) {
        struct record_batch_header batch;
        if (record_batch_peek(bytes + at, size - at, &batch) != 0 || !record_batch_intact(bytes + at, batch.size)) {
            printf("%s\"damaged\"", comma);
            break;
        }
        printf("%s[%" PRId64 ", %d, %u]", comma, batch.base_offset, batch.leader_epoch, batch.crc);
        comma = ", ";
        at += batch.size;
    }
    printf("]");
}

static void tell_fetch(const struct frame_header *header, const uint8_t *body)
{
    Cairn__Native__FetchResponse *r =
        header->status == 0 ? cairn__native__fetch_response__unpack(NULL, header->message_length, body) : NULL;
    if (r != NULL && r->n_partitions == 1) {
        printf("{\"type\": \"fetch\", \"error\": \"%s\", \"high_watermark\": %" PRId64 ", \"leader\": %u, \"epoch\": %" PRIu64,
               err_name((int)r->partitions[0]->error), r->partitions[0]->high_watermark, r->partitions[0]->leader_node,
               r->partitions[0]->leader_epoch);
        tell_batches(body + header->message_length, header->payload_length);
        printf("}\n");
    } else {
        printf("{\"type\": \"fetch\", \"error\": \"%s\"}\n", header->status == 0 ? "MALFORMED" : err_name(header->status));
    }
    if (r != NULL) {
        cairn__native__fetch_response__free_unpacked(r, NULL);
    }
}

static int take_answers(int fd, uint32_t n)
{
    while (n-- > 0) {
        struct frame_header header;
        uint8_t *body = NULL;
        int rv = receive(fd, &header, &body);
        if (rv != 0) {
            return rv;
        }
        if (header.correlation == CORRELATION_PRODUCE) {
            tell_produce(&header, body);
        } else {
            tell_fetch(&header, body);
        }
        fflush(stdout);
        free(body);
    }
    return 0;
}

int direct_run(const struct checker_args *args)
{
    char errmsg[ERRMSG_SIZE];
    struct uuid topic_id;
    int rv = find_topic(args, &topic_id);
    int fd;

    if (rv != 0) {
        fprintf(stderr, "checker: topic %s: %s\n", args->topic, err_text(rv));
        return 1;
    }
    fd = connect_to(args->direct, args->timeout_s, errmsg);
    if (fd < 0) {
        fprintf(stderr, "checker: %s\n", errmsg);
        return 1;
    }
    if (!args->direct_no_produce) {
        rv = send_produce(fd, args, &topic_id);
    }
    if (rv == 0) {
        rv = send_fetch(fd, args, &topic_id);
    }
    if (rv == 0) {
        printf("{\"type\": \"sent\"}\n");
        fflush(stdout);
        rv = take_answers(fd, args->direct_no_produce ? 1 : 2);
    }
    close(fd);
    if (rv != 0) {
        printf("{\"type\": \"end\", \"error\": \"%s\"}\n", err_name(rv));
    }
    return 0;
}
