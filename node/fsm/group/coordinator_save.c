/* Saving a group: the commands that make its generation durable. */
#include <stdlib.h>

#include "node/fsm/group/coordinator_internal.h"

/* The protobuf side of members; everything points into the blobs. */
struct packing {
    Cairn__Command__GroupMember *members;
    Cairn__Command__GroupMember **member_pointers;
    Cairn__Command__GroupProtocol *protocols;
    Cairn__Command__GroupProtocol **protocol_pointers;
};

static ProtobufCBinaryData bytes_of(const struct group_blob *blob)
{
    return (ProtobufCBinaryData){.len = blob == NULL ? 0 : blob->size,
                                 .data = blob == NULL ? NULL : (uint8_t *)(uintptr_t)blob->data};
}

static char *text_of(const struct group_blob *blob)
{
    static const char none[] = "";
    return (char *)(uintptr_t)(blob == NULL ? none : blob->data);
}

static void packing_close(struct packing *p)
{
    free(p->members);
    free(p->member_pointers);
    free(p->protocols);
    free(p->protocol_pointers);
}

static int packing_open(struct packing *p, const struct live_group *g)
{
    size_t n = g->n_members;
    size_t protocols = 0;
    list_for_each (pos, &g->members) {
        protocols += list_entry(pos, struct live_member, link)->info.n_protocols;
    }
    /* One more than needed: none of them is ever empty. */
    p->members = calloc(n + 1, sizeof p->members[0]);
    p->member_pointers = calloc(n + 1, sizeof p->member_pointers[0]);
    p->protocols = calloc(protocols + 1, sizeof p->protocols[0]);
    p->protocol_pointers = calloc(protocols + 1, sizeof p->protocol_pointers[0]);
    if (p->members == NULL || p->member_pointers == NULL || p->protocols == NULL || p->protocol_pointers == NULL) {
        packing_close(p);
        return ERR_NOMEM;
    }
    return 0;
}

/* Those who belong to the generation; who joins the next one is saved with that. */
static size_t pack_members(struct packing *p, const struct live_group *g)
{
    size_t n = 0;
    size_t n_protocols = 0;
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        Cairn__Command__GroupMember *out = &p->members[n];
        if (m->fresh) {
            continue;
        }
        cairn__command__group_member__init(out);
        out->member = text_of(m->info.id);
        out->instance = text_of(m->info.instance);
        out->client_id = text_of(m->info.client_id);
        out->client_host = text_of(m->info.client_host);
        out->session_timeout_ms = m->info.session_timeout_ms;
        out->rebalance_timeout_ms = m->info.rebalance_timeout_ms;
        out->assignment = bytes_of(m->info.assignment);
        out->protocols = &p->protocol_pointers[n_protocols];
        out->n_protocols = m->info.n_protocols;
        for (uint32_t i = 0; i < m->info.n_protocols; i++, n_protocols++) {
            Cairn__Command__GroupProtocol *protocol = &p->protocols[n_protocols];
            cairn__command__group_protocol__init(protocol);
            protocol->name = text_of(m->info.protocols[i].name);
            protocol->metadata = bytes_of(m->info.protocols[i].metadata);
            p->protocol_pointers[n_protocols] = protocol;
        }
        p->member_pointers[n++] = out;
    }
    return n;
}

static int propose_save(struct coordinator *c, struct live_group *g)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupSave save = CAIRN__COMMAND__GROUP_SAVE__INIT;
    struct packing p;
    int rv = packing_open(&p, g);
    if (rv != 0) {
        return rv;
    }
    save.group = text_of(g->id);
    save.protocol_type = text_of(g->protocol_type);
    save.generation = g->generation;
    save.protocol = text_of(g->protocol);
    save.leader = text_of(g->leader);
    save.assigned = g->assigned;
    save.members = p.member_pointers;
    save.n_members = pack_members(&p, g);
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_SAVE;
    command.save = &save;
    rv = coordinator_propose(c, &command, g, NULL);
    packing_close(&p);
    return rv;
}

static int propose_assignments(struct coordinator *c, struct live_group *g)
{
    Cairn__Command__GroupCommand command = CAIRN__COMMAND__GROUP_COMMAND__INIT;
    Cairn__Command__GroupAssign assign = CAIRN__COMMAND__GROUP_ASSIGN__INIT;
    Cairn__Command__GroupAssignment *items = calloc(g->n_members + 1, sizeof items[0]);
    Cairn__Command__GroupAssignment **pointers = calloc(g->n_members + 1, sizeof pointers[0]);
    int rv = ERR_NOMEM;
    if (items == NULL || pointers == NULL) {
        goto out;
    }
    list_for_each (pos, &g->members) {
        const struct live_member *m = list_entry(pos, struct live_member, link);
        Cairn__Command__GroupAssignment *item = &items[assign.n_assignments];
        cairn__command__group_assignment__init(item);
        item->member = text_of(m->info.id);
        item->assignment = bytes_of(m->info.assignment);
        pointers[assign.n_assignments++] = item;
    }
    assign.group = text_of(g->id);
    assign.generation = g->generation;
    assign.assignments = pointers;
    command.kind_case = CAIRN__COMMAND__GROUP_COMMAND__KIND_ASSIGN;
    command.assign = &assign;
    rv = coordinator_propose(c, &command, g, NULL);
out:
    free(items);
    free(pointers);
    return rv;
}

void group_save_failed(struct coordinator *c, struct live_group *g)
{
    g->dirty = true;
    deadline_set(&c->deadlines, &g->retry, c->now_ms + GROUP_SAVE_RETRY_MS);
}

void group_save(struct coordinator *c, struct live_group *g)
{
    g->change++;
    if (!g->dirty && propose_save(c, g) != 0) {
        group_save_failed(c, g);
    }
}

void group_save_assignments(struct coordinator *c, struct live_group *g)
{
    g->change++;
    if (!g->dirty && propose_assignments(c, g) != 0) {
        group_save_failed(c, g);
    }
}

void group_retry_save(struct coordinator *c, struct live_group *g)
{
    g->dirty = false;
    if (propose_save(c, g) != 0) {
        group_save_failed(c, g);
    }
}
