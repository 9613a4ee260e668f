"""Canary: a small conditional write, then a strong read of it in every Region.

Invariant: a user's own item is changed by nobody else, so no write of it is ever refused or lost, in either mode. The
reads elsewhere say how long a write takes to be seen: at once in MRSC, after the replicator's delay in MREC.

Judged by the checks `register` (stale reads in other Regions), `refused` and `lost`. Failures of a canary say which
Region is ill: few processes at a steady rate are enough.

    locust -f locustfiles/canary.py --emulator --rate 6/s
"""

from locust import task

from lastwriter.client.user import GlobalTableUser


class Canary(GlobalTableUser):
    """Writes its own item and looks for it everywhere."""

    patterns = ("naive",)

    @task
    def beat(self) -> None:
        """After an unknown outcome the first read says which it was, so that the next write has the right condition."""
        key = self.own_key("canary")
        seen = self.table.get(key)
        if not seen.ok or not self.table.cas(key, (seen.value or 0) + 1, seen.writer).ok:
            return
        for region in self.regions:
            self.table_in(region).get(key)
