"""The page of a study: its table, charts and videos in one HTML file that needs nothing from outside."""
