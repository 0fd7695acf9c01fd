"""What a transfer costs: seconds, memory, energy and arithmetic."""
