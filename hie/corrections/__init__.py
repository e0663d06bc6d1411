"""Disclosures that an unmerge leaves to be corrected."""
