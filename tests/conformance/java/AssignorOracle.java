import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/**
 * Answers what Apache Kafka's own server-side assignors make of a group.
 *
 * A line in is "ASSIGNOR COUNTS MEMBER...", a line out is "MEMBER=TARGET ..." or "error WHY". COUNTS are the
 * partitions of topics 0, 1, ... ("3,0,12,"); a MEMBER is "id;instance;topics;target", a target "0:1,2/3:0".
 */
public class AssignorOracle {
    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String answer;
            try {
                answer = assign(line.split(" "));
            } catch (RuntimeException error) {
                answer = "error " + error.toString().replace('\n', ' ');
            }
            System.out.println(answer);
        }
    }

    private static String assign(String[] words) {
        ConsumerGroupPartitionAssignor assignor =
            words[0].equals("range") ? new RangeAssignor() : new UniformAssignor();
        int[] counts = numbers(words[1]);
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new HashMap<>();
        Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
        Set<Set<Uuid>> subscriptions = new HashSet<>();
        for (int i = 2; i < words.length; i++) {
            String[] parts = words[i].split(";", -1);
            Set<Uuid> topics = new HashSet<>();
            for (int topic : numbers(parts[2])) topics.add(new Uuid(0, topic));
            subscriptions.add(topics);
            Map<Uuid, Set<Integer>> target = new HashMap<>();
            for (String one : parts[3].isEmpty() ? new String[0] : parts[3].split("/")) {
                Uuid topic = new Uuid(0, Integer.parseInt(one.split(":")[0]));
                for (int partition : numbers(one.split(":")[1])) {
                    target.computeIfAbsent(topic, __ -> new HashSet<>()).add(partition);
                    owners.computeIfAbsent(topic, __ -> new HashMap<>()).put(partition, parts[0]);
                }
            }
            Optional<String> instance = parts[1].isEmpty() ? Optional.empty() : Optional.of(parts[1]);
            members.put(parts[0], new MemberSubscriptionAndAssignmentImpl(
                Optional.empty(), instance, topics, new Assignment(Collections.unmodifiableMap(target))));
        }
        SubscriptionType type =
            subscriptions.size() <= 1 ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        var found = assignor.assign(new GroupSpecImpl(members, type, owners), new SubscribedTopicDescriber() {
            public int numPartitions(Uuid topic) {
                return counts[(int) topic.getLeastSignificantBits()];
            }
            public Set<String> racksForPartition(Uuid topic, int partition) {
                return Set.of();
            }
        });
        StringBuilder answer = new StringBuilder();
        new TreeMap<>(found.members()).forEach((id, assignment) -> {
            answer.append(answer.length() == 0 ? "" : " ").append(id).append('=');
            String[] between = {""};
            assignment.partitions().forEach((topic, partitions) -> {
                answer.append(between[0]).append(topic.getLeastSignificantBits()).append(':');
                String[] comma = {""};
                for (int partition : new TreeSet<>(partitions)) {
                    answer.append(comma[0]).append(partition);
                    comma[0] = ",";
                }
                between[0] = "/";
            });
        });
        return answer.toString();
    }

    private static int[] numbers(String text) {
        if (text.isEmpty()) return new int[0];
        String[] words = text.split(",");
        int[] found = new int[words.length];
        for (int i = 0; i < words.length; i++) found[i] = Integer.parseInt(words[i]);
        return found;
    }
}
