// Prints what happens to enrollments, each event once: npm install && npx tsc && node built/consume.js
import kafkajs from "kafkajs";
import { compressFrame, decompressFrame } from "lz4-napi";

type Event = { event_id: string; event_type: string; enrollment_id: string; seq: number };

const { KAFKA = "", PREFIX = "", GROUP = "" } = process.env;
const seen = new Set<string>(); // in a service: a unique key in its database

function read(value: Buffer | null): Event | null {
  try {
    return JSON.parse(value?.toString() ?? "null");
  } catch (error) {
    console.log("left out:", error);
    return null;
  }
}

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
// Segue compresses with LZ4, which kafkajs does not bring along.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: ({ buffer }: { buffer: Buffer }) => compressFrame(buffer),
  decompress: (buffer: Buffer) => decompressFrame(buffer),
});
const consumer = new Kafka({ brokers: KAFKA.split(","), logLevel: logLevel.ERROR }).consumer({ groupId: GROUP });
await consumer.connect();
await consumer.subscribe({ topic: `${PREFIX}segue.enrollment.events.v1`, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  eachMessage: async ({ topic, partition, message }) => {
    const event = read(message.value);
    if (event?.event_id && !seen.has(event.event_id)) {
      seen.add(event.event_id);
      console.log(event.event_type, event.enrollment_id, event.seq);
    }
    // Last: a record that was not handled comes again.
    await consumer.commitOffsets([{ topic, partition, offset: String(BigInt(message.offset) + 1n) }]);
  },
});
