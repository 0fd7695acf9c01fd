"""One file per way of making a video follow a reference."""
