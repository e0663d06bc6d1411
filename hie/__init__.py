"""The exchange hub - composition root, foundations, flow and store."""
