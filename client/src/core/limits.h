/* Every limit of the client in one place, named with its unit. */
#ifndef CAIRN_CLIENT_LIMITS_H
#define CAIRN_CLIENT_LIMITS_H

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

#define CLIENT_ADDRESS_SIZE 264       /* bytes of HOST:PORT with its NUL */
#define CLIENT_BOOTSTRAP_MAX 64       /* addresses */
#define CLIENT_NODES_MAX 4096         /* nodes of a cluster that we keep in mind */
#define CLIENT_TOPIC_NAME_MAX 249     /* bytes */
#define CLIENT_PARTITIONS_MAX 1000000 /* of a topic, in an answer that we believe */

#define CONN_IOV_MAX 512              /* pieces of one send: below IOV_MAX */
#define CONN_REQUESTS_MAX 128         /* unanswered requests of one connection */
#define CONN_CONNECT_TIMEOUT_MS 1000  /* default */
#define CONN_REQUEST_TIMEOUT_MS 5000  /* default */
#define CONN_RETRY_MIN_MS 50          /* first wait before connecting again */
#define CONN_RETRY_MAX_MS 1000        /* longest */
#define CONN_SILENCE_MS 600           /* a node that owes an answer this long: ask others who leads */
#define CONN_BOOTSTRAP_STAGGER_MS 250 /* until the next bootstrap address is tried side by side */
#define CONN_BOOTSTRAP_PARALLEL_MAX 3 /* connections in the making */
#define CLIENT_TICK_MS 100            /* how often timeouts are looked at */

#define META_RETRY_MIN_MS 50  /* between refreshes */
#define META_RETRY_MAX_MS 200 /* between refreshes while something is missing */
#define META_MAX_AGE_MS 60000 /* default */

#define CALL_ATTEMPT_TIMEOUT_MS 1000 /* of a repeatable call; then another node is asked */
#define CALL_PARKED_TIMEOUT_MS 10000 /* of an attempt whose answer may wait for others */
#define CALL_RETRY_MIN_MS 30
#define CALL_RETRY_MAX_MS 500

#define PRODUCER_IN_FLIGHT_MAX 5                /* batches a partition: what a partition remembers for dedup */
#define PRODUCER_ARENA_MIN_BYTES (8u << 10)     /* first memory of a batch */
#define PRODUCER_BATCH_SIZE_BYTES (256u << 10)  /* default */
#define PRODUCER_BUFFER_MAX_BYTES (64ull << 20) /* default */
#define PRODUCER_LINGER_MS 5                    /* default */
#define PRODUCER_MAX_BLOCK_MS 60000             /* default */
#define PRODUCER_DELIVERY_TIMEOUT_MS 30000      /* default; below the expiry of the partitions' producer state */
#define PRODUCER_REQUEST_PARTITIONS_MAX 512     /* batches in one request */
#define PRODUCER_REQUEST_BYTES_MAX (8u << 20)   /* of batches in one request, unless it is a single one */
#define PRODUCER_REQUEST_WAIT_MS                                                                                       \
    1500 /* then the node tells how it stands: one slow partition must not hold the rest                               \
          */
#define PRODUCER_RETRY_MIN_MS 10
#define PRODUCER_RETRY_MAX_MS 500
#define PRODUCER_HEADERS_MAX 1024     /* headers of one record */
#define PRODUCER_FREE_BATCHES_MAX 256 /* kept for reuse */

#define CONSUMER_FETCH_MAX_BYTES (2u << 20)      /* default: of one answer for one partition */
#define CONSUMER_PREFETCH_MAX_BYTES (8ull << 20) /* default: of one partition */
#define CONSUMER_FETCH_WAIT_MS 500               /* default */
#define CONSUMER_REQUEST_PARTITIONS_MAX 512
#define CONSUMER_REQUEST_BYTES_MAX (32u << 20)
#define CONSUMER_RETRY_MIN_MS 10
#define CONSUMER_RETRY_MAX_MS 500
#define CONSUMER_EMPTY_RETRY_MS 5 /* an empty answer that came sooner than asked for */

#define MEMBERSHIP_ID_MAX 255                  /* bytes of a group's or an instance's name */
#define MEMBERSHIP_MEMBER_ID_SIZE 512          /* bytes, NUL included */
#define MEMBERSHIP_TOPICS_MAX 10000            /* that a consumer subscribes to */
#define MEMBERSHIP_MEMBERS_MAX 10000           /* that a group's leader assigns to */
#define MEMBERSHIP_COMMITS_MAX 1000            /* unanswered commits of one consumer */
#define MEMBERSHIP_SESSION_TIMEOUT_MS 45000    /* default */
#define MEMBERSHIP_HEARTBEAT_INTERVAL_MS 3000  /* default */
#define MEMBERSHIP_MAX_POLL_INTERVAL_MS 300000 /* default */
#define MEMBERSHIP_COMMIT_INTERVAL_MS 5000     /* default, of automatic commits */
#define MEMBERSHIP_CALL_TIMEOUT_MS 30000       /* of commits nobody waits for, and of offsets to begin at; then again */
#define MEMBERSHIP_TOPICS_WAIT_MS 3000         /* how long the leader waits to know the topics that it assigns */
#define MEMBERSHIP_RETRY_MIN_MS 50
#define MEMBERSHIP_RETRY_MAX_MS 1000

#endif
