"""AuditEvents, their hash chain and their table."""
