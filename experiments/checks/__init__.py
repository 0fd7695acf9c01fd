"""Whether the instruments can be trusted: scores, trackers and gates on clips whose answer is known."""
