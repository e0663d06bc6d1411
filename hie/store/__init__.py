"""The clinical data repository - resources, versions, search indexes."""
