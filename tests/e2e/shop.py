"""A shop of one's own, judged: the users call its HTTP service, and the service counts in the table.

    locust -f shop.py --host http://127.0.0.1:5000 --endpoints us-east-1=http://127.0.0.1:8000,…

Invariant: every order that the shop confirms counts, once.
"""

from locust import HttpUser, task

from lastwriter.client.user import GlobalTableUser


class Shop(GlobalTableUser, HttpUser):
    """Talks to the service only; the table is read when the run has settled."""

    @task
    def order(self) -> None:
        article = self.keys.anything()
        with self.record("add", article, 1) as recorded:
            reply = self.client.post(f"/{self.region}/{article}", name="order", timeout=self.load.deadline)
            if reply.status_code == 200:
                recorded.ok(reply.json()["count"])
            elif reply.status_code == 409:
                recorded.fail("SoldOut")  # the service is sure that nothing was written
            else:
                recorded.unknown(f"HTTP{reply.status_code}")  # 0: no answer

    @task
    def look(self) -> None:
        article = self.keys.anything()
        with self.record("read", article) as recorded:
            reply = self.client.get(f"/{self.region}/{article}", name="look", timeout=self.load.deadline)
            if reply.status_code == 200:
                recorded.ok(reply.json()["count"])
            else:
                recorded.fail(f"HTTP{reply.status_code}")
