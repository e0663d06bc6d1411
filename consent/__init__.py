"""Consent - load, decide, enforce."""
