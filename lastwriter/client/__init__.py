"""The DynamoDB client that Locust users hold: sends, classifies the outcome, records."""

import os

# Where awscrt happens to be installed, botocore signs with it, unasked and more slowly. It looks once, when it is first
# imported, which is after this.
os.environ.setdefault("BOTO_DISABLE_CRT", "true")
