"""Protocols through which sources push their feeds."""
