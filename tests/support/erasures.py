"""Erasures of a running hub, by its privacy officer."""

from hie.flow.erasure import Erasure
from hie.kernel.context import Caller, RequestContext
from tests.support.running_hub import RunningHub


def officer(hub: RunningHub) -> RequestContext:
    caller = Caller(token_id="", user="officer", purpose="HSYSADMIN")
    return RequestContext(caller=caller, request_id="r1", now_us=hub.hub.clock.now_us())


def quick(erasure: Erasure) -> Erasure:
    """Without the wait for other processes: there are none."""
    erasure._settle_seconds = 0.0
    return erasure
