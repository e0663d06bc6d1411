"""What staff decided a source's codes mean: rows over the tables of `config/`."""
