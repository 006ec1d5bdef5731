"""From a recording on disk to a generated recording.

`load_generator` and `generate_bursts` are the Python interface; everything heavy is imported on first use.
"""

from importlib.metadata import version

__version__ = version("vocalburst")
__all__ = ["__version__", "generate_bursts", "load_generator"]


def __getattr__(name: str):
    if name in ("generate_bursts", "load_generator"):
        from vocalburst.gen import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
