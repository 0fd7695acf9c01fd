"""The inner optimisation of the latents and its gradient reuse."""
