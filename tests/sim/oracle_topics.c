/* Which topics and partitions there are, may go, and must be there at the end. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/fsm/metadata/metadata_fsm.h"
#include "tests/sim/oracle_internal.h"

static struct oracle_topic *topic_of(struct oracle *o, const struct uuid *id)
{
    struct oracle_topic *t;
    HASH_FIND(hh, o->topics, id, sizeof *id, t);
    if (t == NULL) {
        t = calloc(1, sizeof *t);
        assert(t != NULL);
        t->id = *id;
        HASH_ADD(hh, o->topics, id, sizeof t->id, t);
    }
    return t;
}

struct oracle_part *oracle_part(struct oracle *o, const struct uuid *topic, uint32_t partition, uint64_t group)
{
    struct oracle_part *p;
    struct oracle_part key;

    memset(&key, 0, sizeof key);
    key.key.topic = *topic;
    key.key.partition = partition;
    HASH_FIND(hh, o->parts, &key.key, sizeof key.key, p);
    if (p == NULL) {
        p = calloc(1, sizeof *p);
        assert(p != NULL);
        p->key = key.key;
        p->group = group;
        p->doomed = topic_of(o, topic)->doomed;
        HASH_ADD(hh, o->parts, key, sizeof p->key, p);
    }
    if (p->group == 0) {
        p->group = group;
    }
    if (group != 0 && p->group != group) {
        oracle_violation(o, "partition %u: its group changed from %" PRIu64 " to %" PRIu64, partition, p->group, group);
    }
    return p;
}

void oracle_topic_doomed(struct oracle *o, const struct uuid *topic)
{
    struct oracle_part *p, *next;

    topic_of(o, topic)->doomed = true;
    HASH_ITER(hh, o->parts, p, next)
    {
        if (uuid_equal(&p->key.topic, topic)) {
            p->doomed = true;
        }
    }
}

bool oracle_part_doomed(const struct oracle_part *part)
{
    return part->doomed;
}

bool oracle_topic_is_doomed(struct oracle *o, const struct uuid *topic)
{
    return topic_of(o, topic)->doomed;
}

bool oracle_group_doomed(const struct oracle *o, uint64_t group)
{
    struct oracle_part *p, *next;

    HASH_ITER(hh, o->parts, p, next)
    {
        if (p->group == group) {
            return p->doomed;
        }
    }
    return false;
}

uint32_t oracle_setting(unsigned topic)
{
    return (2u << 20) + topic; /* above all that anybody sends */
}

void oracle_topic_exists(struct oracle *o, const char *name, const struct uuid *topic, uint32_t partitions)
{
    struct oracle_topic *t = topic_of(o, topic);
    struct oracle_topic *other, *next;

    HASH_ITER(hh, o->topics, other, next)
    {
        if (other != t && other->exists && !other->doomed && strcmp(other->name, name) == 0) {
            oracle_violation(o, "topic %s was made twice", name);
        }
    }
    snprintf(t->name, sizeof t->name, "%s", name);
    t->partitions = partitions;
    t->exists = true;
}

void oracle_final_topics(struct oracle *o, const struct metadata_fsm *m)
{
    struct oracle_topic *t, *next;

    HASH_ITER(hh, o->topics, t, next)
    {
        const struct metadata_topic *found = metadata_fsm_topic(m, &t->id);
        if (t->exists && !t->doomed && (found == NULL || strcmp(found->name, t->name) != 0)) {
            oracle_violation(o, "topic %s: acknowledged, deleted by nobody, and gone", t->name);
        }
    }
}

void oracle_each_part(struct oracle *o, void (*each)(void *data, struct oracle_part *part, const struct uuid *topic,
                                                     uint32_t partition),
                      void *data)
{
    struct oracle_part *p, *next;

    HASH_ITER(hh, o->parts, p, next)
    {
        each(data, p, &p->key.topic, p->key.partition);
    }
}
