"""What the demo holds of a running hub; `hie.app` makes it."""

from pathlib import Path
from typing import Protocol

from hie.demo.summary import Addresses, HubView


class HubHandle(Protocol):
    """A hub that is starting or has started.

    Attributes:
        config: the folder `config/`.
        home: `$HIE_HOME`.
        view: counts beside the FHIR interface.
    """

    config: Path
    home: Path
    addresses: Addresses
    view: HubView

    async def wait_until_ready(self) -> None:
        """Return when every listener is open."""
        ...

    async def token(
        self,
        *,
        scope: str,
        organization: str | None = None,
        patient: str | None = None,
        purpose: str = "TREAT",
    ) -> str:
        """A bearer token, as `hie token` gives it; `organization` is its identifier's value."""
        ...
