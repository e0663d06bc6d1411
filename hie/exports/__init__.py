"""Bulk exports: jobs that list what a caller may see, and files read from the lists."""
