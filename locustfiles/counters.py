"""Counters: many users add to few counters, from every Region.

Invariant: every acknowledged increment counts, once. MRSC keeps it. MREC keeps it where a counter is written in one
Region only; with two writers the Region whose item is older loses its increments, without an error anywhere.

Judged by the checks `counter` (the new values that came back), `register` (the marks) and the two loss ledgers.

    locust -f locustfiles/counters.py --emulator
"""

from locust import task

from lastwriter.client.retry import CONDITION_FAILED
from lastwriter.client.user import GlobalTableUser


class Counters(GlobalTableUser):
    """Adds one to a counter, or reads it."""

    @task
    def increment(self) -> None:
        """`naive` and `home-region` use ADD; `conditional` writes what it read plus one, if nobody came between."""
        key = self.keys.mine()
        if self.load.pattern != "conditional":
            for attempt in self.attempts():
                self.table.add(key, 1, attempt)
            return
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            seen = self.table.get(key)
            if seen.ok:
                self.table.cas(key, (seen.value or 0) + 1, seen.writer, attempt)

    @task
    def read(self) -> None:
        """A strong read: in MREC of this Region's replica, in MRSC of everything that was acknowledged anywhere."""
        for attempt in self.attempts():
            self.table.get(self.keys.anything(), attempt=attempt)
