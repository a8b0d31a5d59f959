/* What the members of consumer groups do and are told, against what must hold: a partition has one owner in a generation;
 * what is committed was processed, is never lost, and is nobody's who was shut out. Members know only what the library
 * tells them; the ledger knows what all of them were told. */
#ifndef CAIRN_SIM_REAL_CLIENT_GROUP_H
#define CAIRN_SIM_REAL_CLIENT_GROUP_H

#include "tests/sim/oracle.h"

struct group_ledger; /* of one group */
struct group_part;   /* one partition of one topic, as the group has to do with it */

/* The ledger of @name, made at the first call. */
struct group_ledger *group_ledger(struct oracle *o, const char *name);
struct group_part *group_part(struct group_ledger *l, const struct uuid *topic, uint32_t partition);

/* @member (a number of its life) is a running program, or is none any more. */
void group_alive(struct group_ledger *l, uint64_t member, bool alive);
/* Each partition that exists has a living owner in the newest generation. False with one that has none (@why may be NULL). */
bool group_covered(struct oracle *o, struct group_ledger *l, char *why, size_t size);

/* Some member was let into @generation. */
void group_generation(struct group_ledger *l, int32_t generation);
int32_t group_generation_newest(const struct group_ledger *l);
/* @member has the partition in @generation. */
void group_owned(struct oracle *o, struct group_part *p, int32_t generation, uint64_t member);
/* Records of offsets [begin, end) were processed. */
void group_processed(struct group_part *p, int64_t begin, int64_t end);

/* A commit of @offset has begun. @generation: of the member. Returns its number. */
size_t group_commit_begun(struct group_part *p, int32_t generation, int64_t offset);
/* It was acknowledged. @once: it went out one time only, so that no other copy of it can be under way. */
void group_commit_acked(struct oracle *o, struct group_part *p, size_t number, bool once);

/* The committed offset is asked for: what the answer must hold at least. */
size_t group_asked(const struct group_part *p);
/* ... and was told; -1: nothing. @asked: what group_asked() gave before the question left. */
void group_told(struct oracle *o, struct group_part *p, size_t asked, int64_t offset);

void group_ledgers_free(struct oracle *o);

#endif
