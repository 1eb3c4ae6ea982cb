"""What the entry scripts run: each job takes the rooms in order and ends with one table."""
