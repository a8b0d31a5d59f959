/* InitProducerId: an id for an idempotent producer, or the next epoch of one (KIP-360). */
#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/init_producer_id.h"

struct state {
    struct service_init_producer init;
    struct kafka_request *r;
};

static void initialized(struct service_init_producer *init)
{
    struct state *s = container_of(init, struct state, init);
    struct kafka_init_producer_id_response response;

    kafka_init_producer_id_response_init(&response);
    response.error_code = kafka_error_from_err(init->error, KAFKA_COORDINATOR);
    if (init->error == 0) {
        response.producer_id = init->producer_id;
        response.producer_epoch = (int16_t)init->epoch;
    } else {
        response.producer_epoch = -1;
    }
    kafka_answer(s->r, &response);
}

int kafka_init_producer_id(struct kafka_request *r)
{
    struct state *s = kafka_alloc(r, 1, sizeof *s);
    struct kafka_init_producer_id_request m;
    struct kafka_init_producer_id_response response;
    int rv;

    if (s == NULL) {
        return ERR_NOMEM;
    }
    rv = kafka_init_producer_id_request_decode(&r->message, r->version, &r->arena, &m);
    if (rv != 0) {
        return rv;
    }
    kafka_init_producer_id_response_init(&response);
    response.producer_epoch = -1;
    if (m.transactional_id.length >= 0) {
        /* Transactions are not served: the requests they need are not advertised either. */
        response.error_code =
            m.transactional_id.length == 0 ? KAFKA_ERROR_INVALID_REQUEST : KAFKA_ERROR_UNSUPPORTED_VERSION;
        kafka_answer(r, &response);
        return 0;
    }
    if (m.producer_id < -1 || m.producer_epoch < -1 || (m.producer_id >= 0) != (m.producer_epoch >= 0)) {
        response.error_code = KAFKA_ERROR_INVALID_REQUEST;
        kafka_answer(r, &response);
        return 0;
    }
    s->r = r;
    s->init.producer_id = m.producer_id;
    s->init.epoch = m.producer_epoch;
    s->init.done = initialized;
    service_init_producer(r->service, &s->init);
    return 0;
}
