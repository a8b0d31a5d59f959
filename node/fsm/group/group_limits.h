/* The limits of consumer groups, each with its unit. At a limit the answer is an error, never a larger buffer. */
#ifndef CAIRN_FSM_GROUP_LIMITS_H
#define CAIRN_FSM_GROUP_LIMITS_H

#define GROUP_COMMAND_VERSION 1 /* newest that this program knows */
#define GROUP_NAME_MAX 249      /* bytes: group ids, protocol types and names, instance and client ids, hosts */
#define GROUP_MEMBER_ID_MAX 320 /* bytes: client or instance id (cut), '-', a uuid */
#define GROUP_GROUPS_MAX 20000u /* consumer groups that one coordinator keeps */
#define GROUP_MEMBERS_MAX 2000u /* members, and as many pending, in a group */
#define GROUP_PROTOCOLS_MAX 64u /* a member */
#define GROUP_SUBSCRIPTIONS_MAX (6u << 20) /* bytes of all members' subscriptions and names in a group */
#define GROUP_ASSIGNMENTS_MAX                                                                                          \
    (6u << 20)                          /* bytes of a generation's assignments; with the above below an entry's limit */
#define GROUP_OFFSETS_MAX 200000u       /* committed offsets in a group */
#define GROUP_COMMIT_OFFSETS_MAX 20000u /* in one request */
#define GROUP_COMMIT_METADATA_MAX 4096u /* bytes with one offset (Kafka's offset.metadata.max.bytes) */
#define GROUP_COMMIT_BYTES_MAX (4u << 20) /* metadata in one request */
#define GROUP_EXPIRE_SPARED_MAX 10000u    /* groups named in one expiry; with more, the expiry waits */

#define GROUP_SESSION_TIMEOUT_MIN_MS 6000       /* group.min.session.timeout.ms */
#define GROUP_SESSION_TIMEOUT_MAX_MS 1800000    /* group.max.session.timeout.ms */
#define GROUP_REBALANCE_TIMEOUT_MAX_MS 86400000 /* what a member may ask for; more is cut */
#define GROUP_INITIAL_DELAY_MS 3000             /* group.initial.rebalance.delay.ms */
#define GROUP_NEW_MEMBER_JOIN_MS 300000         /* a first join is parked no longer: its client may be gone */
#define GROUP_OFFSET_RETENTION_MS (7LL * 24 * 3600 * 1000) /* offsets.retention.minutes */
#define GROUP_EXPIRE_EVERY_MS 600000                       /* offsets.retention.check.interval.ms */
#define GROUP_SAVE_RETRY_MS 50                             /* after a save that was refused for want of room */

#endif
