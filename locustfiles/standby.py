"""Standby: one Region is active, another has a small share of the traffic, so that it is known to work.

Invariant: nothing is lost, in either mode. The active Region (the first) writes the orders; a standby reads them, which
shows how far behind it is, and writes a pulse of its own, which shows that it could take over.

With `--failover routed` it does take over: orders go where the routes lead when the active Region does not answer. In
MREC that costs what had not been replicated by then.

Judged by the checks `counter` and `register` (stale strong reads at the standby) and the two loss ledgers.

    locust -f locustfiles/standby.py --emulator --rate 100/s --shares us-east-1=95%,us-west-2=5%
"""

from locust import task

from lastwriter.client.user import GlobalTableUser


class Standby(GlobalTableUser):
    """Takes orders in the active Region; elsewhere checks that it could."""

    patterns = ("naive",)

    @task
    def serve(self) -> None:
        """An order, or a check."""
        if self.lives_in == self.regions[0]:
            self.counter.add(self.keys.anything())
        else:
            self.counter.read(self.keys.anything())
            self.counter.add(self.own_key("pulse"))
