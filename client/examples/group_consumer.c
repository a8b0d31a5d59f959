/* Reads topics as a member of a consumer group: start it more than once, and the members share the partitions.
 *     cc group_consumer.c $(pkg-config --cflags --libs cairn) -o group_consumer
 *     ./group_consumer 127.0.0.1:7400 my-group orders payments */
#include <cairn/cairn.h>
#include <signal.h>
#include <stdio.h>

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void on_rebalance(void *arg, struct cairn_consumer *consumer, enum cairn_rebalance what,
                         const struct cairn_topic_partition *partitions, size_t count)
{
    const char *word = what == CAIRN_REBALANCE_ASSIGNED ? "got" : what == CAIRN_REBALANCE_REVOKED ? "gave" : "lost";

    (void)arg;
    (void)consumer;
    fprintf(stderr, "%s %zu partitions\n", word, count);
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "  %s %d at %lld\n", partitions[i].topic, partitions[i].partition,
                (long long)partitions[i].offset);
    }
}

static int consume(struct cairn_consumer *consumer, struct cairn_error *error)
{
    struct cairn_records *records;
    struct cairn_record record;

    while (!stopping) {
        int rv = cairn_consumer_poll(consumer, 500, &records, error);

        if (rv != 0 && !cairn_error_retriable(rv)) {
            return rv;
        }
        while (rv == 0 && records != NULL && cairn_records_next(records, &record)) {
            printf("%s %d %lld %.*s\n", cairn_records_topic(records), cairn_records_partition(records),
                   (long long)record.offset, (int)record.value_size, (const char *)record.value);
        }
        fflush(stdout);
        /* What was printed is committed by itself once poll is called again. */
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct cairn_options *options = cairn_options_new();
    struct cairn_consumer *consumer = NULL;
    struct cairn_client *client = NULL;
    struct cairn_error error;
    int rv;

    if (argc < 4) {
        fprintf(stderr, "usage: %s HOST:PORT GROUP TOPIC...\n", argv[0]);
        return 2;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    cairn_options_set(options, "group_id", argv[2]);
    rv = cairn_client_open(argv[1], NULL, &client, &error);
    rv = rv == 0 ? cairn_consumer_open(client, options, &consumer, &error) : rv;
    if (rv == 0) {
        cairn_consumer_on_rebalance(consumer, on_rebalance, NULL);
        rv = cairn_consumer_subscribe(consumer, (const char *const *)(argv + 3), (size_t)argc - 3, &error);
    }
    rv = rv == 0 ? consume(consumer, &error) : rv;
    if (rv != 0) {
        fprintf(stderr, "%s\n", error.text);
    }
    cairn_consumer_close(consumer);
    cairn_client_close(client);
    cairn_options_free(options);
    return rv == 0 ? 0 : 1;
}
