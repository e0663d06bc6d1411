"""What the commands of `hie` do, one module a group: its arguments and its functions."""
