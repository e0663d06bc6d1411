"""What a portal asks about Consents: which forms there are, what one says, what came of one.

Nothing is written by any of them. Answered by who takes a patient's Consents (`hie.flow`).
"""

from fhir_server.exchange import Answer, Call, Edge


async def consent_question(edge: Edge, call: Call) -> Answer:
    """Parameters, as the answer's parts are named in docs/howto/consents.md."""
    told = await edge.writer.write(
        call.ctx, call.interaction, "Consent", call.id or None, call.body, call.headers, (), ""
    )
    return Answer(status=told.status, headers=told.headers, body=told.body)
