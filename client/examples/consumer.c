/* Prints the first records of a partition:  consumer HOST:PORT TOPIC PARTITION COUNT
 *     cc consumer.c $(pkg-config --cflags --libs cairn) -o consumer */
#include <cairn/cairn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct cairn_client *client;
    struct cairn_consumer *consumer;
    struct cairn_records *records;
    struct cairn_record record;
    struct cairn_error error;
    long left;
    int rv;

    if (argc != 5) {
        fprintf(stderr, "usage: consumer HOST:PORT TOPIC PARTITION COUNT\n");
        return 2;
    }
    left = atol(argv[4]);
    if (cairn_client_open(argv[1], NULL, &client, &error) != 0 ||
        cairn_consumer_open(client, NULL, &consumer, &error) != 0 ||
        cairn_consumer_assign(consumer, argv[2], atoi(argv[3]), CAIRN_OFFSET_EARLIEST, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    do {
        rv = cairn_consumer_poll(consumer, 5000, &records, &error);
        if (rv != 0) {
            fprintf(stderr, "%s\n", error.text);
        }
        while (rv == 0 && records != NULL && left > 0 && cairn_records_next(records, &record)) {
            printf("%lld %.*s\n", (long long)record.offset, (int)record.value_size, (const char *)record.value);
            left--;
        }
    } while (rv == 0 && records != NULL && left > 0);
    cairn_consumer_close(consumer);
    cairn_client_close(client);
    return rv == 0 ? 0 : 1;
}
