"""Hot keys: a few products get most of the clicks.

Invariant: every acknowledged click counts, once, on a hot key as on any other. MRSC keeps it, at the price of
conflicts where Regions meet on a hot key; MREC loses most where most is written.

Judged by the checks `counter`, `register` and the two loss ledgers. The record says of each operation whether its key
was hot (`key_class`), if there is a hot set.

    locust -f locustfiles/hot_keys.py --emulator --mode MRSC --keys 100 --hot 2=80% --retry jittered
    locust -f locustfiles/hot_keys.py --emulator --keys 1000 --zipf 1.1 --rate 200/s
"""

from locust import task

from lastwriter.client.user import GlobalTableUser


class HotKeys(GlobalTableUser):
    """Clicks on products, and looks at how often others did."""

    @task(5)
    def click(self) -> None:
        """One more. The pattern `sharded` spreads the hot keys over several items."""
        self.counter.add(self.keys.mine())

    @task(4)
    def look(self) -> None:
        """An eventual read: nobody minds if a count is a little old."""
        self.counter.read(self.keys.anything(), strong=False)

    @task(1)
    def audit(self) -> None:
        """A strong read: this one does."""
        self.counter.read(self.keys.anything())
