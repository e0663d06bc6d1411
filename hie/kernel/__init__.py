"""Words everybody needs - standard library only, no I/O."""
