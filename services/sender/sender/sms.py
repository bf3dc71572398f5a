"""The SMS channel until a provider is connected: an honest refusal, never a pretended send."""

from sender import model
from sender.reading import Read
from sender.steps import Carried, Steps

NOT_CONNECTED = "channel_not_connected"


class Sms:
    """Rejects; the api refuses to publish a sequence with an SMS stage, so this only meets older versions."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def carry(self, carried: Carried, read: Read) -> None:
        """Reject: nobody can send it."""
        await self._steps.settle(carried.claim, model.rejected(self._steps.clock.now(), NOT_CONNECTED))
