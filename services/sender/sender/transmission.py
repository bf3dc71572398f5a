"""Steps 4 and 5, journal and age again: the only door to DATA."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from chassis import faults
from chassis.clock import Clock
from chassis.retry import retrying
from chassis.together import Together
from sender import metrics, model
from sender.model import Claim, Settlement
from sender.reading import Read
from sender.slots import Limited, Slots
from sender.steps import Carried, Steps
from sender.store import Draft

MAX_ROUNDS: Final = 5
"""A process that is too slow this often to journal on a fresh read gives the claim back."""


class Moves(Protocol):
    """What the journal needs of the store."""

    async def journal(self, drafts: Sequence[Draft], at: datetime) -> list[bool]: ...
    async def step_back(self, claims: Sequence[Claim]) -> list[bool]: ...


class Journal:
    """claimed → transmitting and back, many claims in one write; one for the process."""

    def __init__(self, store: Moves, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._enter: Together[Draft, bool] = Together(self._enter_all)
        self._leave: Together[Claim, bool] = Together(self._leave_all)

    async def enter(self, draft: Draft) -> bool:
        """Whether the claim is transmitting now, and ours; its bytes are kept by the same write."""
        return await self._enter(draft)

    async def leave(self, claim: Claim) -> bool:
        """Whether the claim is claimed again, and ours."""
        return await self._leave(claim)

    async def _enter_all(self, drafts: Sequence[Draft]) -> list[bool]:
        return await retrying(lambda: self._store.journal(drafts, self._clock.now()))

    async def _leave_all(self, claims: Sequence[Claim]) -> list[bool]:
        return await retrying(lambda: self._store.step_back(claims))


class Transmission:
    """One claim between the recipient's acceptance (RCPT) and DATA.

    `settlement`: what to record when `before_data` said no; None: the claim is somebody else's.
    """

    def __init__(
        self,
        carried: Carried,
        read: Read,
        draft: Draft,
        recipient: str,
        limited: Limited,
        slots: Slots,
        journal: Journal,
        steps: Steps,
    ) -> None:
        self._carried = carried
        self._claim = carried.claim
        self._read = read
        self._draft = draft
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
            if not await self._journal.enter(self._draft):
                return False
            await faults.point("sender.after_journal")
            await faults.point("sender.before_data")
            if self._carried.over:  # given back meanwhile
                return False
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
        if self._limited.caps:
            self.settlement = await self._slots.spend(self._claim, self._limited)
        return self.settlement is None

    async def _may_go(self) -> bool:
        """Step 2 again where its read has aged; False with the settlement that a withdrawal is."""
        if self._carried.over:
            return False
        self._read = await self._steps.fresh(self._claim, self._read, self._recipient)
        if self._read.withdrawal is None:
            return True
        self.settlement = model.released(self._steps.clock.now(), self._read.withdrawal)
        return False
