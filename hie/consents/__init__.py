"""Consents as acts of people: who recorded, verified, revoked what - forms, scans, receipts."""
