"""HTTP on loopback around the core: a port a Region, one for control, timers, faults of connections."""
