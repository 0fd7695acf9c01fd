"""CLIP from local files: what they may be, how they are loaded, and the encoder of frames and prompts."""
