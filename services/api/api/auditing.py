"""What is worth an entry in the audit log, written before it is done, so that nothing is done without one."""

from uuid import UUID

from api.routing import Call


async def audit(call: Call, action: str, target: str | UUID, **detail: str | int) -> None:
    """Keep who does `action` (`suppression.added`) to what; `detail` holds no addresses."""
    await call.api.store.audit.add(
        {
            "_id": call.ids.next(),
            "workspace_id": call.caller.workspace,
            "at": call.api.clock.real_now(),
            "by": call.caller.user_id,
            "key_id": call.caller.key_id,
            "action": action,
            "target": str(target),
            "detail": detail,
        }
    )
