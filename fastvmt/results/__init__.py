"""What runs leave behind: records, their columns, statistics and tables."""
