"""Who may see in whose place: parents, guardians, agents, proxies; computed at each request."""
