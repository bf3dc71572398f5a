"""Steps 4 and 5, journal and age again: the only door to DATA."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from chassis import faults
from chassis.clock import Clock
from chassis.retry import retrying
from sender import metrics, model
from sender.model import Claim, Settlement
from sender.reading import Read
from sender.slots import Limited, Slots
from sender.steps import Carried, Steps
from sender.together import Together

MAX_ROUNDS: Final = 5
"""A process that is too slow this often to journal on a fresh read gives the claim back."""


class Moves(Protocol):
    """What the journal needs of the store."""

    async def journal(self, claims: Sequence[Claim], at: datetime) -> list[bool]: ...
    async def step_back(self, claims: Sequence[Claim]) -> list[bool]: ...


class Journal:
    """claimed → transmitting and back, many claims in one write; one for the process."""

    def __init__(self, store: Moves, clock: Clock) -> None:
        self._enter: Together[Claim, bool] = Together(lambda claims: store.journal(claims, clock.now()))
        self._leave = Together(store.step_back)

    async def enter(self, claim: Claim) -> bool:
        """Whether the claim is transmitting now, and ours."""
        return await retrying(lambda: self._enter(claim))

    async def leave(self, claim: Claim) -> bool:
        """Whether the claim is claimed again, and ours."""
        return await retrying(lambda: self._leave(claim))


class Transmission:
    """One claim between the recipient's acceptance (RCPT) and DATA.

    `settlement`: what to record when `before_data` said no; None: the claim is somebody else's.
    """

    def __init__(
        self,
        carried: Carried,
        read: Read,
        recipient: str,
        limited: Limited,
        slots: Slots,
        journal: Journal,
        steps: Steps,
    ) -> None:
        self._carried = carried
        self._claim = carried.claim
        self._read = read
        self._recipient = recipient
        self._limited = limited
        self._slots = slots
        self._journal = journal
        self._steps = steps
        self.settlement: Settlement | None = None

    async def before_data(self) -> bool:
        """True: DATA may begin at once, and the journal says so. The age check is the last thing before it.

        Runs after RCPT was accepted, so that a slow server's greeting does not age the read, and
        `transmitting` covers nothing but DATA. Raises Retry when MongoDB fails: DATA has not begun then.
        """
        for round_number in range(MAX_ROUNDS):
            if not await self._may_go():
                return False
            if round_number == 0 and not await self._has_slot():
                return False
            if not await self._journal.enter(self._claim):
                return False
            await faults.point("sender.after_journal")
            await faults.point("sender.before_data")
            if self._steps.is_fresh(self._read):
                # From here to the first byte of DATA nothing is awaited.
                metrics.READ_AGE.observe(self._steps.reader.age(self._read))
                self._carried.data_began = True
                return True
            metrics.STEP_BACKS.inc()
            if not await self._journal.leave(self._claim):
                return False
        self.settlement = self._steps.busy()
        return False

    async def _has_slot(self) -> bool:
        """Spend the slot: no slot, no DATA; False with the settlement that follows."""
        self.settlement = await self._slots.spend(self._claim, self._limited)
        return self.settlement is None

    async def _may_go(self) -> bool:
        """Step 2 again where its read has aged; False with the settlement that a withdrawal is."""
        self._read = await self._steps.fresh(self._claim, self._read, self._recipient)
        if self._read.withdrawal is None:
            return True
        self.settlement = model.released(self._steps.clock.now(), self._read.withdrawal)
        return False
