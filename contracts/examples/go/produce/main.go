// Enrolls and stops people: go run ./produce enroll:cand-81 stop:cand-81 ...
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	namespace           = uuid.MustParse("6f1d2a0e-5b7c-5d1e-9a43-0d3c5e9b7a11")
	workspace, sequence = os.Getenv("WORKSPACE"), os.Getenv("SEQUENCE")
)

func main() {
	// franz-go hashes keys as Java's client does, and waits for all replicas, unless told otherwise.
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Getenv("KAFKA")))
	if err != nil {
		panic(err)
	}
	defer client.Close()
	for _, argument := range os.Args[1:] {
		wish, externalID, _ := strings.Cut(argument, ":")
		sent, err := client.ProduceSync(context.Background(), command(wish, externalID)).First()
		if err != nil {
			panic(err)
		}
		fmt.Println(wish, string(sent.Key), sent.Partition)
	}
}

func command(wish, externalID string) *kgo.Record {
	id, now := uuid.NewString(), time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	enrollment := uuid.NewSHA1(namespace, []byte(workspace+"/"+sequence+"/"+externalID+"/1")).String()
	value := map[string]any{"event_id": id, "event_type": wish, "occurred_at": now, "recorded_at": now,
		"workspace_id": workspace, "issued_by": "hiring-service"}
	if wish == "stop" {
		value["scope"], value["enrollment_id"], value["reason_code"] = "enrollment", enrollment, "hired"
	} else {
		value["sequence_id"] = sequence
		value["prospect"] = map[string]string{"external_id": externalID, "email": externalID + "@there.example"}
	}
	text, _ := json.Marshal(value)
	record := &kgo.Record{Topic: os.Getenv("PREFIX") + "segue.enrollment.commands.v1", Key: []byte(enrollment), Value: text}
	for name, text := range map[string]string{"ce_specversion": "1.0", "ce_id": id, "ce_source": "/hiring-service",
		"ce_time": now, "ce_type": "segue.enrollment." + wish + ".v1", "content-type": "application/json"} {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	}
	return record
}
