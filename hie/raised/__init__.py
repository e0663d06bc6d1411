"""Labels that senders raised: kept apart from what the hub finds itself, and never lowered."""
