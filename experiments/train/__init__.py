"""From data to bundles."""
