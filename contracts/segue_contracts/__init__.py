"""The public contract of Segue: what other teams build against."""

from segue_contracts.codec import DecodeError, decode, encode
from segue_contracts.commands import Enroll, Stop
from segue_contracts.events import EnrollmentEvent, EnrollmentStop
from segue_contracts.prospect import Prospect

__all__ = [
    "DecodeError",
    "Enroll",
    "EnrollmentEvent",
    "EnrollmentStop",
    "Prospect",
    "Stop",
    "decode",
    "encode",
]
