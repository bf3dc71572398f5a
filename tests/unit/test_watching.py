"""What the mailbox watcher decides by itself: whose a mailbox is, what goes together, what went wrong."""

import ssl
from uuid import UUID, uuid5

import pytest
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError

from reply_detector.imap import Account, Listed, Trouble, trouble_of
from reply_detector.watch import GROUP_BYTES, GROUP_MESSAGES, groups
from reply_detector.watcher import partition_of

SPACE = UUID(int=7)


def test_every_mailbox_belongs_to_one_partition_and_none_is_left_without() -> None:
    owners = [partition_of(uuid5(SPACE, str(number)), 12) for number in range(600)]
    assert set(owners) == set(range(12))
    assert max(owners.count(each) for each in range(12)) < 100


def sizes(*found: int) -> list[list[int]]:
    listed = [Listed(uid, size, None) for uid, size in enumerate(found, 1)]
    return [[each.uid for each in group] for group in groups(listed)]


def test_neighbours_are_fetched_together_in_order_and_what_is_large_alone() -> None:
    assert sizes() == []
    assert sizes(10, 10, 10) == [[1, 2, 3]]
    assert sizes(10, GROUP_BYTES, 10) == [[1], [2], [3]]
    assert sizes(10, 30 * GROUP_BYTES, 10) == [[1], [2], [3]]
    assert [len(group) for group in sizes(*[1] * (GROUP_MESSAGES + 1))] == [GROUP_MESSAGES, 1]


def login_error(cause: Exception) -> Exception:
    """As the library makes it of whatever went wrong while it logged in."""
    made: Exception = LoginError(str(cause))
    made.__context__ = cause
    return made


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (login_error(IMAPClientError("[AUTHENTICATIONFAILED] Invalid credentials")), Trouble.CREDENTIALS),
        (login_error(IMAPClientError("[UNAVAILABLE] Temporary authentication failure.")), Trouble.BUSY),
        (login_error(IMAPClientAbortError("socket error: EOF")), Trouble.DROPPED),
        (IMAPClientAbortError("BYE going down"), Trouble.DROPPED),
        (IMAPClientError("fetch failed: no such thing"), Trouble.REFUSED),
        (IMAPClientError("select failed: Too many simultaneous connections"), Trouble.BUSY),
        (ssl.SSLCertVerificationError("self-signed"), Trouble.CERTIFICATE),
        (TimeoutError(), Trouble.SLOW),
        (ConnectionResetError(), Trouble.DROPPED),
        (ConnectionRefusedError(), Trouble.UNREACHABLE),
        (OSError("no route"), Trouble.UNREACHABLE),
        (KeyError("a bug"), None),
    ],
)
def test_what_goes_wrong_gets_the_name_that_decides_how_soon_it_is_tried_again(
    error: Exception, trouble: Trouble | None
) -> None:
    assert trouble_of(error) is trouble


def test_a_password_never_leaves_the_machine_in_the_clear_nor_shows_itself() -> None:
    with pytest.raises(ValueError, match="TLS"):
        Account("imap.example", 143, "none", "ana", "s3cret")
    assert "s3cret" not in repr(Account("127.0.0.1", 143, "none", "ana", "s3cret"))
