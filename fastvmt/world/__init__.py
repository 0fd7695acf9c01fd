"""The moving-emoji world: a procedural source of clips, captions, true tracks and masks."""
