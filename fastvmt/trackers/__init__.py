"""Point trackers: where do points of one frame go in the others."""
