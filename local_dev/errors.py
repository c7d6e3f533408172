"""What can keep local_dev from starting."""


class CannotStart(Exception):
    """One sentence that says why; the command ends with it."""
