"""Small tools beside the experiments."""
