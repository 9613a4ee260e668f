"""Ledger: bookings are numbered one by one, as the law wants it: no number twice, none left out, none out of order.

Invariant: the entries of a ledger are 1, 2, 3 … in the order of their making. MRSC keeps it where an entry is written
only if there is none with its number (`--pattern conditional`); numbers drawn from a counter (`naive`) leave a gap when
the second write does not follow the first. In MREC two Regions give the same number away, and one entry disappears.

Judged by the checks `gapless` (gap, repeat, reorder), `refused` and `lost`.

    locust -f locustfiles/ledger.py --emulator --pattern conditional --retry jittered --keys 3
"""

from locust import task

from lastwriter.client.keys import Key
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.user import GlobalTableUser


class Ledger(GlobalTableUser):
    """Books. A key of the load is a ledger; its entries are items of their own."""

    patterns = ("naive", "conditional", "home-region", "leader")

    def on_start(self) -> None:
        self.last: dict[str, int] = {}

    @task
    def book(self) -> None:
        """All but `naive` look for the end of the ledger and write behind it, and look on where somebody was faster."""
        ledger = self.keys.mine()
        if self.load.pattern == "naive":
            for attempt in self.attempts():
                drawn = self.table.add(ledger.part("#numbers"), 1, attempt)
            if drawn.ok and drawn.value:
                self.table.append(ledger, drawn.value, guarded=False)
            return
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            number = self.end_of(ledger)
            if number is not None:
                written = self.table.append(ledger, number + 1, attempt)
                self.last[ledger.name] = number + (written.ok or written.error == CONDITION_FAILED)

    def end_of(self, ledger: Key) -> int | None:
        """Number of the last entry, searched from where it was; None: no answer."""
        number = self.last.get(ledger.name, 0)
        while (seen := self.table.get(ledger.part(f"/{number + 1}"))).ok and seen.value is not None:
            number += 1
        return number if seen.ok else None
