"""What waits for a person: one table of tasks, whoever opens them."""
