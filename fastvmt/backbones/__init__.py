"""Video diffusion transformers behind one interface."""
