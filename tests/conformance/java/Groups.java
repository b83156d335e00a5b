import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own consumer with both group protocols.
 *
 * Called with BOOTSTRAP and NAME, a name nobody used; prints a line "WHAT=RESULT" for each thing it did. The
 * scenarios run side by side, as most of their time is spent waiting for heartbeats, and print in their order.
 */
public class Groups {
    private static final int PARTITIONS = 4;
    private static final int RECORDS = 40;
    private static final long PATIENCE_MS = 120_000;
    private static String bootstrap;

    private final String name;
    private final List<String> lines = new ArrayList<>();
    private final List<Member> members = new ArrayList<>();
    private final Admin admin = Admin.create(settings(Map.of()));

    private interface Action {
        void run() throws Exception;
    }

    private interface Scenario {
        void run(Groups groups) throws Exception;
    }

    private Groups(String name) throws Exception {
        this.name = name;
        admin.createTopics(List.of(new NewTopic(name, PARTITIONS, (short) 1))).all().get();
    }

    public static void main(String[] arguments) throws Exception {
        bootstrap = arguments[0];
        var scenarios = new TreeMap<String, Scenario>(Map.of(
            "assignors", Groups::chooseAssignors,
            "config", Groups::configure,
            "cooperative", Groups::cooperate,
            "migration", Groups::migrate,
            "pattern", Groups::subscribeByPattern,
            "shared", Groups::share,
            "static", Groups::keepStaticMembers,
            "growth", Groups::growTopic));
        var pool = Executors.newFixedThreadPool(scenarios.size());
        var running = new ArrayList<Future<List<String>>>();
        scenarios.forEach((key, scenario) -> running.add(pool.submit(() -> {
            var groups = new Groups(arguments[1] + "-" + key);
            try {
                scenario.run(groups);
            } catch (Throwable error) {
                error.printStackTrace();
                groups.lines.add("failed: " + error);
            }
            groups.members.forEach(Member::close);
            groups.admin.close();
            return groups.lines.stream().map(line -> key + "." + line).toList();
        })));
        for (Future<List<String>> one : running) {
            one.get().forEach(System.out::println);
        }
        pool.shutdown();
    }

    private static Map<String, Object> settings(Map<String, Object> more) {
        var settings = new HashMap<String, Object>(more);
        settings.put("bootstrap.servers", bootstrap);
        return settings;
    }

    private void say(String what, Object result) {
        lines.add(what + "=" + result);
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

    /** One consumer, what it was given and lost, and the values that it read. */
    private static class Member implements ConsumerRebalanceListener {
        final KafkaConsumer<String, String> consumer;
        final List<String> values = new ArrayList<>();
        final Set<TopicPartition> everRevoked = new HashSet<>();
        boolean isClosed;

        Member(Map<String, Object> settings) {
            this.consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            everRevoked.addAll(partitions);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        }

        void poll() {
            consumer.poll(Duration.ofMillis(30)).forEach(record -> values.add(record.value()));
        }

        int owns() {
            return consumer.assignment().size();
        }

        boolean standsAt(long offset) {
            return consumer.assignment().stream().allMatch(partition -> consumer.position(partition) == offset);
        }

        Set<Integer> partitions() {
            return consumer.assignment().stream().map(TopicPartition::partition)
                .collect(Collectors.toCollection(TreeSet::new));
        }

        void close() {
            if (!isClosed) {
                consumer.close();
                isClosed = true;
            }
        }
    }

    private Member join(String protocol, String... more) {
        var settings = settings(Map.of(
            "group.id", name, "group.protocol", protocol, "auto.offset.reset", "earliest",
            "enable.auto.commit", false));
        for (int at = 0; at < more.length; at += 2) {
            settings.put(more[at], more[at + 1]);
        }
        var member = new Member(settings);
        members.add(member);
        return member;
    }

    private Member joined(String protocol, String... more) {
        Member member = join(protocol, more);
        member.consumer.subscribe(List.of(name), member);
        return member;
    }

    /** Polls all living members until it is so. */
    private void until(BooleanSupplier isSo) {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!isSo.getAsBoolean()) {
            if (System.currentTimeMillis() > deadline) {
                throw new IllegalStateException("not in time: " + members.stream()
                    .map(member -> member.isClosed ? "closed" : member.partitions().toString()).toList());
            }
            members.stream().filter(member -> !member.isClosed).forEach(Member::poll);
        }
    }

    private void untilOwned(Member... those) {
        int[] sizes = Arrays.stream(those).mapToInt(member -> PARTITIONS / those.length).toArray();
        until(() -> Arrays.equals(Arrays.stream(those).mapToInt(Member::owns).toArray(), sizes)
            && Arrays.stream(those).flatMap(member -> member.partitions().stream()).distinct().count() == PARTITIONS);
    }

    /**
     * Until the partitions are shared out evenly and each member stands at {@code end} in all of its own. What one
     * had read and not committed, another reads again: that all was read once says nothing of it.
     */
    private void untilRead(long end, Member... those) {
        untilOwned(those);
        until(() -> Arrays.stream(those).allMatch(
            member -> member.owns() == PARTITIONS / those.length && member.standsAt(end)));
    }

    private void publish(String mark) throws Exception {
        try (var producer = new KafkaProducer<>(
                settings(Map.of()), new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < RECORDS; number++) {
                producer.send(new ProducerRecord<>(name, number % PARTITIONS, null, mark + number)).get();
            }
        }
    }

    private long distinctValues() {
        return members.stream().flatMap(member -> member.values.stream()).distinct().count();
    }

    private void untilListed(String state) {
        until(() -> {
            try {
                return listed().endsWith(state);
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        });
    }

    private ConsumerGroupDescription described() throws Exception {
        return admin.describeConsumerGroups(List.of(name)).describedGroups().get(name).get();
    }

    private String listed() throws Exception {
        return admin.listGroups().all().get().stream().filter(group -> group.groupId().equals(name))
            .map(group -> group.type().orElseThrow() + " " + group.protocol() + " " + group.groupState().orElseThrow())
            .collect(Collectors.joining());
    }

    private Set<Long> committed() throws Exception {
        return admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().values().stream()
            .map(OffsetAndMetadata::offset).collect(Collectors.toCollection(TreeSet::new));
    }

    /** Two members of the new protocol share and commit; when one leaves, the other goes on where it stopped. */
    private void share() throws Exception {
        publish("a");
        Member one = joined("consumer");
        untilOwned(one);
        say("alone", one.partitions());
        Member two = joined("consumer");
        untilOwned(one, two);
        say("revoked", one.everRevoked.size());
        untilRead(RECORDS / PARTITIONS, one, two);
        say("listed", listed());
        ConsumerGroupDescription group = described();
        say("described", group.type() + " " + group.groupState() + " " + group.partitionAssignor());
        for (MemberDescription member : group.members()) {
            say("member", member.assignment().topicPartitions().size() + " of "
                + member.targetAssignment().get().topicPartitions().size() + ", upgraded "
                + member.upgraded().get() + ", epoch is the group's "
                + (member.memberEpoch().get().equals(group.groupEpoch().get())));
        }
        say("delete", errorOf(() -> admin.deleteConsumerGroups(List.of(name)).all().get()));
        say("alter", errorOf(() -> admin.alterConsumerGroupOffsets(
            name, Map.of(new TopicPartition(name, 0), new OffsetAndMetadata(1))).all().get()));
        one.consumer.commitSync();
        two.consumer.commitSync();
        say("committed", committed());
        two.close();
        untilOwned(one);
        publish("b");
        untilRead(2 * RECORDS / PARTITIONS, one);
        say("values", distinctValues());
        one.consumer.commitSync();
        one.close();
        until(() -> errorOf(() -> admin.deleteConsumerGroupOffsets(
            name, Set.of(new TopicPartition(name, 3))).all().get()).equals("none"));
        say("empty", listed() + " " + committed());
        say("altered", errorOf(() -> admin.alterConsumerGroupOffsets(
            name, Map.of(new TopicPartition(name, 0), new OffsetAndMetadata(15))).all().get()));
        Member three = joined("consumer");
        untilOwned(three);
        until(() -> three.values.size() >= 5 + 2 * RECORDS / PARTITIONS);
        say("resumed", three.values.size());
        three.close();
        untilListed("Empty");
        say("deleted", errorOf(() -> admin.deleteConsumerGroups(List.of(name)).all().get()));
        say("gone", "[" + listed() + "] " + errorOf(this::described));
    }

    private void chooseAssignors() throws Exception {
        String other = name + "-other";
        admin.createTopics(List.of(new NewTopic(other, PARTITIONS, (short) 1))).all().get();
        for (String assignor : List.of("range", "uniform")) {
            Member one = join("consumer", "group.remote.assignor", assignor);
            Member two = join("consumer", "group.remote.assignor", assignor);
            one.consumer.subscribe(List.of(name, other), one);
            two.consumer.subscribe(List.of(name, other), two);
            until(() -> one.owns() == PARTITIONS && two.owns() == PARTITIONS);
            // Of which topics they are uniform does not promise: that depends on who came first.
            Object seen = assignor.equals("range")
                ? List.of(byTopic(one), byTopic(two)) : List.of(one.owns(), two.owns());
            say(assignor, described().partitionAssignor() + " " + seen);
            one.close();
            two.close();
        }
        Member three = join("consumer", "group.remote.assignor", "nobody's");
        three.consumer.subscribe(List.of(name), three);
        say("unknown", errorOf(() -> until(() -> three.owns() > 0)));
    }

    /** How many partitions of how many topics: names differ from run to run. */
    private static Collection<Long> byTopic(Member member) {
        return new TreeMap<>(member.consumer.assignment().stream()
            .collect(Collectors.groupingBy(TopicPartition::topic, Collectors.counting()))).values();
    }

    private void subscribeByPattern() throws Exception {
        String prefix = name + "-[ab]";
        admin.createTopics(List.of(
            new NewTopic(name + "-a", 1, (short) 1), new NewTopic(name + "-c", 1, (short) 1))).all().get();
        Member one = join("consumer");
        one.consumer.subscribe(new SubscriptionPattern(prefix), one);
        until(() -> one.owns() == 1);
        say("first", shortTopics(one));
        admin.createTopics(List.of(new NewTopic(name + "-b", 2, (short) 1))).all().get();
        until(() -> one.owns() == 3);
        say("later", shortTopics(one));
        one.consumer.subscribe(new SubscriptionPattern(name + "-c"), one);
        until(() -> shortTopics(one).equals("[-c]"));
        say("changed", shortTopics(one));
        one.consumer.subscribe(new SubscriptionPattern(prefix), one);
        until(() -> one.owns() == 3);
        admin.deleteTopics(List.of(name + "-a")).all().get();
        until(() -> one.owns() == 2);
        say("deleted", shortTopics(one));
        Member two = join("consumer");
        two.consumer.subscribe(new SubscriptionPattern("(" + prefix), two);
        say("bad", errorOf(() -> until(() -> two.owns() > 0)));
        Member three = join("consumer");
        three.consumer.subscribe(new SubscriptionPattern("(?=" + prefix + ")"), three);
        say("lookahead", errorOf(() -> until(() -> three.owns() > 0)));
    }

    private String shortTopics(Member member) {
        return member.consumer.assignment().stream().map(one -> one.topic().substring(name.length()))
            .collect(Collectors.toCollection(TreeSet::new)).toString();
    }

    private void keepStaticMembers() throws Exception {
        // Who leaves for a moment is to be waited for, however slow this machine is: as long as by default.
        var sessions = new AlterConfigOp(
            new ConfigEntry("consumer.session.timeout.ms", "45000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(
            new ConfigResource(ConfigResource.Type.GROUP, name), List.of(sessions))).all().get();
        for (String protocol : List.of("classic", "consumer")) {
            Member one = joined(protocol, "group.instance.id", "one");
            Member two = joined(protocol, "group.instance.id", "two");
            untilOwned(one, two);
            Set<Integer> owned = two.partitions();
            Set<Integer> others = one.partitions();
            two.close();
            for (int turn = 0; turn < 20; turn++) {
                one.poll();
            }
            say(protocol + ".kept", one.partitions().equals(others));
            Member again = joined(protocol, "group.instance.id", "two");
            untilOwned(one, again);
            say(protocol + ".again", again.partitions().equals(owned));
            say(protocol + ".instances", described().members().stream().map(MemberDescription::groupInstanceId)
                .map(Optional::get).collect(Collectors.toCollection(TreeSet::new)));
            Member twin = joined(protocol, "group.instance.id", "two");
            long deadline = System.currentTimeMillis() + PATIENCE_MS;
            String error = "none";
            while (error.equals("none") && System.currentTimeMillis() < deadline) {
                String ofTwin = errorOf(twin::poll);
                String ofFirst = errorOf(again::poll);
                one.poll();
                error = ofTwin.equals("none") ? ofFirst.equals("none") ? "none" : "the first: " + ofFirst
                    : "the twin: " + ofTwin;
            }
            say(protocol + ".twin", error);
            one.close();
            again.close();
            twin.close();
            admin.removeMembersFromConsumerGroup(
                name, new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions()).all().get();
            say(protocol + ".removed", described().groupState());
            members.clear();
        }
    }

    /** Cooperative rebalancing of the classic protocol: what stays is never given up. */
    private void cooperate() throws Exception {
        String assignor = CooperativeStickyAssignor.class.getName();
        publish("a");
        Member one = joined("classic", "partition.assignment.strategy", assignor);
        untilOwned(one);
        Member two = joined("classic", "partition.assignment.strategy", assignor);
        untilOwned(one, two);
        say("revoked", one.everRevoked.size());
        until(() -> distinctValues() == RECORDS);
        say("described", described().partitionAssignor() + " " + described().groupState());
        two.close();
        untilOwned(one);
        say("kept", one.everRevoked.size());
    }

    /** From the classic protocol to the new one and back, with members of both at work in between. */
    private void migrate() throws Exception {
        publish("a");
        Member old = joined("classic");
        Member older = joined("classic");
        untilRead(RECORDS / PARTITIONS, old, older);
        old.consumer.commitSync();
        older.consumer.commitSync();
        say("before", listed());
        older.close();
        Member fresh = joined("consumer");
        untilOwned(old, fresh);
        untilListed("Stable");
        say("mixed", listed());
        say("upgraded", described().members().stream()
            .map(member -> member.upgraded().get()).sorted().toList());
        publish("b");
        untilRead(2 * RECORDS / PARTITIONS, old, fresh);
        old.consumer.commitSync();
        fresh.consumer.commitSync();
        say("mixed.committed", committed());
        old.close();
        untilOwned(fresh);
        say("after", listed());
        Member back = joined("classic");
        untilOwned(fresh, back);
        untilListed("Stable");
        say("mixed.again", listed());
        publish("c");
        untilRead(3 * RECORDS / PARTITIONS, fresh, back);
        fresh.consumer.commitSync();
        back.consumer.commitSync();
        fresh.close();
        untilOwned(back);
        say("back", listed());
        say("values", distinctValues());
        say("committed", committed());
    }

    private void growTopic() throws Exception {
        Member one = joined("consumer");
        untilOwned(one);
        admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2 * PARTITIONS))).all().get();
        until(() -> one.owns() == 2 * PARTITIONS);
        say("partitions", one.partitions());
        say("revoked", one.everRevoked.size());
        admin.deleteTopics(List.of(name)).all().get();
        until(() -> one.owns() == 0);
        say("deleted", one.partitions());
    }

    private void configure() throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.GROUP, name);
        for (String change : List.of(
                "consumer.session.timeout.ms=50000", "consumer.heartbeat.interval.ms=6000",
                "consumer.session.timeout.ms=1", "consumer.session.timeout.ms=many", "nobody.knows=1")) {
            String[] words = change.split("=");
            var set = new AlterConfigOp(new ConfigEntry(words[0], words[1]), AlterConfigOp.OpType.SET);
            say(change, errorOf(() -> admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get()));
        }
        var entries = new TreeMap<String, String>();
        until(() -> {
            try { // Kafka's brokers learn of a change a moment after it is answered
                admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                    .filter(entry -> entry.name().startsWith("consumer."))
                    .forEach(entry -> entries.put(entry.name(), entry.value() + " " + entry.source()));
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
            return entries.get("consumer.heartbeat.interval.ms").startsWith("6000");
        });
        say("described", entries);
    }
}
