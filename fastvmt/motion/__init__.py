"""Attention motion flow: pure tensor functions, differentiable, without model, config or I/O."""
