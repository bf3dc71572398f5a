"""What the pixel and the links of a tracked message stand for: a message and a number, signed."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis import signed
from chassis.secrets import Secrets
from segue_contracts.ids import dispatch_id, split_dispatch_id

PIXEL_PATH: Final = "/t/o/"
PIXEL_ENDING: Final = ".gif"
LINK_PATH: Final = "/t/c/"
MAX_LINKS: Final = 200
"""In one message; those behind lead where they say, untracked."""
_PURPOSE: Final = "tracking/"
_IDS_BYTES: Final = 2 * 16
_NUMBER_BYTES: Final = 2


class Kind(StrEnum):
    """What was done with a message."""

    OPENED = "opened"
    CLICKED = "clicked"


@dataclass(frozen=True, slots=True)
class Mark:
    """One message, and the number of a link in it from 1, or None for its pixel; random ids only."""

    workspace_id: UUID
    dispatch_id: str
    link: int | None = None

    @property
    def kind(self) -> Kind:
        """What a request for it tells."""
        return Kind.OPENED if self.link is None else Kind.CLICKED

    @property
    def path(self) -> str:
        """Where requests for it arrive."""
        return PIXEL_PATH if self.link is None else LINK_PATH


def written(mark: Mark, secrets: Secrets) -> str:
    """The mark as it stands in a URL; the kind is not in it, but it is signed for that kind alone."""
    enrollment, stage = split_dispatch_id(mark.dispatch_id)
    number = (mark.link or 0).to_bytes(_NUMBER_BYTES)
    data = mark.workspace_id.bytes + enrollment.bytes + number + stage.encode()
    return signed.written(secrets, _PURPOSE + mark.kind, data)


def read(kind: Kind, text: str, secrets: Secrets) -> Mark | None:
    """The mark, if one of our keys has signed it for this kind."""
    data = signed.read(secrets, _PURPOSE + kind, text)
    if data is None:
        return None
    ids, stage = data[:_IDS_BYTES], data[_IDS_BYTES + _NUMBER_BYTES :]
    number = int.from_bytes(data[_IDS_BYTES:][:_NUMBER_BYTES])
    enrollment = UUID(bytes=ids[16:])
    return Mark(UUID(bytes=ids[:16]), dispatch_id(enrollment, stage.decode()), number or None)
