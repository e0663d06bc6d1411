"""Topic-based subscriptions: who asked to be told of what, and telling them."""
