"""The functions: stateless HTTP handlers in front of the workflows."""
