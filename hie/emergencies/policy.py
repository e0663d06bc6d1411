"""What `config/consent/emergency.toml` says: reasons, times and the notice; read once, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.notify_policy import WebhookNotices, read_webhook
from adapters.table_reader import TableReader
from hie.emergencies.model import Stated
from hie.kernel.clock import SECOND_US
from hie.kernel.errors import Category, HieError, Issue
from mpi.config_table import ConfigTable

_HOUR_US: Final = 3600 * SECOND_US
LONGEST_WORDS: Final = 2_000
_MOST_MINUTES: Final = 24 * 60
#: A patient is told within this time, whatever the file says: 90 days.
_LONGEST_HOURS: Final = 90 * 24
#: After the question: it is opened within a day at most, and the notice waits from there.
LONGEST_WAIT_US: Final = (_LONGEST_HOURS + 24) * _HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A reason that may be stated.

    Attributes:
        display: for staff.
        patient: the same in plain words, for the patient's notice.
        needs_words: the code alone does not say enough.
        notice_after_us: how long the patient's notice waits.
    """

    code: str
    display: str
    patient: str
    needs_words: bool
    notice_after_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyPolicy:
    """How emergency accesses are asked for and told of.

    Attributes:
        system: of the codes of reasons.
        asked_us: how long after the question the record may be opened.
        factors: what counts as a second factor in a token's `amr` (RFC 8176).
        notice: of the notice to the patient: `subject` and `text`, with places to fill in.
        alert: where the privacy office is told that an access awaits review; None = nowhere.
    """

    system: str
    asked_us: int
    factors: frozenset[str]
    causes: Mapping[str, Cause]
    notice: Mapping[str, str]
    alert: WebhookNotices | None = None

    def require(self, stated: Stated | None) -> Cause:
        """The reason that was stated.

        Raises:
            HieError: INVALID for none, a blank one, one that is not listed, or one that says too
                little.
        """
        cause = self.causes.get(stated.code) if stated else None
        if stated is None or cause is None:
            known = ", ".join(f"`{code}`" for code in self.causes)
            code = "required" if stated is None else "value"
            raise _unstated(f"`reason`: expected a code of `{self.system}`: {known}", code)
        if cause.needs_words and not stated.words.strip():
            raise _unstated(f"`reason`: `{cause.code}` needs `text`, the reason in your words")
        if len(stated.words) > LONGEST_WORDS:
            raise _unstated(f"`reason`: `text` has at most {LONGEST_WORDS} characters", "value")
        return cause


def load_emergency_policy(folder: Path) -> EmergencyPolicy:
    """Read the file of a config folder.

    Raises:
        HieError: INVALID, naming file and key.
    """
    root = ConfigTable.read(folder / "consent" / "emergency.toml")
    causes = [_cause(each) for each in root.tables("reason")]
    notice = root.sub("notice").strings()
    if not causes:
        raise root.fault("reason", "one or more reasons")
    for key in ("subject", "text", "unnamed", "neutral"):
        if not notice.get(key):
            raise root.fault(f"notice.{key}", "a text")
    minutes = root.number("asked_minutes")
    if not 0 < minutes <= _MOST_MINUTES:
        raise root.fault("asked_minutes", f"a number up to {_MOST_MINUTES}")
    return EmergencyPolicy(
        system=root.text("system"),
        asked_us=int(minutes * 60 * SECOND_US),
        factors=frozenset(root.texts("second_factors")),
        causes={cause.code: cause for cause in causes},
        notice=notice,
        alert=_alert(root),
    )


def _alert(root: ConfigTable) -> WebhookNotices | None:
    """The endpoint of `[alert]`; what is left empty counts as not said."""
    keys = root.keys()
    said = root.sub("alert").strings() if "alert" in keys else {}
    table = TableReader("`emergency.toml` [alert]", {k: v for k, v in said.items() if v})
    found = read_webhook(table)
    table.finish()
    if table.faults:
        raise HieError(Category.INVALID, table.faults[0])
    return found


def _cause(each: ConfigTable) -> Cause:
    hours = each.number("notice_after_hours", 0)
    if not 0 <= hours <= _LONGEST_HOURS:
        raise each.fault("notice_after_hours", f"0 to {_LONGEST_HOURS}")
    return Cause(
        code=each.text("code"),
        display=each.text("display"),
        patient=each.text("patient"),
        needs_words=each.text("words", "welcome") == "needed",
        notice_after_us=int(hours * _HOUR_US),
    )


def _unstated(text: str, code: str = "required") -> HieError:
    place = "Parameters.parameter.where(name = 'reason')"
    issue = Issue(text=text, code=code, expression=(place,))
    return HieError(Category.INVALID, text, [issue])
