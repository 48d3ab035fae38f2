"""Chest CT: simulated volumes with lung nodules of known place, size and kind."""
