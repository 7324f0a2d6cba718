"""The way from a request to a stored record: plans, models, budgets, training and executors."""
