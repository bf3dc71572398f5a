"""Deterministic ids: a producer can compute them, and a repeated message finds what the first one made."""

from struct import unpack_from
from uuid import UUID, uuid5

NAMESPACE = UUID("6f1d2a0e-5b7c-5d1e-9a43-0d3c5e9b7a11")
SHARDS = 240


def enrollment_id(workspace_id: UUID, sequence_id: UUID, external_id: str, generation: int = 1) -> UUID:
    """The id of one person's `generation`-th way through one sequence."""
    return uuid5(NAMESPACE, f"{workspace_id}/{sequence_id}/{external_id}/{generation}")


def person_id(workspace_id: UUID, external_id: str) -> UUID:
    """The id of the person whom the producer calls `external_id`."""
    return uuid5(NAMESPACE, f"{workspace_id}/person/{external_id}")


def dispatch_id(enrollment_id: UUID, stage_id: str) -> str:
    """The id of one stage of one enrollment; it never changes, whatever the version or the attempt."""
    return f"{enrollment_id}:{stage_id}"


def split_dispatch_id(dispatch_id: str) -> tuple[UUID, str]:
    """The enrollment id and the stage id inside a dispatch id; ValueError if it is none."""
    enrollment, colon, stage = dispatch_id.partition(":")
    if not colon or not stage:
        raise ValueError(f"not a dispatch id: {dispatch_id!r}")
    return UUID(enrollment), stage


def event_id(enrollment_id: UUID, seq: int) -> UUID:
    """The id of an enrollment's `seq`-th event: the same at every replay."""
    return uuid5(enrollment_id, str(seq))


def shard(enrollment_id: UUID) -> int:
    """The virtual shard, 0..239, of an enrollment: Kafka's own hash of the record key, modulo 240."""
    return (murmur2(str(enrollment_id).encode()) & 0x7FFFFFFF) % SHARDS


def murmur2(data: bytes) -> int:
    """Kafka's default partitioner hash (org.apache.kafka.common.utils.Utils.murmur2), as an unsigned int."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for word in unpack_from(f"<{whole // 4}I", data):
        k = (word * m) & mask
        k = ((k ^ (k >> 24)) * m) & mask
        h = ((h * m) & mask) ^ k
    rest = data[whole:]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    return h ^ (h >> 15)
