"""The SQL of the ledger: rows come back as frozen values, writes are sent together.

Every function takes an open connection; whoever opened the transaction commits it.
"""
