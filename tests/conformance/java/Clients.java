import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own producer, consumer and admin client, their settings left alone but for the one under test.
 *
 * Called with BOOTSTRAP and NAME, a name nobody used; prints a line "WHAT=RESULT" for each thing it did.
 */
public class Clients {
    private static final long FIRST_TIMESTAMP_MS = 1_700_000_000_000L;
    private static final int RECORDS = 300;
    private static final int PARTITIONS = 4;

    private final String bootstrap;
    private final String name;
    private final Admin admin;

    private Clients(String bootstrap, String name) {
        this.bootstrap = bootstrap;
        this.name = name;
        this.admin = Admin.create(settings(Map.of()));
    }

    public static void main(String[] arguments) throws Exception {
        var clients = new Clients(arguments[0], arguments[1]);
        clients.createTopics();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            clients.produce(codec);
        }
        clients.consumeAlone();
        clients.consumeAsGroup();
        clients.administrate();
        clients.admin.close();
    }

    private static void say(String what, Object result) {
        System.out.println(what + "=" + result);
    }

    private static String errorOf(Future<?> future) throws InterruptedException {
        try {
            future.get();
            return "none";
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        }
    }

    private Map<String, Object> settings(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(more);
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    private KafkaConsumer<String, String> consumer(Map<String, Object> more) {
        return new KafkaConsumer<>(settings(more), new StringDeserializer(), new StringDeserializer());
    }

    private void createTopics() throws Exception {
        var topic = new NewTopic(name, Optional.of(PARTITIONS), Optional.empty());
        var wanted = topic.configs(Map.of("retention.ms", "-1"));
        say("create.dry", errorOf(admin.createTopics(
            List.of(wanted), new CreateTopicsOptions().validateOnly(true)).all()));
        var created = admin.createTopics(List.of(wanted));
        say("create.partitions", created.numPartitions(name).get());
        say("create.replication", created.replicationFactor(name).get());
        say("create.retention", created.config(name).get().get("retention.ms").value());
        say("create.again", errorOf(admin.createTopics(List.of(wanted)).all()));
        say("create.replicas", errorOf(admin.createTopics(
            List.of(new NewTopic(name + "-2", 1, (short) 3))).all()));
        say("create.config", errorOf(admin.createTopics(
            List.of(new NewTopic(name + "-2", 1, (short) 1).configs(Map.of("retention.ms", "x")))).all()));
        say("create.name", errorOf(admin.createTopics(List.of(new NewTopic("a b", 1, (short) 1))).all()));
    }

    private void produce(String codec) throws Exception {
        var settings = settings(Map.of("compression.type", codec));
        var sent = new ArrayList<Future<RecordMetadata>>();
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < RECORDS; number++) {
                var record = new ProducerRecord<>(
                    name, number % PARTITIONS, FIRST_TIMESTAMP_MS + number, codec, codec + number);
                record.headers().add(new RecordHeader("number", Integer.toString(number).getBytes()));
                record.headers().add(new RecordHeader("none", null));
                sent.add(producer.send(record));
            }
            producer.flush();
        }
        var offsets = new TreeMap<Integer, Set<Long>>();
        for (Future<RecordMetadata> one : sent) {
            RecordMetadata metadata = one.get();
            offsets.computeIfAbsent(metadata.partition(), key -> new TreeSet<>()).add(metadata.offset());
        }
        say("produce." + codec, offsets.values().stream().map(Set::size).toList());
    }

    /** Reads by assignment: all of it, from a position, from a time. */
    private void consumeAlone() {
        try (var consumer = consumer(Map.of())) {
            List<TopicPartition> partitions = consumer.partitionsFor(name).stream()
                .map(info -> new TopicPartition(info.topic(), info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            var seen = new ArrayList<ConsumerRecord<String, String>>();
            while (seen.size() < 5 * RECORDS) {
                consumer.poll(Duration.ofSeconds(1)).forEach(seen::add);
            }
            say("alone.values", seen.stream().map(ConsumerRecord::value).distinct().count());
            say("alone.intact", seen.stream().allMatch(Clients::isIntact));
            say("alone.ordered", partitions.stream().allMatch(partition -> isOrdered(seen, partition)));
            say("alone.ends", new TreeSet<>(consumer.endOffsets(partitions).values()));

            var first = new TopicPartition(name, 0);
            consumer.assign(List.of(first));
            consumer.seek(first, 80);
            var next = consumer.poll(Duration.ofSeconds(60)).records(first).get(0);
            say("alone.seek", next.offset() + " " + next.value());
            var times = consumer.offsetsForTimes(Map.of(first, FIRST_TIMESTAMP_MS + 41));
            say("alone.time", times.get(first).offset() + " " + times.get(first).timestamp());
            var late = consumer.offsetsForTimes(Map.of(first, FIRST_TIMESTAMP_MS + RECORDS));
            say("alone.late", late.get(first));
        }
    }

    private static boolean isIntact(ConsumerRecord<String, String> record) {
        String number = new String(record.headers().lastHeader("number").value(), StandardCharsets.UTF_8);
        return record.value().equals(record.key() + number)
            && record.headers().lastHeader("none").value() == null
            && record.timestamp() == FIRST_TIMESTAMP_MS + Integer.parseInt(number);
    }

    private static boolean isOrdered(List<ConsumerRecord<String, String>> seen, TopicPartition partition) {
        List<Long> offsets = seen.stream().filter(record -> record.partition() == partition.partition())
            .map(ConsumerRecord::offset).toList();
        return offsets.equals(offsets.stream().sorted().distinct().toList());
    }

    /** Two members share the partitions; when one leaves, the other goes on where it stopped. */
    private void consumeAsGroup() throws Exception {
        Map<String, Object> settings = Map.of("group.id", name, "auto.offset.reset", "earliest");
        var values = new HashSet<String>();
        var one = consumer(settings);
        one.subscribe(List.of(name));
        while (one.assignment().size() < PARTITIONS) {
            poll(one, values);
        }
        say("group.alone", one.assignment().size());
        var two = consumer(settings);
        two.subscribe(List.of(name));
        while (one.assignment().size() != 2 || two.assignment().size() != 2) {
            poll(one, values);
            poll(two, values);
        }
        var both = new HashSet<>(one.assignment());
        both.addAll(two.assignment());
        say("group.shared", both.size());
        var members = admin.describeConsumerGroups(List.of(name)).describedGroups().get(name).get();
        say("group.state", members.groupState() + " " + members.members().size());
        say("group.delete", errorOf(admin.deleteConsumerGroups(List.of(name)).all()));
        while (values.size() < 5 * RECORDS || !isAtEnd(one) || !isAtEnd(two)) { // what moved may be read again
            poll(one, values);
            poll(two, values);
        }
        one.commitSync();
        two.commitSync();
        two.close();
        while (one.assignment().size() < PARTITIONS) {
            poll(one, values);
        }
        say("group.values", values.size());
        say("group.repeated", one.poll(Duration.ofMillis(300)).count());
        say("group.committed", one.committed(one.assignment()).values().stream()
            .map(OffsetAndMetadata::offset).collect(Collectors.toCollection(TreeSet::new)));
        one.close();
    }

    private static boolean isAtEnd(KafkaConsumer<String, String> consumer) {
        long end = 5 * RECORDS / PARTITIONS;
        return !consumer.assignment().isEmpty()
            && consumer.assignment().stream().allMatch(partition -> consumer.position(partition) == end);
    }

    private static void poll(KafkaConsumer<String, String> consumer, Set<String> values) {
        consumer.poll(Duration.ofMillis(50)).forEach(record -> values.add(record.value()));
    }

    private void administrate() throws Exception {
        var first = new TopicPartition(name, 0);
        var cluster = admin.describeCluster();
        say("cluster.nodes", cluster.nodes().get().size());
        say("cluster.controller", cluster.controller().get().id() == cluster.nodes().get().iterator().next().id());
        say("cluster.id", cluster.clusterId().get().length());

        TopicDescription topic = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
        var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(topic.topicId())));
        say("topic.by_id", byId.allTopicIds().get().get(topic.topicId()).name().equals(name));
        say("topic.listed", admin.listTopics().names().get().contains(name));
        say("topic.unknown", errorOf(admin.describeTopics(List.of(name + "-2")).allTopicNames()));
        say("topic.unknown_id", errorOf(
            admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds()));
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(PARTITIONS + 1))).all().get();
        say("topic.fewer", errorOf(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(1))).all()));

        var resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
        var change = new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        var entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("max.message.bytes");
        say("config.changed", entry.value() + " " + entry.source());

        say("offsets.earliest", offset(first, OffsetSpec.earliest()));
        say("offsets.latest", offset(first, OffsetSpec.latest()));
        say("offsets.time", offset(first, OffsetSpec.forTimestamp(FIRST_TIMESTAMP_MS + 1)));
        say("offsets.newest", offset(first, OffsetSpec.maxTimestamp()));

        var deleted = admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(100)));
        say("records.low", deleted.lowWatermarks().get(first).get().lowWatermark());
        say("records.earliest", offset(first, OffsetSpec.earliest()));
        say("records.beyond", errorOf(
            admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(10_000))).all()));
        say("records.size", admin.describeLogDirs(List.of(cluster.nodes().get().iterator().next().id()))
            .allDescriptions().get().values().iterator().next().values().iterator().next()
            .replicaInfos().get(first).size() > 0);

        say("groups.listed", admin.listGroups().all().get().stream()
            .filter(group -> group.groupId().equals(name)).map(Clients::described).toList());
        admin.alterConsumerGroupOffsets(name, Map.of(first, new OffsetAndMetadata(150, "why"))).all().get();
        say("groups.altered", admin.listConsumerGroupOffsets(name)
            .partitionsToOffsetAndMetadata().get().get(first).metadata());
        say("groups.forgotten", errorOf(admin.deleteConsumerGroupOffsets(name, Set.of(first)).all()));
        say("groups.deleted", errorOf(admin.deleteConsumerGroups(List.of(name)).all()));
        say("groups.unknown", errorOf(admin.deleteConsumerGroups(List.of(name)).all()));

        KafkaFuture<Void> gone = admin.deleteTopics(TopicCollection.ofTopicIds(List.of(topic.topicId()))).all();
        say("topic.deleted", errorOf(gone));
        say("topic.left", admin.listTopics().names().get().contains(name));
    }

    private static String described(GroupListing group) {
        return group.type().orElseThrow() + " " + group.protocol() + " " + group.groupState().orElseThrow();
    }

    private long offset(TopicPartition partition, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get().offset();
    }
}
