"""Settings: `config/hie.toml`, overridden by `HIE_*` variables, as one frozen value.

What is wrong is named by file or variable, key and the kind of value expected; nothing
starts half-configured.
"""

import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hie.audit.syslog import Address, Trust
from hie.kernel.errors import Category, HieError, Issue
from hie.key_provider import ENVIRONMENT, FILE, KEYS_VARIABLE

DEVELOPMENT: Final = "development"
PRODUCTION: Final = "production"
REGIME: Final = "massachusetts"  # where none is set; the files of config/consent/ are regimes
#: As browsers send it: no path, no slash at the end; plain HTTP on this machine alone.
_FACTORY: Final = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
_ORIGIN: Final = re.compile(
    r"^(?:https://[a-z0-9.\-]+|http://(?:localhost|127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?$"
)
#: config/ beside the packages: the hub is installed in place.
DEFAULT_CONFIG: Final = Path(__file__).resolve().parent.parent / "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Addresses and ports; 0 asks the system for a free port.

    Attributes:
        cors_origins: web pages that may call the FHIR API from a browser.
        base_url: how clients reach the HTTP port, through a proxy that ends TLS; "" = directly.
    """

    host: str
    http_port: int
    mllp_port: int
    mllps_port: int
    portal_port: int
    console_port: int
    cors_origins: frozenset[str]
    base_url: str = ""

    @property
    def local_fhir(self) -> str:
        """The FHIR base on this machine."""
        return f"http://{self.host}:{self.http_port}/fhir"

    @property
    def fhir(self) -> str:
        """The FHIR base as clients know it: what every link begins with."""
        return f"{self.base_url}/fhir" if self.base_url else self.local_fhir

    @property
    def bases(self) -> tuple[str, ...]:
        """Every address of the FHIR base that what clients send may name."""
        return tuple(dict.fromkeys((self.fhir, self.local_fhir)))

    @property
    def websocket(self) -> str:
        """What addresses of websockets begin with."""
        return self.fhir.removesuffix("/fhir").replace("http", "ws", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files of the TLS listener; None = not given."""

    certificate: Path | None
    private_key: Path | None
    client_authorities: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that keep one sender from taking the hub from the others."""

    message_bytes: int
    batch_bytes: int
    body_bytes: int
    connections: int
    connections_each: int
    idle_seconds: int
    keepalive_seconds: int
    frame_seconds: int
    held_bytes: int
    backlog_high: int
    backlog_low: int
    search_count: int
    search_count_max: int
    duplicates_a_night: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The folder that files of any registered sender may be dropped into.

    Attributes:
        folder: None = none.
        seconds: between two looks; a file must not grow for so long before it is taken.
    """

    folder: Path | None
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOut:
    """Where signed heads of the audit trail are sent besides their file; None = nowhere."""

    syslog: Address | None
    trust: Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the hub is told from outside."""

    config: Path
    home: Path
    database_url: str
    key_file: Path
    key_provider: str
    profile: str
    regime: str
    auth_cli_tokens: bool
    listen: Listen
    tls: Tls
    limits: Limits
    drop: Drop
    audit: AuditOut

    @property
    def is_production(self) -> bool:
        """Whether unknown senders and weak settings are refused."""
        return self.profile == PRODUCTION


@dataclass(frozen=True, slots=True)
class _Key:
    """One setting: its table in the file, its name, how to read it, what it must be."""

    table: str
    name: str
    read: Callable[[Any], Any]
    expected: str

    @property
    def variable(self) -> str:
        return f"HIE_{self.name.upper()}"

    @property
    def place(self) -> str:
        return f"{self.table}.{self.name}" if self.table else self.name


def _port(value: Any) -> int:
    number = int(str(value))
    if not 0 <= number <= 65535:
        raise ValueError
    return number


def _positive(value: Any) -> int:
    number = int(str(value))
    if number <= 0:
        raise ValueError
    return number


def _whole(value: Any) -> int:
    number = int(str(value))
    if number < 0:
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _database(value: Any) -> str:
    if _text(value) and not value.startswith(("sqlite+aiosqlite:///", "postgresql+asyncpg://")):
        raise ValueError
    return str(value)


def _file(value: Any) -> str:
    if _text(value) and not Path(value).is_file():
        raise ValueError
    return str(value)


def _origins(value: Any) -> frozenset[str]:
    if not isinstance(value, str):
        raise TypeError
    found = frozenset(part.strip() for part in value.split(",") if part.strip())
    if not all(_ORIGIN.match(one) for one in found):
        raise ValueError
    return found


def _base_url(value: Any) -> str:
    if value and not _ORIGIN.match(value):
        raise ValueError
    return str(value)


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return read


def _provider(value: Any) -> str:
    if value not in (FILE, ENVIRONMENT) and not _FACTORY.match(value):
        raise ValueError
    return str(value)


def _switch(value: Any) -> bool | None:
    return {"": None, "true": True, "false": False}[str(value).lower()]


_KEYS: Final = (
    _Key("", "home", _text, "a folder"),
    _Key("", "database_url", _database, "an SQLAlchemy URL of aiosqlite or asyncpg, or empty"),
    _Key("", "key_file", _text, "a file, or empty"),
    _Key("", "key_provider", _provider, "file, environment or `package.module:factory`"),
    _Key("", "profile", _one_of(DEVELOPMENT, PRODUCTION), f"{DEVELOPMENT} or {PRODUCTION}"),
    _Key("", "regime", _text, "the name of a file of config/consent/"),
    _Key("", "auth_cli_tokens", _switch, "true, false or empty"),
    _Key("listen", "host", lambda v: str(ipaddress.ip_address(v)), "an IP address"),
    *(
        _Key("listen", name, _port, "a port, 0 to 65535")
        for name in ("http_port", "mllp_port", "mllps_port", "portal_port", "console_port")
    ),
    _Key("listen", "cors_origins", _origins, "origins as `https://portal.example`, comma between"),
    _Key("listen", "base_url", _base_url, "an origin as `https://hub.example`, or empty"),
    *(
        _Key("tls", name, _file, "a PEM file that is there, or empty")
        for name in ("certificate", "private_key", "client_authorities")
    ),
    _Key(
        *("audit", "audit_syslog", lambda v: Address.read(_text(v)) if v else None),
        "tls://host:port, udp://host:port, unix:/path or empty",
    ),
    *(
        _Key("audit", f"audit_syslog_{name}", _file, "a PEM file that is there, or empty")
        for name in ("authorities", "certificate", "private_key")
    ),
    _Key("drop", "drop_folder", _text, "a folder, or empty"),
    _Key("drop", "drop_seconds", _positive, "a whole number above 0"),
    _Key("limits", "backlog_high", _whole, "a whole number, 0 for no mark"),
    _Key("limits", "backlog_low", _whole, "a whole number, below backlog_high"),
    _Key("limits", "duplicates_a_night", _whole, "a whole number, 0 to ask nothing at night"),
    *(
        _Key("limits", name, _positive, "a whole number above 0")
        for name in (
            "message_bytes",
            "batch_bytes",
            "body_bytes",
            "connections",
            "connections_each",
            "idle_seconds",
            "keepalive_seconds",
            "frame_seconds",
            "held_bytes",
            "search_count",
            "search_count_max",
        )
    ),
)

#: Environment variables read besides one per key: where config/ is.
CONFIG_VARIABLE: Final = "HIE_CONFIG"
VARIABLES: Final = (CONFIG_VARIABLE, KEYS_VARIABLE, *(key.variable for key in _KEYS))


def load_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of a process.

    Args:
        environ: its environment variables.

    Raises:
        HieError: INVALID with one issue per fault: file or variable, key, kind of value.
    """
    config = Path(environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    values, issues = _read(config, environ)
    if issues:
        raise HieError(Category.INVALID, "the settings cannot be used", issues)
    settings = _settings(config, values)
    limits = settings.limits
    if limits.backlog_high and limits.backlog_low >= limits.backlog_high:
        place = Issue(text="`limits.backlog_low`: expected a whole number below `backlog_high`")
        raise HieError(Category.INVALID, "the settings cannot be used", [place])
    if weak := _weak(settings):
        raise HieError(Category.INVALID, "the settings are too weak for production", weak)
    return settings


def _read(config: Path, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Issue]]:
    file = config / "hie.toml"
    issues = [
        Issue(text=f"`{name}`: no setting has this name")
        for name in environ
        if name.startswith("HIE_") and name not in VARIABLES and not name.startswith("HIE_TEST_")
    ]
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}, [*issues, Issue(text=f"`{file.name}`: expected a readable TOML file in config/")]
    known = {key.place for key in _KEYS}
    issues += [
        Issue(text=f"`{file.name}` `{place}`: no setting has this name")
        for place in _places(tables)
        if place not in known
    ]
    values = {}
    for key in _KEYS:
        table = tables.get(key.table, {}) if key.table else tables
        given = environ.get(key.variable, table.get(key.name))
        try:
            values[key.place] = key.read(given)
        except (ValueError, TypeError, KeyError):
            origin = (
                f"`{key.variable}`" if key.variable in environ else f"`{file.name}` `{key.place}`"
            )
            issues.append(Issue(text=f"{origin}: expected {key.expected}"))
    return values, issues


def _places(tables: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in tables.items():
        if isinstance(value, dict):
            found += [f"{name}.{inner}" for inner in value]
        else:
            found.append(name)
    return found


def _settings(config: Path, values: Mapping[str, Any]) -> Settings:
    home = Path(values["home"]).resolve()
    profile = values["profile"]
    tokens = values["auth_cli_tokens"]

    def group(table: str) -> dict[str, Any]:
        return {k.name: values[k.place] for k in _KEYS if k.table == table}

    return Settings(
        config=config,
        home=home,
        database_url=values["database_url"] or f"sqlite+aiosqlite:///{home / 'hub.db'}",
        key_provider=values["key_provider"],
        key_file=Path(values["key_file"]) if values["key_file"] else home / "keys" / "kek.json",
        profile=profile,
        regime=values["regime"],
        auth_cli_tokens=profile == DEVELOPMENT if tokens is None else tokens,
        listen=Listen(**group("listen")),
        tls=Tls(**{name: Path(v) if v else None for name, v in group("tls").items()}),
        limits=Limits(**group("limits")),
        drop=Drop(
            folder=Path(values["drop.drop_folder"]) if values["drop.drop_folder"] else None,
            seconds=values["drop.drop_seconds"],
        ),
        audit=_audit_out(**group("audit")),
    )


def _audit_out(audit_syslog: Address | None, **files: str) -> AuditOut:
    named = {n.removeprefix("audit_syslog_"): Path(f) if f else None for n, f in files.items()}
    return AuditOut(syslog=audit_syslog, trust=Trust(**named))


def _weak(settings: Settings) -> list[Issue]:
    """What production does not start with."""
    is_loopback = ipaddress.ip_address(settings.listen.host).is_loopback
    if not settings.is_production:
        text = "`listen.host`: development listens on loopback only; set profile = production"
        return [] if is_loopback else [Issue(text=text)]
    issues = []
    if not is_loopback and not settings.tls.certificate:
        text = "`tls.certificate`: plain MLLP on a public address is not allowed in production"
        issues.append(Issue(text=text))
    if settings.auth_cli_tokens:
        text = "`auth_cli_tokens`: must be false in production; tokens come from sign-in"
        issues.append(Issue(text=text))
    return issues
