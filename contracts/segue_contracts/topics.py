"""The topics of Segue, declared once: names, partitions, retention, who may see them."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000
PARTITIONS = 12


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic; `retention_ms` is None for a compacted one.

    `personal_data`: an ACL of its own, not for analytics. `public`: other teams write or read it.
    """

    name: str
    purpose: str
    retention_ms: int | None
    partitions: int = PARTITIONS
    compact: bool = False
    personal_data: bool = False
    public: bool = False


ENROLLMENT_COMMANDS = Topic(
    "segue.enrollment.commands.v1",
    "What internal services and the API ask of the scheduler, with people's names, addresses and words.",
    7 * DAY_MS,
    personal_data=True,
    public=True,
)
DELIVERY_COMMANDS = Topic(
    "segue.delivery.commands.v1",
    "What the API and the scheduler ask of the sender, with the notes that people write on tasks.",
    7 * DAY_MS,
    personal_data=True,
)
STAGE_DUE = Topic("segue.stage.due.v1", "A stage is due: scheduler to sender.", 3 * DAY_MS)
STAGE_OUTCOMES = Topic(
    "segue.stage.outcomes.v1", "What became of a dispatch: sender to scheduler.", 7 * DAY_MS
)
INBOUND_MESSAGES = Topic(
    "segue.inbound.messages.v1",
    "A pointer to a stored raw message, or a person's correction of what it is: to the reply detector.",
    7 * DAY_MS,
)
ENROLLMENT_STOPS = Topic(
    "segue.enrollment.stops.v1",
    "A reason to stop: an answer, a bounce, an opt-out, or another service's word.",
    30 * DAY_MS,
    public=True,
)
ENROLLMENT_EVENTS = Topic(
    "segue.enrollment.events.v1", "The whole story of every enrollment.", 30 * DAY_MS, public=True
)
ENGAGEMENT_EVENTS = Topic("segue.engagement.events.v1", "Opens and clicks.", 30 * DAY_MS, public=True)
SEQUENCE_EVENTS = Topic(
    "segue.sequence.events.v1", "Sequences created, published, archived, shared.", 30 * DAY_MS, public=True
)
SEQUENCE_STATE = Topic(
    "segue.sequence.state.v1",
    "The latest version of each sequence with its stage names.",
    None,
    compact=True,
    public=True,
)
USER_NOTIFICATIONS = Topic(
    "segue.user.notifications.v1",
    "What a user should hear: an answer with its words, a mailbox that was paused, an overdue task.",
    3 * DAY_MS,
    personal_data=True,
    public=True,
)
DEAD_LETTERS = Topic(
    "segue.dead.letters.v1",
    "Records that could not be handled, as they came, with where from and why.",
    30 * DAY_MS,
    partitions=1,
    personal_data=True,
)

TOPICS: tuple[Topic, ...] = (
    ENROLLMENT_COMMANDS,
    DELIVERY_COMMANDS,
    STAGE_DUE,
    STAGE_OUTCOMES,
    INBOUND_MESSAGES,
    ENROLLMENT_STOPS,
    ENROLLMENT_EVENTS,
    ENGAGEMENT_EVENTS,
    SEQUENCE_EVENTS,
    SEQUENCE_STATE,
    USER_NOTIFICATIONS,
    DEAD_LETTERS,
)
