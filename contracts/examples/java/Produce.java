// Enrolls and stops people (on the class path: kafka-clients, slf4j-api, and the core, databind, annotations of Jackson):
// java -cp 'jars/*' Produce.java enroll:cand-81 stop:cand-81 ...

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class Produce {
    static final UUID NAMESPACE = UUID.fromString("6f1d2a0e-5b7c-5d1e-9a43-0d3c5e9b7a11");
    static final String WORKSPACE = System.getenv("WORKSPACE"), SEQUENCE = System.getenv("SEQUENCE");

    public static void main(String[] arguments) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", System.getenv("KAFKA"), "acks", "all");
        String topic = System.getenv().getOrDefault("PREFIX", "") + "segue.enrollment.commands.v1";
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String argument : arguments) {
                String wish = argument.split(":", 2)[0], externalId = argument.split(":", 2)[1];
                String enrollment = enrollmentId(externalId), id = UUID.randomUUID().toString();
                String now = Instant.now().truncatedTo(ChronoUnit.MILLIS).toString();
                var value = new HashMap<String, Object>(Map.of("event_id", id, "event_type", wish, "occurred_at", now,
                    "recorded_at", now, "workspace_id", WORKSPACE, "issued_by", "hiring-service"));
                value.putAll(wish.equals("stop")
                    ? Map.of("scope", "enrollment", "enrollment_id", enrollment, "reason_code", "hired")
                    : Map.of("sequence_id", SEQUENCE, "prospect",
                        Map.of("external_id", externalId, "email", externalId + "@there.example")));
                var record = new ProducerRecord<>(topic, enrollment, new ObjectMapper().writeValueAsString(value));
                Map.of("ce_specversion", "1.0", "ce_id", id, "ce_source", "/hiring-service", "ce_time", now, "ce_type",
                    "segue.enrollment." + wish + ".v1", "content-type", "application/json")
                    .forEach((name, text) -> record.headers().add(name, text.getBytes()));
                System.out.println(wish + " " + enrollment + " " + producer.send(record).get().partition());
            }
        }
    }

    /** Version 5 of workspace, sequence, external id and generation. */
    static String enrollmentId(String externalId) throws Exception {
        var sha = MessageDigest.getInstance("SHA-1");
        sha.update(ByteBuffer.allocate(16).putLong(NAMESPACE.getMostSignificantBits())
            .putLong(NAMESPACE.getLeastSignificantBits()).array());
        var hash = ByteBuffer.wrap(sha.digest((WORKSPACE + "/" + SEQUENCE + "/" + externalId + "/1").getBytes()));
        long high = hash.getLong() & ~0xf000L | 0x5000L, low = hash.getLong() & ~(3L << 62) | 1L << 63;
        return new UUID(high, low).toString();
    }
}
