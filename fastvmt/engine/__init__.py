"""Running cases: Lightning, files, W&B, progress. The only part that knows Hydra."""

import fastvmt.torchvision_ops  # noqa: F401  lightning imports torchvision
