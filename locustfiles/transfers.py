"""Transfers: money moves between the accounts of a bank, two accounts a transaction, and auditors add up all of them.

Invariant: an audit adds up to what the bank began with (nothing: accounts may be overdrawn), and shows no transfer by
half. MREC keeps it in the Region that a bank is kept in (`--pattern home-region`); elsewhere transactions arrive item
by item and are seen torn, and with two writing Regions the last writer keeps one half of two transfers. MRSC has no
transactions: its tables refuse them.

Judged by the checks `torn` (a transfer by half, in its own Region), `long_fork` (two audits that cannot be put in any
order) and `bank` (the totals).

    locust -f locustfiles/transfers.py --emulator --pattern home-region --keys 6 --rate 60/s
"""

from locust import task

from lastwriter.client.keys import Key
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.several import Change
from lastwriter.client.user import GlobalTableUser

ACCOUNTS = 4


class Transfers(GlobalTableUser):
    """Moves money and audits. A key of the load is a bank."""

    patterns = ("naive", "conditional", "home-region", "leader")
    modes = ("MREC",)

    @task(3)
    def transfer(self) -> None:
        """`conditional` looks at both accounts first and asks that nobody comes between; the others add blindly."""
        paying, paid = self.random.sample(accounts(self.keys.mine()), 2)
        amount = self.random.randint(1, 100)
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            expect: list[int | None] = [None, None]
            if self.load.pattern == "conditional":
                expect = [seen.writer for seen in self.table.transact_read([paying, paid]).parts]
                if None in expect:
                    continue
            out = Change.add(paying, -amount, expect[0])
            self.table.transact_write([out, Change.add(paid, amount, expect[1])], attempt)

    @task(2)
    def audit(self) -> None:
        """All accounts of a bank at once."""
        bank = accounts(self.keys.anything())
        for attempt in self.attempts():
            self.table.transact_read(bank, attempt)


def accounts(bank: Key) -> list[Key]:
    """Items of a bank."""
    return [bank.part(f"/{number}", bank.home_region) for number in range(ACCOUNTS)]
