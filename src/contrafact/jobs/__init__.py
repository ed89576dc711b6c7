"""Child processes: start, limit, report progress, cancel."""
