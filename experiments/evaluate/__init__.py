"""What the bundles and engines reach on patients that took no part."""
