"""What one source's file says about being told of changes of identity.

[notify]
give_up_hours = 24               # how long the delivery of one notice is tried

[notify.adt]                     # HL7 v2, to the source's own MLLP listener
to = "10.0.0.7:6662"
tls = true                       # absent = plain; production: to this machine alone
authorities = "/etc/hie/ghh.pem" # who vouches for that listener; absent = the machine's store
server_name = "adt.ghh.org"      # name in its certificate; absent = the host above
identifiers = true               # ADT^A31: the numbers its patients have elsewhere
domains = ["urn:oid:1.2.3"]      # of these numbers only those; absent = of all patients' domains
merges = false                   # ADT^A40 and A37: the hub's ids of its patients

[notify.webhook]                 # JSON over HTTPS, signed; the hub's ids, nothing else
url = "https://ghh.example.org/identity"
secret_file = "/etc/hie/ghh.key" # of the signature, 32 bytes or more
authorities = "/etc/hie/ghh.pem" # who vouches for that server; absent = the machine's store

Spec: IHE ITI TF-2 3.10 (PIX update notification).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from adapters.table_reader import TableReader
from adapters.wire_policy import LOOPBACK, Listener, read_listener

_URL: Final = re.compile(r"^https?://[^\s/?#]+\S*$")
#: A shorter secret signs nothing.
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AdtNotices:
    """HL7 v2 notices to a source's listener.

    Attributes:
        domains: identifier systems told; empty = those of all sources' patients.
        tells_identifiers: ADT^A31 is sent.
        tells_merges: ADT^A40 and A37 are.
    """

    listener: Listener
    domains: frozenset[str] = field(default_factory=frozenset)
    tells_identifiers: bool = True
    tells_merges: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookNotices:
    """Notices to a source's web server.

    Attributes:
        secret_file: signs; read when it is used, so that it can be renewed.
        authorities: PEM file of who vouches for the server; None = the machine's store.
    """

    url: str
    secret_file: Path
    authorities: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPolicy:
    """What a source is told, and how long it is tried."""

    adt: AdtNotices | None = None
    webhook: WebhookNotices | None = None
    give_up_seconds: int = 24 * 3600

    def channels(self) -> Iterator[str]:
        """Names of the ways it is told."""
        if self.adt and self.adt.tells_identifiers:
            yield "identifiers"
        if self.adt and self.adt.tells_merges:
            yield "merges"
        if self.webhook:
            yield "webhook"


def read_notify_policy(reader: TableReader) -> NotifyPolicy:
    """The policy that a source's `[notify]` states; faults are left with the readers."""
    notify = reader.table("notify")
    return NotifyPolicy(
        adt=_adt(notify.table("adt")),
        webhook=read_webhook(notify.table("webhook")),
        give_up_seconds=int(notify.number("give_up_hours", 24.0) * 3600),
    )


def _adt(table: TableReader) -> AdtNotices | None:
    is_named = bool(table.keys())
    listener = read_listener(table, "to")
    found = AdtNotices(
        listener=listener or Listener(host="", port=0),
        domains=table.names("domains"),
        tells_identifiers=table.switch("identifiers", default=True) or False,
        tells_merges=table.switch("merges", default=False) or False,
    )
    if listener is None:
        if is_named:
            table.fault("to", "`host:port`")
        return None
    if not (found.tells_identifiers or found.tells_merges):
        table.fault("identifiers", "true, unless `merges` is")
    return found


def read_webhook(table: TableReader) -> WebhookNotices | None:
    """Who is told by signed requests; None where the table is empty."""
    if not table.keys():
        return None
    url = table.text("url", required=True, form=_URL, kind="an https address")
    if url and not _is_safe(url):
        table.fault("url", "an https address")
    secret, authorities = table.text("secret_file", required=True), table.text("authorities")
    if secret and not _is_secret(Path(secret)):
        kind = f"a file with {SECRET_BYTES} bytes or more for its owner alone (mode 0600)"
        table.fault("secret_file", kind)
    if authorities and not Path(authorities).is_file():
        table.fault("authorities", "a PEM file that is there")
    return WebhookNotices(
        url=url,
        secret_file=Path(secret),
        authorities=Path(authorities) if authorities else None,
    )


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that hold no address
        return False
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _is_secret(path: Path) -> bool:
    if not path.is_file():
        return False
    found = path.stat()
    return found.st_size >= SECRET_BYTES and not found.st_mode & 0o077
