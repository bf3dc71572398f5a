"""A real IMAP server on loopback for tests: Dovecot from Debian's packages, unprivileged.

with Dovecot({"ana@ourco.example": "secret"}) as imap:
    imap.deliver("ana@ourco.example", raw)
"""

import os
import pwd
import shutil
import smtplib
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imapclient import IMAPClient

from stack.certificate import server_context
from stack.ports import free_port
from stack.processes import Process, tcp

HOST = "127.0.0.1"
PACKAGES = ("dovecot-imapd", "dovecot-lmtpd")
NOBODY = "nobody"
START_SECONDS = 30.0


class DovecotMissing(RuntimeError):
    """It is not installed; the message says how to."""


def binary() -> str:
    """Where the server is; raises DovecotMissing."""
    path = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise DovecotMissing(f"There is no dovecot here: apt-get install -y {' '.join(PACKAGES)}")
    return path


class Dovecot:
    """A server with an INBOX and a Sent folder for each user; `users` are addresses with their passwords.

    It listens in the clear and for STARTTLS on `port`, with TLS on `tls_port`, and takes mail over LMTP on
    `lmtp_port`. `introspection_url` answers for access tokens (RFC 7662), which then work as `bearer`. `kill`
    and `start` may alternate: the mail stays until the block ends. Its paths are short, for its sockets.
    """

    def __init__(
        self, users: Mapping[str, str], *, introspection_url: str | None = None, bearer: str = "xoauth2"
    ) -> None:
        self.users = dict(users)
        self.host = HOST
        self.port, self.tls_port, self.lmtp_port = free_port(), free_port(), free_port()
        self._introspection_url = introspection_url
        self._bearer = bearer
        self._command = [binary(), "-F"]

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="segue-imap-"))
        self.certificate = self._write_files()
        self.process = Process(
            "dovecot",
            [*self._command, "-c", self.folder / "dovecot.conf"],
            log_folder=self.folder,
            ready=tcp(self.port),
            start_seconds=START_SECONDS,
        )
        if os.geteuid() == 0:
            self._become_nobody()
        try:
            self.process.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it again on the same ports, with the same mail."""
        self.process.start()

    def kill(self) -> None:
        """A power cut."""
        self.process.kill()

    def deliver(self, user: str, raw: bytes, *, sender: str = "someone@there.example") -> None:
        """Put a message into the INBOX as a mail server does, by LMTP; a mark of the way is put in front."""
        with smtplib.LMTP(HOST, self.lmtp_port) as lmtp:
            lmtp.sendmail(sender, [user], raw)

    def append(self, user: str, raw: bytes, folder: str = "INBOX", at: datetime | None = None) -> int:
        """Put exactly these bytes into a folder, as mail programs do with what they sent; the UID."""
        with self.session(user) as client:
            told = client.append(folder, raw, (), at)
        return int(told.rpartition(b"]")[0].rsplit(b" ", 1)[1])

    @contextmanager
    def session(self, user: str) -> Iterator[IMAPClient]:
        """A logged-in client of one user."""
        with IMAPClient(HOST, self.port, ssl=False, timeout=10) as client:
            client.login(user, self.users[user])
            yield client

    def renumber(self, user: str) -> None:
        """Start again with another UIDVALIDITY of the INBOX, as after a server was restored from a backup."""
        self.kill()
        kept = self.folder / "mail" / user
        for file in (kept / "dovecot-uidlist", *kept.glob("dovecot.index*")):
            file.unlink()
        self.start()

    def account(self, user: str, **other: Any) -> dict[str, Any]:
        """What connects a mailbox to it, as the API takes it."""
        account = {"host": HOST, "port": self.port, "security": "none", "username": user}
        return {**account, "password": self.users[user], **other}

    def client_context(self) -> ssl.SSLContext:
        """What trusts this server's certificate."""
        return ssl.create_default_context(cafile=str(self.certificate))

    # ---- files ----------------------------------------------------------------------------------------

    def _write_files(self) -> Path:
        _, certificate = server_context(self.folder)
        lines = (f"{user}:{{PLAIN}}{password}::::::" for user, password in self.users.items())
        (self.folder / "users").write_text("\n".join(lines) + "\n")
        (self.folder / "dovecot.conf").write_text(self._configuration())
        for name in ("mail", "run", "state"):
            (self.folder / name).mkdir()
        if self._introspection_url is not None:
            (self.folder / "oauth2.conf").write_text(
                f"introspection_url = {self._introspection_url}\nintrospection_mode = post\n"
                "active_attribute = active\nactive_value = true\nusername_attribute = username\n"
            )
        return certificate

    def _become_nobody(self) -> None:
        """Mail of uid 0 is what Dovecot refuses, so root starts it as somebody who owns nothing else."""
        somebody = pwd.getpwnam(NOBODY)
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, somebody.pw_uid, somebody.pw_gid)
        # A change of the user takes the leash off, so it is put on again.
        self.process.command[:0] = [
            *("setpriv", f"--reuid={somebody.pw_uid}", f"--regid={somebody.pw_gid}"),
            *("--clear-groups", "--pdeathsig=KILL"),
        ]

    def _configuration(self) -> str:
        user = NOBODY if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        folder = self.folder
        return CONFIGURATION.format(
            folder=folder,
            user=user,
            port=self.port,
            tls_port=self.tls_port,
            lmtp_port=self.lmtp_port,
            oauth=OAUTH.format(folder=folder, bearer=self._bearer) if self._introspection_url else "",
            mechanisms=f"plain {self._bearer}" if self._introspection_url else "plain",
        )


CONFIGURATION = """
protocols = imap lmtp
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_username_format = %Lu
default_internal_user = {user}
default_internal_group =
default_login_user = {user}
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = 1000
namespace inbox {{
  inbox = yes
  mailbox Sent {{
    special_use = \\Sent
    auto = subscribe
  }}
  mailbox Everything {{
    special_use = \\All
  }}
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
{oauth}
userdb {{
  driver = static
  args = home={folder}/mail/%u allow_all_users=yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
"""
OAUTH = """
passdb {{
  driver = oauth2
  mechanisms = {bearer}
  args = {folder}/oauth2.conf
}}
"""
