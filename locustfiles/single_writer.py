"""Single writer: one Region writes, all others read.

Invariant: nothing is lost, in either mode, for no two Regions write the same item. What MREC does not give is a current
read elsewhere: a strong read shows its own Region's replica, a second or so old. In MRSC it is current, and slower.

Judged by the checks `register` (stale strong reads), `region_order` (no reader goes back) and the loss ledgers.

    locust -f locustfiles/single_writer.py --emulator --rate 60/s
"""

from locust import task

from lastwriter.client.user import GlobalTableUser


class SingleWriter(GlobalTableUser):
    """Writes where it lives in the first Region, reads elsewhere."""

    patterns = ("naive",)

    @task
    def write_or_read(self) -> None:
        """A price list, say: changed in one place, looked at everywhere."""
        key = self.keys.anything()
        if self.lives_in != self.regions[0]:
            self.read_item(key)
            return
        for attempt in self.attempts():
            self.table.put(key, attempt=attempt)
