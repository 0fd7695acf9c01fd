"""Running cases: Lightning, files, W&B, progress. The only part that knows Hydra."""
