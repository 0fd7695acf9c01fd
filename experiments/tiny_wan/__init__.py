"""Training of the embedded models: tiny-wan and its judge tiny-clip."""

import fastvmt.torchvision_ops  # noqa: F401  diffusers and open_clip import torchvision
