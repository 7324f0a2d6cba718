"""The report: one HTML page of stored boards that needs nothing else, and in which every number shows its evidence."""
