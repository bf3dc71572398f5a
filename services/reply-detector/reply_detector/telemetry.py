"""The service's metrics: every name in one place."""

from chassis.rates import BOUNCE, COMPLAINT
from chassis.telemetry import Latest, counter, gauge, histogram

JUDGED = counter("segue_inbound_judged", "Messages with a verdict, by kind and match", ["kind", "match"])
OVERTAKEN = counter("segue_inbound_overtaken", "Guarded writes that somebody else had made before", ["step"])
STOPS = counter(
    "segue_inbound_stops_published", "Stops and holds published, repetitions included", ["reason"]
)
SETTLED = counter("segue_inbound_settled", "Messages with nothing owed any more", ["kind"])
STOP_SECONDS = histogram(
    "segue_inbound_stop_seconds",
    "Real seconds from a message's arrival until the last enrollment it ended was written as stopped",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0),
)
CLASSIFY_SECONDS = histogram("segue_inbound_classify_seconds", "Judging the bytes of one message")
SWEPT = counter("segue_inbound_swept", "Messages that the sweep took", ["state"])
FAILURES = counter("segue_inbound_failures", "Messages that could not be carried further", ["where"])
WAITING = gauge(
    "segue_inbound_waiting", "Messages that were due for the sweep at its last look, up to its batch"
)
UNSETTLED = gauge(
    "segue_inbound_unsettled_seconds",
    "Real seconds that the message has waited longest that has no verdict (received), or whose stops and"
    " holds nobody has seen done (judged)",
    ["state"],
)
CHARGED = counter("segue_inbound_charged", "Bounces and complaints that count against a mailbox", ["kind"])
MAILBOX_MESSAGES = Latest(
    "segue_inbound_mailbox_messages", "Messages with a verdict, by mailbox and kind", "mailbox_id", ["kind"]
)
LEFT = counter("segue_inbound_left_to_sweep", "Pointers given up after transient errors; the sweep has them")

# The mailbox watcher's.
MAILBOXES = gauge(
    "segue_watch_mailboxes", "Mailboxes of this process, by how they are watched now", ["state"]
)
CONNECTIONS = gauge("segue_watch_connections", "Connections to mail servers that are held open")
MESSAGES = counter(
    "segue_watch_messages", "Messages made durable: new, or there before", ["folder", "outcome"]
)
CUT = counter("segue_watch_cut", "Messages of which only the first part was taken", ["folder"])
UNREADABLE = counter("segue_watch_unreadable", "Messages passed over: their server never handed them out")
LAG_SECONDS = histogram(
    "segue_watch_lag_seconds",
    "Real seconds from a message's arrival at its server until it was made durable here",
    buckets=(0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 1800.0, 7200.0),
)
STEP_SECONDS = histogram("segue_watch_step_seconds", "One exchange with a mail server", ["step"])
TROUBLES = counter(
    "segue_watch_troubles", "Times that a mailbox could not be watched, by reason", ["trouble"]
)
RENUMBERED = counter("segue_watch_renumbered", "Folders read anew, for their numbering had changed")
POINTERS_LEFT = counter(
    "segue_watch_pointers_left", "Messages whose pointer Kafka did not take; the detector's sweep has them"
)
NOTIFICATIONS = counter("segue_inbound_notifications", "Owners told of an answer, by its kind", ["kind"])
CORRECTED = counter("segue_inbound_corrected", "Corrections by people, by the kind they gave", ["kind"])
PAUSED = counter("segue_inbound_mailboxes_paused", "Mailboxes held for their rates, by reason", ["reason"])
for _kind in (BOUNCE, COMPLAINT):  # at zero from the start: the first one is an increase
    CHARGED.labels(_kind)
    PAUSED.labels(f"{_kind}_rate")
DOUBTS = counter(
    "segue_watch_doubts", "Times that a mailbox was searched for the copy of what is in doubt", ["outcome"]
)
ERASED = counter("segue_inbound_erased", "Messages whose words were erased by their workspace's rule")
OLDEST_RAW = gauge(
    "segue_inbound_oldest_seconds", "Age of the oldest message with words, of workspaces that erase them"
)
STRAY_FILES = counter("segue_inbound_stray_files", "Files deleted that no message names")
