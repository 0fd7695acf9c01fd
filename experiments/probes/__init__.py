"""What the embedded model's attention holds of a motion, and what transfers make of it."""
