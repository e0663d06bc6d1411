"""Query string to store query to Bundle (pure)."""
