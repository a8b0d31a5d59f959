/* Writes ten records and waits until they are durable:  producer HOST:PORT TOPIC
 *     cc producer.c $(pkg-config --cflags --libs cairn) -o producer */
#include <cairn/cairn.h>
#include <stdio.h>

static void delivered(void *arg, const struct cairn_delivery *delivery)
{
    (void)arg;
    printf("%zu record(s) of partition %d: %s, from offset %lld\n", delivery->count, delivery->partition,
           delivery->text, (long long)delivery->base_offset);
}

int main(int argc, char **argv)
{
    struct cairn_client *client;
    struct cairn_producer *producer;
    struct cairn_error error;
    int rv;

    if (argc != 3) {
        fprintf(stderr, "usage: producer HOST:PORT TOPIC\n");
        return 2;
    }
    if (cairn_client_open(argv[1], NULL, &client, &error) != 0 ||
        cairn_producer_open(client, NULL, &producer, &error) != 0) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    cairn_producer_on_delivery(producer, delivered, NULL);
    for (int i = 0; i < 10; i++) {
        char value[32];
        int size = snprintf(value, sizeof value, "hello %d", i);
        struct cairn_message message = {.topic = argv[2],
                                        .partition = CAIRN_PARTITION_ANY,
                                        .key = "greeting",
                                        .key_size = 8,
                                        .value = value,
                                        .value_size = (size_t)size};
        if (cairn_producer_send(producer, &message, &error) != 0) {
            fprintf(stderr, "%s\n", error.text);
            break;
        }
    }
    rv = cairn_producer_flush(producer, 10000, &error);
    if (rv != 0) {
        fprintf(stderr, "%s\n", error.text);
    }
    cairn_producer_close(producer, 0);
    cairn_client_close(client);
    return rv == 0 ? 0 : 1;
}
