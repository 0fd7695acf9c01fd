"""Video diffusion transformers behind one interface."""

import fastvmt.torchvision_ops  # noqa: F401  diffusers imports torchvision
