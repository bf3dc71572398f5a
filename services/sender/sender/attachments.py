"""The files that mails take along, as mails carry them: many mails take the same few."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol
from uuid import UUID

from chassis.documents import AttachmentView
from sender.compose import attached

KEPT_BYTES: Final = 64 * 1024 * 1024


class Uploads(Protocol):
    """What is needed of the store."""

    async def attachment(self, workspace: UUID, attachment_id: UUID) -> AttachmentView | None: ...


class Attachments:
    """One for the process; a file never changes, so what was encoded once stays good."""

    def __init__(self, store: Uploads, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[tuple[UUID, UUID], bytes] = OrderedDict()
        self._size = 0

    async def entities(self, workspace: UUID, ids: Sequence[UUID]) -> tuple[bytes, ...] | None:
        """The files as MIME entities, in this order; None if one is not there."""
        found = [await self._entity(workspace, each) for each in ids]
        entities = tuple(entity for entity in found if entity is not None)
        return entities if len(entities) == len(ids) else None

    async def _entity(self, workspace: UUID, attachment_id: UUID) -> bytes | None:
        key = (workspace, attachment_id)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        view = await self._store.attachment(workspace, attachment_id)
        if view is None:
            return None
        entity = attached(view.filename, view.content_type, view.content)
        self._keep(key, entity)
        return entity

    def _keep(self, key: tuple[UUID, UUID], entity: bytes) -> None:
        self._size += len(entity) - len(self._kept.pop(key, b""))
        self._kept[key] = entity
        while self._size > self._kept_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
