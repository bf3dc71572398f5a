"""How tasks end: what a person may say about a call, an InMail, a connection request and the rest."""

from collections.abc import Mapping
from typing import Final

from segue_contracts.message import Channel, OpenEnum


class TaskResult(OpenEnum):
    """What came of a task; which ones fit a channel says `RESULTS`."""

    REACHED = "reached"
    VOICEMAIL = "voicemail"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    CALL_BACK = "call_back"
    WRONG_NUMBER = "wrong_number"
    SENT = "sent"
    REQUESTED = "requested"
    ACCEPTED = "accepted"
    ALREADY_CONNECTED = "already_connected"
    DECLINED = "declined"
    NOT_FOUND = "not_found"
    NOT_SENT = "not_sent"
    REPLIED = "replied"
    DONE = "done"
    NOT_POSSIBLE = "not_possible"
    OTHER = "other"
    UNKNOWN = "unknown"


_ALWAYS: Final = (TaskResult.REPLIED, TaskResult.OTHER)
RESULTS: Final[Mapping[Channel, tuple[TaskResult, ...]]] = {
    Channel.CALL: (
        *(TaskResult.REACHED, TaskResult.VOICEMAIL, TaskResult.NO_ANSWER, TaskResult.BUSY),
        *(TaskResult.CALL_BACK, TaskResult.WRONG_NUMBER, *_ALWAYS),
    ),
    Channel.INMAIL: (TaskResult.SENT, TaskResult.NOT_SENT, TaskResult.NOT_FOUND, *_ALWAYS),
    Channel.LINKEDIN_CONNECT: (
        *(TaskResult.REQUESTED, TaskResult.ACCEPTED, TaskResult.ALREADY_CONNECTED),
        *(TaskResult.DECLINED, TaskResult.NOT_FOUND, *_ALWAYS),
    ),
    Channel.MANUAL_EMAIL: (TaskResult.SENT, TaskResult.NOT_SENT, *_ALWAYS),
    Channel.MANUAL_SMS: (TaskResult.SENT, TaskResult.NOT_SENT, TaskResult.WRONG_NUMBER, *_ALWAYS),
    Channel.TASK: (TaskResult.DONE, TaskResult.NOT_POSSIBLE, *_ALWAYS),
}
"""By manual channel, in the order in which they are offered."""
NOBODY_ANSWERED: Final = frozenset(
    {TaskResult.VOICEMAIL, TaskResult.NO_ANSWER, TaskResult.BUSY, TaskResult.WRONG_NUMBER}
    | {TaskResult.NOT_FOUND, TaskResult.NOT_SENT, TaskResult.NOT_POSSIBLE}
)
"""With these the person can't have responded."""
