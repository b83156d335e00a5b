import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Copies a topic to another one, partition by partition, exactly once, until it is killed.
 *
 * Called with BOOTSTRAP, NAME (its group and its transactional id), SOURCE, TARGET and the group PROTOCOL. Every
 * fourth transaction is aborted on purpose and done again.
 */
public class Copier {
    private static final int RECORDS_PER_TRANSACTION = 20;

    private final Map<String, Object> settings = new HashMap<>();
    private final String target;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private KafkaProducer<byte[], byte[]> producer;

    private Copier(String bootstrap, String name, String source, String target, String protocol) {
        this.target = target;
        settings.put("bootstrap.servers", bootstrap);
        var settings = new HashMap<>(this.settings);
        settings.put("group.id", name);
        settings.put("group.protocol", protocol);
        if (protocol.equals("classic")) {
            settings.put("session.timeout.ms", 6_000);
        }
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("isolation.level", "read_committed");
        settings.put("max.poll.records", RECORDS_PER_TRANSACTION);
        this.consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        this.consumer.subscribe(List.of(source));
        this.settings.put("transactional.id", name);
        this.settings.put("transaction.timeout.ms", 10_000);
    }

    public static void main(String[] arguments) {
        var copier = new Copier(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]);
        var random = new Random();
        boolean hasFailed = false;
        while (true) {
            try {
                if (hasFailed) {
                    copier.startOver();
                    hasFailed = false;
                }
                copier.copy(random.nextInt(4) == 0);
            } catch (KafkaException error) {
                System.err.println(error);
                hasFailed = true;
            }
        }
    }

    private void copy(boolean isToBeAborted) {
        if (producer == null) {
            producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
            producer.initTransactions();
        }
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) {
            return;
        }
        producer.beginTransaction();
        var offsets = new HashMap<TopicPartition, OffsetAndMetadata>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            producer.send(new ProducerRecord<>(target, record.partition(), record.key(), record.value()));
            offsets.put(
                new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        if (isToBeAborted) {
            producer.flush();
            producer.abortTransaction();
            rewind();
            return;
        }
        producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
        producer.commitTransaction();
    }

    /** Back to what is committed. */
    private void rewind() {
        consumer.committed(consumer.assignment()).forEach((partition, offset) -> {
            if (offset == null) {
                consumer.seekToBeginning(List.of(partition));
            } else {
                consumer.seek(partition, offset);
            }
        });
    }

    private void startOver() {
        if (producer != null) {
            producer.close(Duration.ZERO);
            producer = null;
        }
        rewind();
    }
}
