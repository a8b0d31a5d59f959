#include "tests/unit/node/group_swarm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct request *request_new(struct swarm *s, struct member *m, unsigned at, enum coordinator_verb verb)
{
    struct request *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->g = service_groups_new(1);
    assert_non_null(r->g);
    r->g->done = group_swarm_answered;
    r->g->data = r;
    r->g->calls[0].op.verb = verb;
    r->member = m;
    r->swarm = s;
    r->at = at;
    memcpy(r->committed, s->committed, sizeof r->committed);
    r->begin_ms = s->now_ms;
    r->deadline_ms = s->now_ms + (verb == COORDINATOR_JOIN ? JOIN_MS : ANSWER_MS);
    list_push_back(&s->requests, &r->link);
    if (m != NULL) {
        r->generation = m->generation;
        snprintf(r->id, sizeof r->id, "%s", m->id);
        m->waiting = r;
    }
    return r;
}

void request_free(struct request *r)
{
    if (r->member != NULL) {
        r->member->waiting = NULL;
    }
    list_remove(&r->link);
    service_groups_free(r->g);
    free(r);
}

void ask_join(struct member *m, unsigned at)
{
    struct request *r = request_new(m->swarm, m, at, COORDINATOR_JOIN);
    struct coordinator_join *j = &r->g->calls[0].op.u.join;
    r->protocol = (struct coordinator_protocol){"any", "sub", 3};
    if (m->number == 0) { /* a static member */
        snprintf(r->instance, sizeof r->instance, "instance");
        j->instance = r->instance;
    }
    j->group = GROUP;
    j->member = r->id;
    j->client_id = "swarm";
    j->client_host = "/host";
    j->protocol_type = "consumer";
    j->session_timeout_ms = SESSION_MS;
    j->rebalance_timeout_ms = SESSION_MS;
    j->protocols = &r->protocol;
    j->n_protocols = 1;
    j->id_required = m->number % 2 == 1;
}

void ask_sync(struct member *m, unsigned at)
{
    struct request *r = request_new(m->swarm, m, at, COORDINATOR_SYNC);
    struct coordinator_sync *q = &r->g->calls[0].op.u.sync;
    q->group = GROUP;
    q->member = r->id;
    q->generation = m->generation;
    q->assignments = r->assignments;
    for (uint32_t i = 0; m->leads && i < m->n_everybody; i++) {
        for (uint32_t p = i; p < PARTITIONS; p += m->n_everybody) {
            r->shares[i][p] = 1;
        }
        snprintf(r->names[i], sizeof r->names[i], "%s", m->everybody[i]);
        r->assignments[q->n_assignments++] = (struct coordinator_assignment){r->names[i], r->shares[i], PARTITIONS};
    }
}

void ask_fetch(struct swarm *s, struct member *m, unsigned at)
{
    struct request *r = request_new(s, m, at, COORDINATOR_FETCH);
    for (int p = 0; p < PARTITIONS; p++) {
        r->parts[p] = (struct coordinator_part){.topic = s->topic, .partition = p};
    }
    r->g->calls[0].op.u.fetch.group = GROUP;
    r->g->calls[0].op.u.fetch.parts = r->parts;
    r->g->calls[0].op.u.fetch.n_parts = PARTITIONS;
}

void ask_heartbeat(struct member *m, unsigned at)
{
    struct request *r = request_new(m->swarm, m, at, COORDINATOR_HEARTBEAT);
    m->heartbeat_ms = m->swarm->now_ms + 500;
    r->g->calls[0].op.u.heartbeat.group = GROUP;
    r->g->calls[0].op.u.heartbeat.member = r->id;
    r->g->calls[0].op.u.heartbeat.generation = m->generation;
}

void ask_commit(struct member *m, unsigned at, bool late)
{
    struct request *r = request_new(m->swarm, m, at, COORDINATOR_COMMIT);
    struct coordinator_commit *c = &r->g->calls[0].op.u.commit;
    if (late) {
        m->waiting = NULL;
        r->member = NULL;
        r->generation--;
    }
    c->group = GROUP;
    c->member = r->id;
    c->generation = r->generation;
    c->retention_ms = -1;
    c->parts = r->parts;
    for (int p = 0; p < PARTITIONS; p++) {
        if (m->owns[p]) {
            r->parts[c->n_parts++] =
                (struct coordinator_part){.topic = m->swarm->topic, .partition = p, .offset = m->position[p], .leader_epoch = -1};
        }
    }
}

