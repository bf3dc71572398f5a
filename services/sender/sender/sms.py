"""The SMS channel until a provider is connected: an honest refusal, never a pretended send."""

from collections.abc import Sequence

from sender import model
from sender.reading import Read
from sender.steps import Carried, Steps

NOT_CONNECTED = "channel_not_connected"


class Sms:
    """Rejects; the api refuses to publish a sequence with an SMS stage, so this only meets older versions."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    async def carry(self, items: Sequence[tuple[Carried, Read]]) -> None:
        """Reject: nobody can send it."""
        for carried, _ in items:
            self._steps.settle(carried, model.rejected(self._steps.clock.now(), NOT_CONNECTED))
