"""Registers: every write leaves a value that nobody else writes, and reads say whose it was.

Invariant: a strong read shows the latest acknowledged write, from any Region. MRSC keeps it. MREC keeps it within
one Region; elsewhere a strong read may be a second or so behind, and of two writes at once one disappears.

Judged by the checks `register` (strong reads), `staleness`, `sessions` and the two loss ledgers.

    locust -f locustfiles/registers.py --emulator
"""

from locust import task

from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.user import GlobalTableUser


class Registers(GlobalTableUser):
    """Writes a register, or reads one strongly or eventually."""

    patterns = ("naive", "conditional", "home-region", "fenced", "leader", "read-all")

    @task(2)
    def write(self) -> None:
        """All but `conditional` write blindly (`fenced`: in its epoch), that one only over what it has read."""
        key = self.keys.mine()
        if self.load.pattern != "conditional":
            for attempt in self.attempts():
                self.table.put(key, attempt=attempt, also=self.counter.also(key))
            return
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            seen = self.table.get(key)
            if seen.ok:
                self.table.cas(key, (seen.value or 0) + 1, seen.writer, attempt)

    @task(2)
    def read(self) -> None:
        """A strong read; with `read-all` one in every Region."""
        key = self.keys.anything()
        for region in self.regions if self.load.pattern == "read-all" else [None]:
            self.read_item(key, region=region)

    @task(1)
    def read_eventual(self) -> None:
        """An eventual read: half the price, and in MRSC a tenth of the time."""
        self.read_item(self.keys.anything(), strong=False)
