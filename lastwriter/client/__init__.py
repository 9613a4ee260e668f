"""The DynamoDB client that Locust users hold: sends, classifies the outcome, records."""
