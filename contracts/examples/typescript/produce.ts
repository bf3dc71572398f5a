// Enrolls and stops people: npm install && npx tsc && node built/produce.js enroll:cand-81 stop:cand-81 ...
import { createHash, randomUUID } from "node:crypto";
import kafkajs from "kafkajs";

const NAMESPACE = "6f1d2a0e-5b7c-5d1e-9a43-0d3c5e9b7a11";
const { KAFKA = "", PREFIX = "", WORKSPACE = "", SEQUENCE = "" } = process.env;

/** Version 5 of workspace, sequence, external id and generation. */
function enrollmentId(externalId: string): string {
  const hash = createHash("sha1")
    .update(Buffer.from(NAMESPACE.replaceAll("-", ""), "hex"))
    .update(`${WORKSPACE}/${SEQUENCE}/${externalId}/1`)
    .digest();
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return hash.toString("hex", 0, 16).replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

function command(wish: string, externalId: string) {
  const [id, now, key] = [randomUUID(), new Date().toISOString(), enrollmentId(externalId)];
  const what =
    wish === "stop"
      ? { scope: "enrollment", enrollment_id: key, reason_code: "hired" }
      : { sequence_id: SEQUENCE, prospect: { external_id: externalId, email: `${externalId}@there.example` } };
  const base = { event_id: id, event_type: wish, occurred_at: now, recorded_at: now };
  const value = JSON.stringify({ ...base, workspace_id: WORKSPACE, issued_by: "hiring-service", ...what });
  const headers = {
    ce_specversion: "1.0",
    ce_id: id,
    ce_source: "/hiring-service",
    ce_type: `segue.enrollment.${wish}.v1`,
    ce_time: now,
    "content-type": "application/json",
  };
  return { key, value, headers };
}

const { Kafka, Partitioners, logLevel } = kafkajs;
const kafka = new Kafka({ brokers: KAFKA.split(","), logLevel: logLevel.ERROR });
// DefaultPartitioner hashes keys as Java's client does; LegacyPartitioner does not.
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, idempotent: true });
await producer.connect();
for (const argument of process.argv.slice(2)) {
  const [wish = "", externalId = ""] = argument.split(":");
  const message = command(wish, externalId);
  const topic = `${PREFIX}segue.enrollment.commands.v1`;
  const [sent] = await producer.send({ topic, messages: [message], acks: -1 });
  console.log(wish, message.key, sent?.partition);
}
await producer.disconnect();
