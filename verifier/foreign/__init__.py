"""Histories from elsewhere: Jepsen's logs and EDN, key-value logs, JSON lines; and back."""
