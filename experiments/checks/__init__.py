"""Whether instruments can be trusted (scores, trackers, gates), and whether bad inputs end clearly (faults)."""
