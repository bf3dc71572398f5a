"""The sender's metrics, declared once."""

from typing import Final

from chassis.telemetry import Latest, counter, gauge, histogram

OUTCOMES: Final = counter(
    "segue_sender_outcomes", "Outcomes published, by kind and reason", ["outcome", "reason"]
)
NO_MATCH: Final = counter(
    "segue_sender_no_match", "Guarded writes that found the delivery changed by somebody else", ["step"]
)
ANSWERS: Final = counter(
    "segue_sender_stage_due", "Stages that came due, by what was done about the delivery found", ["answer"]
)
STOP_CROSSED: Final = counter(
    "segue_sender_stop_crossed", "Messages accepted although a stop was committed while they were transmitted"
)
IN_DOUBT: Final = counter("segue_sender_in_doubt", "Deliveries that became in doubt", ["cause"])
IN_DOUBT_NOW: Final = gauge(
    "segue_sender_in_doubt_deliveries", "Deliveries in doubt that nobody has decided about", ["channel"]
)
IN_DOUBT_OLDEST: Final = gauge(
    "segue_sender_in_doubt_oldest_seconds", "Age of the one that is in doubt for longest", ["channel"]
)
RESOLVED: Final = counter(
    "segue_sender_in_doubt_resolved", "Deliveries that are in doubt no more, by what ended it", ["by"]
)
LOOK_UPS: Final = counter(
    "segue_sender_look_ups", "Providers asked for a delivery in doubt, by what they said", ["answer"]
)
ERASED: Final = counter("segue_sender_erased", "Deliveries whose words were erased by their workspace's rule")
OLDEST_BODY: Final = gauge(
    "segue_sender_oldest_body_seconds",
    "Age of the oldest delivery with words, of workspaces that erase them",
)
STRAY_BODIES: Final = counter("segue_sender_stray_bodies", "Files deleted that no delivery names")
STEP_BACKS: Final = counter(
    "segue_sender_step_backs", "Times the read had aged before DATA, so that it was read again"
)
HOLDS: Final = counter("segue_sender_mailbox_holds", "Holds asked for a mailbox that is refused", ["reason"])
CARRY_FAILURES: Final = counter(
    "segue_sender_carry_failures", "Deliveries whose steps raised, by whether it was transient", ["kind"]
)
COMMANDS: Final = counter(
    "segue_sender_commands", "Delivery commands by what became of them", ["command", "status"]
)
COPIES_LEFT_OUT: Final = counter(
    "segue_sender_copies_left_out", "Copies (bcc) that did not go along with their mail", ["reason"]
)
IN_FLIGHT: Final = gauge("segue_sender_in_flight", "Claimed deliveries that this process carries")
READ_AGE: Final = histogram(
    "segue_sender_read_age_seconds",
    "Age of the enrollment's read when DATA began",
    buckets=(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0),
)
SMTP_SECONDS: Final = histogram("segue_sender_smtp_seconds", "One SMTP call, waiting for room included")
CARRY_SECONDS: Final = histogram("segue_sender_carry_seconds", "One delivery from its claim to its outcome")
CLAIM_SECONDS: Final = histogram("segue_sender_claim_seconds", "Claiming one batch of stages that came due")
DEFERRED_BY_SERVER: Final = counter(
    "segue_sender_deferred_by_server", "Messages that a mail server put off or refused for now", ["kind"]
)
BOUNCED: Final = counter("segue_sender_bounced", "Messages whose recipient a mail server refused for good")
MAILBOX_ANSWERS: Final = Latest(
    "segue_sender_mailbox_answers", "What mail servers said to messages, by mailbox", "mailbox_id", ["answer"]
)
MAILBOX_TURNS: Final = counter(
    "segue_sender_mailbox_turns",
    "Mailboxes that their servers began to refuse, or take again",
    ["turn", "reason"],
)
MAILBOXES_REFUSED: Final = gauge(
    "segue_sender_mailboxes_refused", "Mailboxes that their servers refuse now; each process counts all"
)
PROMPTS: Final = counter(
    "segue_sender_prompts", "Tries to tell users of tasks, by what became of them", ["kind", "way", "post"]
)
