"""Profiles as facts, and the check of resources against them."""
