"""Inventory: everybody wants the same few articles, and each piece can be sold once.

Invariant: stock never falls below zero, and no more is sold than there was. MRSC keeps it where the sale asks for
enough stock in the same request (`--pattern conditional`), and not where that was looked up before (`naive`). In MREC
each Region sells what its own replica shows: the last piece goes twice, and sold ones come back on the shelf.

Judged by the checks `stock` (below zero, oversold, miscounted), `refused` and `lost`.

    locust -f locustfiles/inventory.py --emulator --pattern conditional --retry jittered --keys 3 --rate 100/s
"""

from locust import task

from lastwriter.client.user import GlobalTableUser

PIECES = 50
DELIVERED = 5


class Inventory(GlobalTableUser):
    """Sells, and now and then delivers more."""

    patterns = ("naive", "conditional", "home-region", "leader")

    def on_start(self) -> None:
        """The first user fills the shelves, except where the pattern gives them to other Regions."""
        for article in self.keys.keys:
            if article.home_region == self.region or (article.home_region is None and self.number == 0):
                self.table.create(article, PIECES)

    @task(10)
    def sell(self) -> None:
        """One piece. `naive` looks first and then takes; the others take only if there is one."""
        article = self.keys.mine()
        guarded = self.load.pattern != "naive"
        for attempt in self.attempts():
            if guarded or (self.table.get(article).value or 0) > 0:
                self.table.take(article, 1, attempt, guarded=guarded)

    @task(1)
    def deliver(self) -> None:
        """More of what there is."""
        article = self.keys.mine()
        for attempt in self.attempts():
            self.table.add(article, DELIVERED, attempt)
