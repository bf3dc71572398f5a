"""Publishing and consuming with nothing lost: the one place that talks to Kafka."""

from chassis.kafka.consumer import Consumer, Handler
from chassis.kafka.letters import DeadLetters
from chassis.kafka.publisher import Publisher
from chassis.kafka.records import Received, Record
from chassis.kafka.topics import ensure_topics

__all__ = ["Consumer", "DeadLetters", "Handler", "Publisher", "Received", "Record", "ensure_topics"]
