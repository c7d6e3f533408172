"""Everything on one machine with one command: `python -m local_dev`."""

DATA = "LOCAL_DEV_DATA"
"""The variable that tells the site where local_dev keeps its data and process ids."""
