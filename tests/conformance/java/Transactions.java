import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;

import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own transactional producer and its admin client's calls about transactions.
 *
 * Called with BOOTSTRAP and NAME, a name nobody used; prints a line "WHAT=RESULT" for each thing it did.
 */
public class Transactions {
    private static final int PARTITIONS = 2;

    private final String bootstrap;
    private final String name;
    private final Admin admin;
    private final List<TopicPartition> partitions = new ArrayList<>();

    private Transactions(String bootstrap, String name) throws Exception {
        this.bootstrap = bootstrap;
        this.name = name;
        this.admin = Admin.create(settings(Map.of()));
        admin.createTopics(List.of(
            new NewTopic(name, PARTITIONS, (short) 1), new NewTopic(name + "-late", 1, (short) 1))).all().get();
        for (int number = 0; number < PARTITIONS; number++) {
            partitions.add(new TopicPartition(name, number));
        }
    }

    public static void main(String[] arguments) throws Exception {
        var transactions = new Transactions(arguments[0], arguments[1]);
        KafkaProducer<String, String> late = transactions.beginOneThatIsTooSlow();
        transactions.commitAndAbort();
        transactions.holdBack();
        transactions.fence();
        transactions.commitOffsets();
        transactions.refuse();
        transactions.administrate();
        transactions.findThatItWasTooSlow(late);
        transactions.admin.close();
    }

    private static void say(String what, Object result) {
        System.out.println(what + "=" + result);
    }

    private interface Action {
        void run() throws Exception;
    }

    private static String errorOf(Action action) {
        try {
            action.run();
            return "none";
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        } catch (Exception error) {
            return error.getClass().getSimpleName();
        }
    }

    private Map<String, Object> settings(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(more);
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    private KafkaProducer<String, String> producer(String id, Map<String, Object> more) {
        var settings = settings(more);
        settings.put("transactional.id", name + id);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    private KafkaProducer<String, String> initialized(String id) {
        KafkaProducer<String, String> producer = producer(id, Map.of());
        producer.initTransactions();
        return producer;
    }

    private KafkaConsumer<String, String> consumer(String isolation, Map<String, Object> more) {
        var settings = settings(more);
        settings.put("isolation.level", isolation);
        settings.put("enable.auto.commit", false);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** The values in each partition, as a consumer of this isolation level is shown them, and how far it gets. */
    private String shown(String isolation, List<TopicPartition> partitions) {
        try (var consumer = consumer(isolation, Map.of())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            var values = new TreeMap<Integer, List<String>>();
            while (partitions.stream().anyMatch(one -> consumer.position(one) < ends.get(one))) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100))) {
                    values.computeIfAbsent(record.partition(), key -> new ArrayList<>()).add(record.value());
                }
            }
            return values.values() + " up to " + partitions.stream().map(ends::get).toList();
        }
    }

    private void send(KafkaProducer<String, String> producer, int partition, String... values) {
        for (String value : values) {
            producer.send(new ProducerRecord<>(name, partition, null, value));
        }
    }

    /** What is shown when every transaction in the topic has its marker, a moment after its end was answered. */
    private void say(String what) {
        waitForMarkers(partitions);
        sayOf(what, partitions);
    }

    private void waitForMarkers(List<TopicPartition> partitions) {
        try (var stable = consumer("read_committed", Map.of()); var all = consumer("read_uncommitted", Map.of())) {
            while (!stable.endOffsets(partitions).equals(all.endOffsets(partitions))) {
                Thread.onSpinWait();
            }
        }
    }

    private void waitForState(String id, String state) throws Exception {
        long deadline = System.currentTimeMillis() + 120_000;
        while (!states(name + id).equals(state) && System.currentTimeMillis() < deadline) {
            Thread.sleep(50);
        }
    }

    private void sayOf(String what, List<TopicPartition> partitions) {
        say(what + ".committed", shown("read_committed", partitions));
        say(what + ".uncommitted", shown("read_uncommitted", partitions));
    }

    private void commitAndAbort() {
        try (var producer = initialized("-one")) {
            producer.beginTransaction();
            send(producer, 0, "a", "b");
            send(producer, 1, "c");
            producer.commitTransaction();
            say("commit");
            producer.beginTransaction();
            send(producer, 0, "aborted");
            send(producer, 1, "aborted");
            producer.flush();
            producer.abortTransaction();
            say("abort");
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
            say("empty");
            producer.beginTransaction();
            send(producer, 0, "d");
            producer.commitTransaction();
        }
        try (var producer = producer("-one", Map.of("compression.type", "lz4"))) {
            producer.initTransactions();
            producer.beginTransaction();
            send(producer, 0, "e", "f");
            producer.commitTransaction();
        }
        say("again");
    }

    /** What comes behind an open transaction is shown when that has ended, in the order of the log. */
    private void holdBack() throws Exception {
        try (var slow = initialized("-slow"); var quick = initialized("-quick")) {
            slow.beginTransaction();
            send(slow, 1, "slow");
            slow.flush();
            quick.beginTransaction();
            send(quick, 1, "quick");
            quick.commitTransaction();
            waitForState("-quick", "CompleteCommit");
            sayOf("open", partitions);
            slow.commitTransaction();
            say("ended");
        }
    }

    private void fence() {
        try (var zombie = initialized("-fenced")) {
            zombie.beginTransaction();
            send(zombie, 0, "zombie");
            zombie.flush();
            try (var successor = initialized("-fenced")) {
                say("fenced.commit", errorOf(zombie::commitTransaction));
                say("fenced.begin", errorOf(zombie::beginTransaction));
                successor.beginTransaction();
                send(successor, 0, "successor");
                successor.commitTransaction();
            }
        }
        try (var zombie = initialized("-fenced")) {
            zombie.beginTransaction();
            send(zombie, 0, "zombie");
            zombie.flush();
            try (var successor = initialized("-fenced")) {
                var sent = zombie.send(new ProducerRecord<>(name, 0, null, "zombie"));
                say("fenced.send", errorOf(sent::get));
                say("fenced.abort", errorOf(zombie::abortTransaction));
            }
        }
        say("fenced");
    }

    private long committed(String group) throws Exception {
        return committed(group, true);
    }

    private long committed(String group, boolean isStable) throws Exception {
        var options = new ListConsumerGroupOffsetsOptions().requireStable(isStable);
        OffsetAndMetadata offset = admin.listConsumerGroupOffsets(group, options)
            .partitionsToOffsetAndMetadata().get().get(partitions.get(0));
        return offset == null ? -1 : offset.offset();
    }

    private void commitOffsets() throws Exception {
        String group = name + "-group";
        Map<TopicPartition, OffsetAndMetadata> first = Map.of(partitions.get(0), new OffsetAndMetadata(2, "why"));
        try (var producer = initialized("-offsets")) {
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(first, new ConsumerGroupMetadata(group));
            producer.abortTransaction();
            say("offsets.aborted", committed(group));
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(first, new ConsumerGroupMetadata(group));
            say("offsets.open", committed(group, false));
            producer.commitTransaction();
            say("offsets.committed", committed(group));
        }
        for (String protocol : List.of("classic", "consumer")) {
            commitOffsetsOfMember(protocol);
        }
    }

    private void commitOffsetsOfMember(String protocol) throws Exception {
        String group = name + "-" + protocol;
        Map<String, Object> settings = Map.of(
            "group.id", group, "group.protocol", protocol, "auto.offset.reset", "earliest");
        try (var producer = initialized("-of-" + protocol); var consumer = consumer("read_committed", settings)) {
            consumer.subscribe(List.of(name));
            while (consumer.assignment().size() < PARTITIONS) {
                consumer.poll(Duration.ofMillis(50));
            }
            ConsumerGroupMetadata own = consumer.groupMetadata();
            producer.beginTransaction();
            producer.sendOffsetsToTransaction(Map.of(partitions.get(0), new OffsetAndMetadata(3)), own);
            producer.commitTransaction();
            say(protocol + ".offset", committed(group));
            var stale = new ConsumerGroupMetadata(group, own.generationId() + 7, own.memberId(), own.groupInstanceId());
            producer.beginTransaction();
            say(protocol + ".stale", errorOf(() -> producer.sendOffsetsToTransaction(
                Map.of(partitions.get(0), new OffsetAndMetadata(4)), stale)));
            producer.abortTransaction();
            say(protocol + ".kept", committed(group));
            var stranger = new ConsumerGroupMetadata(group, own.generationId(), "stranger", own.groupInstanceId());
            producer.beginTransaction();
            say(protocol + ".stranger", errorOf(() -> producer.sendOffsetsToTransaction(
                Map.of(partitions.get(0), new OffsetAndMetadata(5)), stranger)));
            producer.abortTransaction();
        }
    }

    private void refuse() {
        try (var producer = producer("-long", Map.of("transaction.timeout.ms", 100_000_000))) {
            say("refused.timeout", errorOf(producer::initTransactions));
        }
        try (var producer = initialized("-odd")) {
            say("refused.send", errorOf(() -> send(producer, 0, "outside")));
            producer.beginTransaction();
            say("refused.topic", errorOf(() -> producer.send(new ProducerRecord<>("a b", "x")).get()));
            say("refused.commit", errorOf(producer::commitTransaction));
            producer.abortTransaction();
            producer.beginTransaction();
            var large = new ProducerRecord<String, String>(name, 0, null, "x".repeat(1_050_000));
            say("refused.large", errorOf(() -> producer.send(large).get()));
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, 0, "g");
            producer.commitTransaction();
        }
        say("refused");
    }

    private void administrate() throws Exception {
        String id = name + "-watched";
        try (var producer = initialized("-watched")) {
            say("watched.idle", states(id));
            producer.beginTransaction();
            send(producer, 1, "watched");
            producer.flush();
            say("watched.open", states(id));
            TransactionDescription described = admin.describeTransactions(Set.of(id)).description(id).get();
            say("watched.partitions", described.topicPartitions().equals(Set.of(partitions.get(1))));
            say("watched.timeout", described.transactionTimeoutMs());
            say("watched.started", described.transactionStartTimeMs().getAsLong() > 1_600_000_000_000L);
            ProducerState active = states(partitions.get(1)).stream()
                .filter(state -> state.producerId() == described.producerId()).findFirst().orElseThrow();
            say("watched.same", active.producerEpoch() == described.producerEpoch());
            say("watched.sequence", active.lastSequence());
            say("watched.first", active.currentTransactionStartOffset().getAsLong());

            var open = new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING));
            say("listed.open", ids(open).contains(id));
            var done = new ListTransactionsOptions().filterStates(Set.of(TransactionState.COMPLETE_COMMIT));
            say("listed.done", ids(done).contains(id) + " " + ids(done).contains(name + "-one"));
            say("listed.long", ids(new ListTransactionsOptions().filterOnDuration(3_600_000)).contains(id));
            say("listed.id", ids(new ListTransactionsOptions()
                .filterProducerIds(Set.of(described.producerId()))));
            say("listed.pattern", ids(new ListTransactionsOptions()
                .filterOnTransactionalIdPattern(name + "-(q|w).*")));
            say("listed.bad", errorOf(() -> ids(new ListTransactionsOptions()
                .filterOnTransactionalIdPattern("(["))));

            var spec = new AbortTransactionSpec(
                partitions.get(1), described.producerId(), (short) described.producerEpoch(), -1);
            say("aborted.result", errorOf(() -> admin.abortTransaction(spec).all().get()));
            say("aborted.commit", errorOf(producer::commitTransaction));
        }
        try (var producer = initialized("-admin-fenced")) {
            producer.beginTransaction();
            send(producer, 1, "fenced");
            producer.flush();
            say("fence.result", errorOf(() -> admin.fenceProducers(Set.of(name + "-admin-fenced")).all().get()));
            say("fence.commit", errorOf(producer::commitTransaction));
        }
        say("unknown", errorOf(() -> admin.describeTransactions(Set.of(name + "-nobody")).all().get()));
        say("administrated");
    }

    private String states(String id) throws Exception {
        return admin.describeTransactions(Set.of(id)).description(id).get().state().toString();
    }

    private List<ProducerState> states(TopicPartition partition) throws Exception {
        return admin.describeProducers(Set.of(partition)).partitionResult(partition).get().activeProducers();
    }

    /** Of this run: without the name that they begin with. */
    private Set<String> ids(ListTransactionsOptions options) throws Exception {
        Collection<TransactionListing> all = admin.listTransactions(options).all().get();
        var ids = new TreeSet<String>();
        for (TransactionListing listing : all) {
            if (listing.transactionalId().startsWith(name)) {
                ids.add(listing.transactionalId());
            }
        }
        return new Ids(ids, name);
    }

    /** A set that prints without what differs from run to run. */
    private static class Ids extends TreeSet<String> {
        private final String name;

        Ids(Set<String> ids, String name) {
            super(ids);
            this.name = name;
        }

        @Override
        public String toString() {
            return stream().map(one -> one.substring(name.length())).toList().toString();
        }
    }

    private KafkaProducer<String, String> beginOneThatIsTooSlow() {
        KafkaProducer<String, String> producer = producer("-late", Map.of("transaction.timeout.ms", 1_000));
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(name + "-late", "too late"));
        producer.flush();
        return producer;
    }

    private void findThatItWasTooSlow(KafkaProducer<String, String> producer) throws Exception {
        waitForState("-late", "CompleteAbort");
        say("late.state", states(name + "-late"));
        say("late.commit", errorOf(producer::commitTransaction));
        producer.close();
        try (var next = initialized("-late")) {
            next.beginTransaction();
            next.send(new ProducerRecord<>(name + "-late", "in time"));
            next.commitTransaction();
        }
        List<TopicPartition> only = List.of(new TopicPartition(name + "-late", 0));
        waitForMarkers(only);
        sayOf("late", only);
    }
}
