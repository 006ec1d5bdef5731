"""The ways a run can end badly; the command line turns them into one sentence and an exit code."""


class InputDataError(ValueError):
    """A file, manifest or label that came from outside is not what was expected (exit code 3)."""


class MissingModelError(InputDataError):
    """A checkpoint or an optional package is missing, damaged or does not fit (exit code 4)."""


class RunError(RuntimeError):
    """The run itself failed: its input was fine, its result is not (exit code 1)."""
