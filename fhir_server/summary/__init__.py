"""The International Patient Summary: sections by table, text and document by pure functions."""
