/* SASL: no mechanism is enabled, and that is what clients are told. */
#include "node/kafka/kafka_internal.h"
#include "proto/kafka/messages/sasl_authenticate.h"
#include "proto/kafka/messages/sasl_handshake.h"

int kafka_sasl_handshake(struct kafka_request *r)
{
    struct kafka_sasl_handshake_request m;
    struct kafka_sasl_handshake_response response;
    int rv = kafka_sasl_handshake_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    kafka_sasl_handshake_response_init(&response);
    response.error_code = KAFKA_ERROR_UNSUPPORTED_SASL_MECHANISM;
    r->session->bare_tokens = r->version == 0; /* if it goes on all the same */
    kafka_answer(r, &response);
    return 0;
}

int kafka_sasl_authenticate(struct kafka_request *r)
{
    struct kafka_sasl_authenticate_request m;
    struct kafka_sasl_authenticate_response response;
    int rv = kafka_sasl_authenticate_request_decode(&r->message, r->version, &r->arena, &m);

    if (rv != 0) {
        return rv;
    }
    kafka_sasl_authenticate_response_init(&response);
    response.error_code = KAFKA_ERROR_ILLEGAL_SASL_STATE;
    response.error_message = kafka_string("no mechanism is enabled on this listener (security.protocol=PLAINTEXT)");
    kafka_answer(r, &response);
    return 0;
}
