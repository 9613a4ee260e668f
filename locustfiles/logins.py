"""Logins: every login makes a session that ends some seconds after its last use; the store deletes it then.

Invariant: a session that is in use is there. A session that nobody uses is deleted some time after its end, in every
Region. Another Region may not have heard of the last use, delete the session at its old end, and have the deletion win:
so in MREC a replication lag longer than what was left of a session loses it. MRSC tables have no time to live.

Judged by the check `expiry` (gone before its time).

    locust -f locustfiles/logins.py --emulator --rate 60/s
"""

import time

from locust import task

from lastwriter.client.keys import Key
from lastwriter.client.table import Also
from lastwriter.client.user import GlobalTableUser

SECONDS = 4
"""A session ends so long after its last use."""


class Logins(GlobalTableUser):
    """Logs in, uses sessions, looks whether they are there."""

    patterns = ("naive",)
    modes = ("MREC",)
    needs = ("ttl",)

    def on_start(self) -> None:
        self.count = 0
        self.ends: dict[Key, int] = {}

    @task(1)
    def login(self) -> None:
        """Another session."""
        self.count += 1
        self.use(self.own_key(f"session-{self.count}"))

    @task(3)
    def click(self) -> None:
        """Use a session that has not ended, and see that it is there."""
        self.ends = {key: end for key, end in self.ends.items() if end > time.time() + 1}
        if self.ends:
            session = self.random.choice(list(self.ends))
            self.table.get(session)
            self.use(session)

    def use(self, session: Key) -> None:
        """The session ends later from now on."""
        end = int(time.time()) + SECONDS
        later = Also(put="expires = :end", values={":end": {"N": str(end)}})
        for attempt in self.attempts():
            if self.table.add(session, 1, attempt, later).ok:
                self.table.may_expire(session, end, attempt)
                self.ends[session] = end
