"""Global tables without sockets or clock: replicas, links, a journal; requests and time in, replies out."""
