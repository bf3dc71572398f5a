"""The service's metrics: every name in one place."""

from chassis.telemetry import counter, gauge, histogram

JUDGED = counter("segue_inbound_judged", "Messages with a verdict, by kind and match", ["kind", "match"])
OVERTAKEN = counter("segue_inbound_overtaken", "Guarded writes that somebody else had made before", ["step"])
STOPS = counter(
    "segue_inbound_stops_published", "Stops and holds published, repetitions included", ["reason"]
)
SETTLED = counter("segue_inbound_settled", "Messages with nothing owed any more", ["kind"])
STOP_SECONDS = histogram(
    "segue_inbound_stop_seconds",
    "Real seconds from a message's arrival until the last enrollment it ended was written as stopped",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)
CLASSIFY_SECONDS = histogram("segue_inbound_classify_seconds", "Judging the bytes of one message")
SWEPT = counter("segue_inbound_swept", "Messages that the sweep took", ["state"])
FAILURES = counter("segue_inbound_failures", "Messages that could not be carried further", ["where"])
WAITING = gauge(
    "segue_inbound_waiting", "Messages that were due for the sweep at its last look, up to its batch"
)
LEFT = counter("segue_inbound_left_to_sweep", "Pointers given up after transient errors; the sweep has them")
