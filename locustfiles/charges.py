"""Charges: a customer is charged once, however often the request has to be sent.

Invariant: every charge that a customer asked for and saw confirmed is applied once. When an answer does not come nobody
knows whether the charge was; who asks again needs a request that is applied once (`--pattern idempotent`). `naive` asks
again all the same and charges twice; `last-request-id` remembers one request only and forgets it when another comes
between. In MREC what an item remembers is lost with the item.

Judged by the checks `twice` (one intent applied more than once), `store` and `lost`.

    locust -f locustfiles/charges.py --emulator --pattern idempotent --retry jittered
"""

from locust import task

from lastwriter.client.user import GlobalTableUser


class Charges(GlobalTableUser):
    """Charges accounts, and asks again where no answer came."""

    patterns = ("naive", "home-region", "leader", "idempotent", "last-request-id")

    @task(4)
    def charge(self) -> None:
        """Patterns that apply a request once ask again by themselves."""
        account = self.keys.mine()
        if self.load.pattern in ("idempotent", "last-request-id"):
            self.counter.add(account)
            return
        for attempt in self.attempts(unknown=True):
            self.table.add(account, 1, attempt)

    @task(1)
    def statement(self) -> None:
        """A strong read."""
        self.counter.read(self.keys.anything())
