import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;

import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Answers what Apache Kafka's own classes make of a message.
 *
 * A line in is "NAME VERSION HEX", or "NAME VERSION new" for a message that nobody filled in. A line out is
 * "HEX JSON": the message encoded again, and its fields; or "error WHY".
 */
public class MessageOracle {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message",
        "org.apache.kafka.coordinator.group.generated",
        "org.apache.kafka.coordinator.transaction.generated",
        "org.apache.kafka.coordinator.share.generated",
        "org.apache.kafka.raft.generated",
        "org.apache.kafka.streams.internals.generated",
    };
    private static final HexFormat HEX = HexFormat.of();

    private record Kind(Class<?> message, Method toJson) { }

    private static final Map<String, Kind> KINDS = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.write(answer(line.split(" ", 3)));
            out.write('\n');
            out.flush();
        }
    }

    private static String answer(String[] words) {
        try {
            short version = Short.parseShort(words[1]);
            Kind kind = KINDS.computeIfAbsent(words[0], MessageOracle::find);
            Message message = (Message) kind.message.getDeclaredConstructor().newInstance();
            if (!words[2].equals("new")) {
                ByteBuffer input = ByteBuffer.wrap(HEX.parseHex(words[2]));
                message.read(new ByteBufferAccessor(input), version);
                if (input.hasRemaining()) {
                    return "error " + input.remaining() + " bytes are left";
                }
            }
            Object json = kind.toJson == null ? "null" : kind.toJson.invoke(null, message, version, false);
            return encoded(message, version) + " " + json;
        } catch (InvocationTargetException error) {
            return "error " + oneLine(error.getCause());
        } catch (Exception error) {
            return "error " + oneLine(error);
        }
    }

    private static String encoded(Message message, short version) {
        var cache = new ObjectSerializationCache();
        ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(output), cache, version);
        output.flip();
        return HEX.formatHex(output.array(), 0, output.limit());
    }

    private static String oneLine(Throwable error) {
        return String.valueOf(error).replace('\n', ' ');
    }

    private static Kind find(String name) {
        for (String folder : PACKAGES) {
            for (String suffix : new String[] {"", "Data"}) {
                String path = folder + "." + name + suffix;
                try {
                    Class<?> message = Class.forName(path);
                    return new Kind(message, converter(path, message));
                } catch (ClassNotFoundException error) {
                    continue;
                }
            }
        }
        throw new IllegalArgumentException("Kafka has no message " + name);
    }

    private static Method converter(String path, Class<?> message) {
        try {
            return Class.forName(path + "JsonConverter").getMethod("write", message, short.class, boolean.class);
        } catch (ReflectiveOperationException error) {
            return null;
        }
    }
}
