"""batch and transaction: a Bundle posted to the base.

Spec: https://hl7.org/fhir/R4/http.html#transaction
"""

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.create import deliver
from hie.kernel.errors import Category, HieError


async def transaction(edge: Edge, call: Call) -> Answer:
    """The response Bundle; scopes of single entries are checked where they are read.

    Raises:
        HieError: FORBIDDEN for a token without any scope that writes.
    """
    if not any({"c", "u", "d"} & set(scope.actions) for scope in call.ctx.caller.scopes):
        raise HieError(Category.FORBIDDEN, "the token has no scope that writes")
    return await deliver(edge, call)
