#include "node/service/service_answer.h"

#include <stdlib.h>

void service_answer_release(struct service_answer *a)
{
    if (a->fetch != NULL) {
        service_fetch_free(a->fetch);
    }
    buf_release(a->head);
    if (a->iov != a->iov_inline) {
        free(a->iov);
    }
    free(a);
}
