// Prints what happens to enrollments, each event once: java -cp 'jars/*' Consume.java

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

public class Consume {
    static final ObjectMapper JSON = new ObjectMapper();
    static final HashSet<String> seen = new HashSet<>(); // in a service: a unique key in its database

    public static void main(String[] arguments) {
        Map<String, Object> settings = Map.of("bootstrap.servers", System.getenv("KAFKA"), "group.id", System.getenv("GROUP"),
            "auto.offset.reset", "earliest", "enable.auto.commit", "false");
        String topic = System.getenv().getOrDefault("PREFIX", "") + "segue.enrollment.events.v1";
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(topic));
            while (true) {
                consumer.poll(Duration.ofSeconds(1)).forEach(Consume::handle);
                consumer.commitSync(); // last: a record that was not handled comes again
            }
        }
    }

    static void handle(ConsumerRecord<String, byte[]> record) {
        try {
            JsonNode event = JSON.readTree(new String(record.value()));
            if (event.hasNonNull("event_id") && seen.add(event.get("event_id").asText())) {
                System.out.println(String.join(" ", event.get("event_type").asText(),
                    event.get("enrollment_id").asText(), event.get("seq").asText()));
            }
        } catch (JsonProcessingException error) {
            System.out.println("left out: " + error.getOriginalMessage());
        }
    }
}
