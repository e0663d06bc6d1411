"""What one source's file says about the wire: answers, tolerances, numbering, pace.

[tolerance]
processing_ids = ["P", "T"]      # MSH-11.1 values taken from this source
processing_modes = ["T", "I"]    # MSH-11.2 values taken; absent = all
noise_before_frame = true        # bytes before VT (true = taken with a note)
frame_without_cr = true          # FS without the CR behind it
line_feed_after_frame = true     # LF behind FS or FS CR
restarted_frame = true           # a frame that broke off and began again
fs_in_message = true             # FS among the characters of a message
vt_in_message = false            # VT among the characters of a message (false = refused)

[acknowledgement]
mode = "as sent"                 # or "original": AA, AE, AR whatever MSH-15 says
application_to = "10.0.0.7:6661" # the sender's own MLLP listener, for application ACKs
tls = true                       # absent = plain
authorities = "/etc/hie/ghh.pem" # who vouches for that listener; absent = the machine's store
server_name = "adt.ghh.org"      # name in its certificate; absent = the host above
give_up_hours = 24               # how long delivery is tried

[sequence]
protocol = true                  # MSH-13 is checked and answered in MSA-4

[limits]
messages_per_second = 50         # what comes faster waits; absent = no limit
burst = 200                      # how many may come at once; absent = one second's

Spec: HL7 v2.8.2 chapter 2, 2.9.3 (enhanced mode), 2.10.1 (sequence numbers).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from adapters.table_reader import TableReader
from hie.kernel.envelope import Severity

AS_SENT: Final = "as sent"
ORIGINAL: Final = "original"
_MODES: Final = re.compile(f"^({AS_SENT}|{ORIGINAL})$")
#: Hosts that are this machine: what goes there crosses no network.
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_ADDRESS: Final = re.compile(r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(\d{1,5})$")

#: Flag of `[tolerance]` to the rule whose weight it sets.
FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "noise_before_frame": "framing-noise",
        "frame_without_cr": "framing-no-cr",
        "line_feed_after_frame": "framing-line-feed",
        "restarted_frame": "framing-restart",
        "fs_in_message": "framing-fs",
        "vt_in_message": "framing-vt",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A sender's own MLLP listener.

    Attributes:
        is_tls: whether it is spoken to over TLS.
        authorities: PEM file of who vouches for it; None = the machine's store.
        server_name: in its certificate; empty = `host`.
    """

    host: str
    port: int
    is_tls: bool = False
    authorities: Path | None = None
    server_name: str = ""

    @property
    def is_overheard(self) -> bool:
        """Whether what is sent there crosses a network in clear."""
        return not self.is_tls and self.host not in LOOPBACK


@dataclass(frozen=True, slots=True, kw_only=True)
class WirePolicy:
    """How one source is spoken to.

    Attributes:
        is_original: MSH-15 and MSH-16 are not looked at: AA, AE or AR on the connection.
        application_to: where application acknowledgements of enhanced mode go; None = nowhere.
        give_up_seconds: how long the delivery of one is tried.
        is_sequenced: MSH-13 is checked and answered in MSA-4.
        per_second: messages taken a second in the long run; 0 = no limit.
        burst: messages taken at once.
        processing_modes: MSH-11.2 values taken; empty = all.
    """

    is_original: bool = False
    application_to: Listener | None = None
    give_up_seconds: int = 24 * 3600
    is_sequenced: bool = False
    per_second: float = 0.0
    burst: int = 0
    processing_modes: frozenset[str] = field(default_factory=frozenset)


def read_wire_policy(reader: TableReader, tolerance: TableReader) -> WirePolicy:
    """The policy that a source's tables state; faults are left with the readers."""
    acknowledgement = reader.table("acknowledgement")
    mode = acknowledgement.text("mode", form=_MODES, kind=f"`{AS_SENT}` or `{ORIGINAL}`")
    limits = reader.table("limits")
    per_second = limits.number("messages_per_second", 0.0)
    return WirePolicy(
        is_original=mode == ORIGINAL,
        application_to=read_listener(acknowledgement, "application_to"),
        give_up_seconds=int(acknowledgement.number("give_up_hours", 24.0) * 3600),
        is_sequenced=reader.table("sequence").switch("protocol", default=False) or False,
        per_second=per_second,
        burst=max(1, int(limits.number("burst", max(1.0, per_second)))),
        processing_modes=tolerance.names("processing_modes"),
    )


def read_tolerances(tolerance: TableReader) -> Mapping[str, Severity]:
    """The weights that the flags of `[tolerance]` give to the rules of framing."""
    found: dict[str, Severity] = {}
    for flag, rule in FLAGS.items():
        is_taken = tolerance.switch(flag)
        if is_taken is not None:
            found[rule] = Severity.NOTE if is_taken else Severity.ERROR
    return MappingProxyType(found)


def read_listener(table: TableReader, key: str) -> Listener | None:
    """The listener whose address stands under `key`; None where there is none.

    Faults are left with the reader.
    """
    address = table.text(key, form=_ADDRESS, kind="`host:port`")
    is_tls = table.switch("tls", default=False) or False
    authorities = table.text("authorities")
    server_name = table.text("server_name")
    if authorities and not Path(authorities).is_file():
        table.fault("authorities", "a PEM file that is there")
    found = _ADDRESS.match(address)
    if found is None:
        if is_tls or authorities or server_name:
            table.fault(key, "`host:port`, where `tls` and its kin are given")
        return None
    port = int(found[2])
    if not 0 < port <= 65535:
        table.fault(key, "`host:port` with a port from 1 to 65535")
    return Listener(
        host=found[1].strip("[]"),
        port=port,
        is_tls=is_tls,
        authorities=Path(authorities) if authorities else None,
        server_name=server_name,
    )
