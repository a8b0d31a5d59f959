// The Java client of Apache Kafka, behind the commands of README.md.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Client {
    private static final int KEYS = 23;
    private static final String PADDING = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(3);
    private static volatile boolean stop;

    private static synchronized void say(String json) {
        System.out.println("{" + json + "}");
        System.out.flush();
    }

    private static String quote(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + "\"";
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String hex(byte[] data) {
        StringBuilder out = new StringBuilder();
        for (byte b : data) {
            out.append(String.format("%02x", b));
        }
        return out.toString();
    }

    private static Properties common(Map<String, String> a) {
        Properties p = new Properties();
        p.put("bootstrap.servers", a.get("bootstrap"));
        return p;
    }

    private static void produce(Map<String, String> a) throws InterruptedException {
        Properties p = common(a);
        p.put("key.serializer", ByteArraySerializer.class);
        p.put("value.serializer", ByteArraySerializer.class);
        p.put("compression.type", a.get("codec"));
        p.put("linger.ms", "5");
        p.put("delivery.timeout.ms", "90000");
        p.put("request.timeout.ms", "10000");
        long first = Long.parseLong(a.get("first"));
        long count = Long.parseLong(a.get("count"));
        double rate = Double.parseDouble(a.get("rate"));
        long begin = System.nanoTime();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            for (long n = 0; n < count && !stop; n++) {
                long i = first + n;
                ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(
                    a.get("topic"), bytes("k" + i % KEYS), bytes(i + ":" + PADDING.substring(0, (int) (i % 100))));
                r.headers().add("n", bytes("" + i)).add("bytes", new byte[] {0, (byte) 0xff, (byte) 0x80});
                producer.send(r, (m, e) -> {
                    if (e != null) {
                        say("\"error\":" + quote(e.toString()) + ",\"i\":" + i);
                    } else {
                        say("\"ack\":" + i + ",\"p\":" + m.partition() + ",\"o\":" + m.offset());
                    }
                });
                while (rate > 0 && (System.nanoTime() - begin) / 1e9 < n / rate) {
                    Thread.sleep(2);
                }
            }
            producer.flush();
        }
        say("\"unsent\":0");
    }

    private static String partitions(Collection<TopicPartition> all) {
        List<Integer> out = new ArrayList<>();
        all.forEach(tp -> out.add(tp.partition()));
        out.sort(null);
        return out.toString();
    }

    /** CLOCK_MONOTONIC, as in the other programs. */
    private static String now() {
        return ",\"t\":" + System.nanoTime() / 1e9;
    }

    /** What was said; what is refused stays in @uncommitted, and is said. */
    private static void commit(KafkaConsumer<?, ?> consumer, Map<TopicPartition, OffsetAndMetadata> uncommitted) {
        if (uncommitted.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(uncommitted);
        } catch (KafkaException e) {
            say("\"commit\":" + quote(e.toString()));
            return;
        }
        List<String> all = new ArrayList<>();
        uncommitted.forEach((tp, o) -> all.add("\"" + tp.partition() + "\":" + o.offset()));
        say("\"committed\":{" + String.join(",", all) + "}" + now());
        uncommitted.clear();
    }

    private static void consume(Map<String, String> a) throws InterruptedException {
        Properties p = common(a);
        p.put("key.deserializer", ByteArrayDeserializer.class);
        p.put("value.deserializer", ByteArrayDeserializer.class);
        p.put("group.id", a.get("group"));
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("session.timeout.ms", "15000");
        p.put("heartbeat.interval.ms", "500");
        if (!a.get("instance").isEmpty()) {
            p.put("group.instance.id", a.get("instance"));
            p.put("session.timeout.ms", "120000"); // it must outlive the start of its successor
        }
        long count = Long.parseLong(a.get("count"));
        long seen = 0;
        Map<TopicPartition, OffsetAndMetadata> uncommitted = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            consumer.subscribe(List.of(a.get("topic")), new ConsumerRebalanceListener() {
                @Override public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                    commit(consumer, uncommitted);
                    uncommitted.clear();
                    say("\"revoked\":" + partitions(revoked));
                }

                @Override public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                    say("\"assigned\":" + partitions(assigned) + now());
                }
            });
            while (!stop && (count == 0 || seen < count)) {
                ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
                for (ConsumerRecord<byte[], byte[]> r : records) {
                    StringBuilder headers = new StringBuilder();
                    for (Header h : r.headers()) {
                        headers.append(headers.length() > 0 ? "," : "")
                            .append("[").append(quote(h.key())).append(",").append(quote(hex(h.value()))).append("]");
                    }
                    say("\"p\":" + r.partition() + ",\"o\":" + r.offset() + ",\"k\":" + quote(new String(r.key()))
                        + ",\"v\":" + quote(new String(r.value())) + ",\"h\":[" + headers + "]");
                    uncommitted.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                    seen++;
                }
                commit(consumer, uncommitted);
            }
        }
    }

    private static void offsets(Map<String, String> a) throws Exception {
        Properties p = common(a);
        p.put("key.deserializer", ByteArrayDeserializer.class);
        p.put("value.deserializer", ByteArrayDeserializer.class);
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            Map<TopicPartition, Long> times = new HashMap<>();
            consumer.partitionsFor(a.get("topic")).forEach(
                i -> times.put(new TopicPartition(i.topic(), i.partition()), Long.parseLong(a.get("time_ms"))));
            Map<TopicPartition, Long> low = consumer.beginningOffsets(times.keySet());
            Map<TopicPartition, Long> high = consumer.endOffsets(times.keySet());
            Map<TopicPartition, OffsetAndTimestamp> at = consumer.offsetsForTimes(times);
            Map<Integer, String> out = new TreeMap<>();
            for (TopicPartition tp : times.keySet()) {
                long offset = at.get(tp) == null ? high.get(tp) : at.get(tp).offset();
                out.put(tp.partition(), "\"low\":" + low.get(tp) + ",\"high\":" + high.get(tp) + ",\"at\":" + offset);
            }
            out.forEach((partition, text) -> say("\"p\":" + partition + "," + text));
        }
    }

    private static Config configs(Admin admin, ConfigResource r) throws Exception {
        return admin.describeConfigs(List.of(r)).all().get().get(r);
    }

    private static void admin(Map<String, String> a) throws Exception {
        String topic = a.get("topic");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = Admin.create(common(a))) {
            NewTopic wanted = new NewTopic(topic, 3, (short) 3).configs(Map.of("retention.ms", "3600000"));
            admin.createTopics(List.of(wanted)).all().get();
            say("\"created\":true");
            try {
                admin.createTopics(List.of(wanted)).all().get();
                say("\"created_twice\":true");
            } catch (ExecutionException e) {
                boolean exists = e.getCause() instanceof org.apache.kafka.common.errors.TopicExistsException;
                say("\"again\":" + quote(exists ? "TOPIC_ALREADY_EXISTS" : e.toString()));
            }
            Config before = configs(admin, resource);
            say("\"retention\":" + quote(before.get("retention.ms").value()) + ",\"cleanup\":"
                + quote(before.get("cleanup.policy").value()));
            admin.incrementalAlterConfigs(Map.of(resource, List.of(
                new AlterConfigOp(new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET)))).all().get();
            say("\"retention_after\":" + quote(configs(admin, resource).get("retention.ms").value()));
            String broker = admin.describeCluster().nodes().get().iterator().next().idString();
            say("\"broker_configs\":"
                + configs(admin, new ConfigResource(ConfigResource.Type.BROKER, broker)).entries().size());
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            int partitions = 0;
            for (int i = 0; i < 300 && partitions != 5; i++) {
                partitions = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
                Thread.sleep(100);
            }
            say("\"partitions\":" + partitions);
            admin.deleteTopics(List.of(topic)).all().get();
            boolean there = true;
            for (int i = 0; i < 300 && there; i++) {
                there = admin.listTopics().names().get().contains(topic);
                Thread.sleep(100);
            }
            say("\"there\":" + there);
        }
    }

    public static void main(String[] args) {
        Map<String, String> a = new HashMap<>();
        for (int i = 1; i < args.length; i++) {
            int at = args[i].indexOf('=');
            a.put(args[i].substring(0, at), args[i].substring(at + 1));
        }
        int status = 0;
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stop = true;
            try {
                main.join(120000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        try {
            switch (args[0]) {
                case "produce" -> produce(a);
                case "consume" -> consume(a);
                case "offsets" -> offsets(a);
                case "admin" -> admin(a);
                default -> say("\"version\":" + quote(org.apache.kafka.common.utils.AppInfoParser.getVersion()));
            }
        } catch (Exception e) {
            say("\"failed\":" + quote(e.toString()));
            status = 1;
        }
        Runtime.getRuntime().halt(status);
    }
}
