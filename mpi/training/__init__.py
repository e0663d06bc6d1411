"""Linkage models made from records: exported, trained by Splink, judged before they decide."""
