"""Codes the hub knows: local code systems and value sets, and the operations on them."""
