"""The only code that knows two stages of the write path."""
