"""DynamoDB global tables on loopback: a pure core (no sockets, no wall clock) under a thin HTTP shell."""
