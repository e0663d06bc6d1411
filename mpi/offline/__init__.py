"""Linking a file without a hub: columns, keys, pairs, persons."""
