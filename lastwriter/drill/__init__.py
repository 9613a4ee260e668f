"""A profile becomes a run: targets, phases, faults, processes, run directory."""
