"""The benchmark: the project and what it has to beat, measured in turns on one machine."""
