"""Running cases: Lightning, files, W&B, progress."""

import fastvmt.torchvision_ops  # noqa: F401  lightning imports torchvision
