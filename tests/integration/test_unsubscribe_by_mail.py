"""The mail that a mail program sends to the address of List-Unsubscribe, from whichever account it has."""

import pytest

from reply_detector.testing import OUR_ID, PAT, a_message, open_world
from segue_contracts.events import StopReason
from segue_contracts.message import Scope

pytestmark = pytest.mark.stack


async def test_a_mail_that_names_our_message_in_its_subject_ends_everything_of_whom_we_wrote_to(
    mongodb_uri: str,
) -> None:
    async with open_world(mongodb_uri) as world:
        other = "pat@private.example"
        mail = a_message("", sender=other, thread=None, Subject=f"unsubscribe {OUR_ID}")
        inbound = await world.arrives(mail)
        await world.parts().detector.settle(world.workspace, inbound)
        assert {stop.event_type for stop in world.kafka.stops()} == {StopReason.UNSUBSCRIBED}
        assert {(stop.scope, stop.person_id) for stop in world.kafka.stops()} == {
            (Scope.ENROLLMENT, None),
            (Scope.PERSON, world.person),
        }
        assert await world.suppressed(PAT) is not None


async def test_an_id_that_nobody_got_from_us_ends_nothing(mongodb_uri: str) -> None:
    async with open_world(mongodb_uri) as world:
        mail = a_message(
            "", sender="eve@x.example", thread=None, Subject="unsubscribe <guessed@ourco.example>"
        )
        await world.parts().detector.settle(world.workspace, await world.arrives(mail))
        assert world.kafka.stops() == []
