"""Your workflows: every module in this package is found by itself."""
