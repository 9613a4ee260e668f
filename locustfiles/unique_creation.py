"""Unique creation: users everywhere want the same names, and each name may go to one of them only.

Invariant: of all attempts to create an item one succeeds. MRSC keeps it. In MREC "there is no such item" is judged on
one replica: two Regions give the same name away, both say yes, and one of the two owners is overwritten.

Judged by the checks `unique` (two creations that both succeeded), `refused` (who was told no wrote nothing) and `lost`
(who was told yes and does not stand there).

    locust -f locustfiles/unique_creation.py --emulator --rate 100/s --keys 5
"""

import time

from locust import task

from lastwriter.client.user import GlobalTableUser


class UniqueCreation(GlobalTableUser):
    """Takes names, and looks up who has them."""

    patterns = ("naive", "leader")

    @task(3)
    def take(self) -> None:
        """Create the item if there is none. A refusal says who was first."""
        name = self.wanted_name()
        for attempt in self.attempts():
            self.table.create(name, attempt=attempt)

    @task(1)
    def look_up(self) -> None:
        """A strong read of a name that somebody may have taken just now."""
        self.read_item(self.wanted_name())

    def wanted_name(self) -> str:
        """Every second there are as many new names as the load has keys, and everybody wants those."""
        return f"{self.keys.anything()}-{int(time.time())}"
