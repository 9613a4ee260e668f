"""DynamoDB's expression language: text → syntax tree → closures over items."""
