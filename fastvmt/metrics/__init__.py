"""Scores of motion transfer: pure functions, and torchmetrics classes that only hold state."""

import fastvmt.torchvision_ops  # noqa: F401  before torchmetrics and open_clip import torchvision
