"""Load generator and consistency verifier for Amazon DynamoDB global tables."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lastwriter")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"
