"""Measured numbers, each beside its floor; `make bench` prints them."""
