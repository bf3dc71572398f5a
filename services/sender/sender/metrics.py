"""The sender's metrics, declared once."""

from typing import Final

from chassis.telemetry import counter, gauge, histogram

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
IN_FLIGHT: Final = gauge("segue_sender_in_flight", "Claimed deliveries that this process carries")
READ_AGE: Final = histogram(
    "segue_sender_read_age_seconds",
    "Age of the enrollment's read when DATA began",
    buckets=(0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0),
)
SMTP_SECONDS: Final = histogram("segue_sender_smtp_seconds", "One SMTP call, waiting for room included")
CARRY_SECONDS: Final = histogram("segue_sender_carry_seconds", "One delivery from its claim to its outcome")
CLAIM_SECONDS: Final = histogram("segue_sender_claim_seconds", "Claiming one batch of stages that came due")
