import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/**
 * Kafka Streams, exactly once: a word count, and a join of two streams in a window; both start again without
 * their local state, which they restore from the broker.
 *
 * Called with BOOTSTRAP, NAME, a name nobody used, and FOLDER for the local state; prints a line "WHAT=RESULT" for
 * each thing it did.
 */
public class StreamsApps {
    private static final int PARTITIONS = 2;
    private static final int LINES = 50;
    private static final long PATIENCE_MS = 120_000;
    private final long firstTimestampMs = System.currentTimeMillis() - 3_600_000;

    private final String bootstrap;
    private final String name;
    private final Path folder;
    private final AtomicLong restored = new AtomicLong();

    private StreamsApps(String bootstrap, String name, Path folder) {
        this.bootstrap = bootstrap;
        this.name = name;
        this.folder = folder;
    }

    public static void main(String[] arguments) throws Exception {
        var apps = new StreamsApps(arguments[0], arguments[1], Files.createTempDirectory(Path.of(arguments[2]), "s"));
        apps.createTopics();
        apps.run();
    }

    private static void say(String what, Object result) {
        System.out.println(what + "=" + result);
    }

    private Map<String, Object> settings(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(more);
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    private void createTopics() throws Exception {
        try (var admin = Admin.create(settings(Map.of()))) {
            var topics = new ArrayList<NewTopic>();
            for (String topic : List.of("-lines", "-counts", "-left", "-right", "-joined")) {
                topics.add(new NewTopic(name + topic, PARTITIONS, (short) 1));
            }
            admin.createTopics(topics).all().get();
        }
    }

    private Topology topology() {
        var builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream(name + "-lines");
        lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count(Materialized.as("counts"))
            .toStream().mapValues(count -> Long.toString(count))
            .to(name + "-counts");
        KStream<String, String> left = builder.stream(name + "-left");
        KStream<String, String> right = builder.stream(name + "-right");
        left.join(right, (one, other) -> one + "+" + other,
                JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(10), Duration.ofDays(1)))
            .to(name + "-joined");
        return builder.build();
    }

    private KafkaStreams start() {
        var properties = new Properties();
        properties.putAll(Map.of(
            StreamsConfig.APPLICATION_ID_CONFIG, name,
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2,
            StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class,
            StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class,
            StreamsConfig.STATE_DIR_CONFIG, folder.toString(),
            StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest"));
        var streams = new KafkaStreams(topology(), properties);
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition partition, String store, long start, long end) {
            }

            @Override
            public void onBatchRestored(TopicPartition partition, String store, long end, long count) {
            }

            @Override
            public void onRestoreEnd(TopicPartition partition, String store, long total) {
                restored.addAndGet(total);
            }
        });
        streams.start();
        return streams;
    }

    private void run() throws Exception {
        publish(0);
        KafkaStreams streams = start();
        say("first.restored", restored.get());
        say("first.counts", latest("-counts", 3 * LINES));
        say("first.joined", all("-joined", LINES / 2));
        say("first.the", stored(streams, "the"));
        leave(streams);

        streams = start(); // with its local state
        publish(1);
        say("second.counts", latest("-counts", 6 * LINES));
        leave(streams);
        streams.cleanUp();

        restored.set(0);
        streams = start();
        publish(2);
        say("third.counts", latest("-counts", 9 * LINES));
        say("third.joined", all("-joined", 3 * LINES / 2));
        say("third.the", stored(streams, "the"));
        say("third.restored", restored.get() > 0);
        leave(streams);
        streams.cleanUp();
    }

    /** Its group need not wait for its session to end. */
    private static void leave(KafkaStreams streams) {
        streams.close(CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP));
    }

    /** Lines of three words each; pairs within the window, and as many outside of it. */
    private void publish(int round) throws Exception {
        try (var producer = new KafkaProducer<>(
                settings(Map.of()), new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < LINES; number++) {
                String text = "the word" + number % 5 + " number" + number % 3;
                producer.send(new ProducerRecord<>(name + "-lines", "k" + number, text));
                String key = "pair-" + round + "-" + number;
                long at = firstTimestampMs + number * 1_000L;
                long other = at + (number % 2 == 0 ? 5_000 : 50_000);
                producer.send(new ProducerRecord<>(name + "-left", null, at, key, "l" + number));
                producer.send(new ProducerRecord<>(name + "-right", null, other, key, "r" + number));
            }
        }
    }

    private interface Enough {
        boolean is(List<ConsumerRecord<String, String>> records);
    }

    private List<ConsumerRecord<String, String>> read(String topic, Enough enough) {
        var records = new ArrayList<ConsumerRecord<String, String>>();
        Map<String, Object> settings = settings(Map.of("isolation.level", "read_committed"));
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(name + topic).stream()
                .map(one -> new TopicPartition(one.topic(), one.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.currentTimeMillis() + PATIENCE_MS;
            while (!enough.is(records) && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(100)).forEach(records::add);
            }
            consumer.poll(Duration.ofMillis(300)).forEach(records::add); // what should not be there
        }
        return records;
    }

    private static TreeMap<String, Long> counts(List<ConsumerRecord<String, String>> records) {
        var counts = new TreeMap<String, Long>();
        records.forEach(record -> counts.merge(record.key(), Long.parseLong(record.value()), Math::max));
        return counts;
    }

    private Map<String, Long> latest(String topic, long total) {
        return counts(read(topic, records ->
            counts(records).values().stream().mapToLong(Long::longValue).sum() >= total));
    }

    /** How many joined pairs there are, how many of them are different, and one of them. */
    private String all(String topic, int count) {
        var records = read(topic, found -> found.size() >= count);
        var values = new TreeMap<String, String>();
        records.forEach(record -> values.put(record.key(), record.value()));
        return records.size() + " " + values.size() + " " + values.firstEntry();
    }

    private Long stored(KafkaStreams streams, String word) throws InterruptedException {
        var store = streams.store(StoreQueryParameters.fromNameAndType(
            "counts", QueryableStoreTypes.<String, Long>keyValueStore()));
        return store.get(word);
    }
}
