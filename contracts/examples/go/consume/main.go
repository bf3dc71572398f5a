// Prints what happens to enrollments, each event once: go run ./consume
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

type event struct {
	EventID      string `json:"event_id"`
	EventType    string `json:"event_type"`
	EnrollmentID string `json:"enrollment_id"`
	Seq          int    `json:"seq"`
}

var seen = map[string]bool{} // in a service: a unique key in its database

func main() {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("KAFKA")),
		kgo.ConsumeTopics(os.Getenv("PREFIX")+"segue.enrollment.events.v1"),
		kgo.ConsumerGroup(os.Getenv("GROUP")),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	if err != nil {
		panic(err)
	}
	for {
		client.PollFetches(context.Background()).EachRecord(handle)
		// Last: a record that was not handled comes again.
		if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
			fmt.Println("not committed:", err)
		}
	}
}

func handle(record *kgo.Record) {
	var told event
	if err := json.Unmarshal(record.Value, &told); err != nil || told.EventID == "" {
		fmt.Println("left out:", err)
		return
	}
	if !seen[told.EventID] {
		seen[told.EventID] = true
		fmt.Println(told.EventType, told.EnrollmentID, told.Seq)
	}
}
