"""Stream consumer: writers change items everywhere, and in every Region a consumer reads that Region's stream.

Invariant: a consumer is told every change of its Region once, in the order in which the item went through them, and
nothing that did not happen. Both modes promise it; in MREC changes that arrive by replication may come as one, and what
loses to a newer write must not come at all. How late consumers are is told in the verdict.

Judged by the check `streams`.

    locust -f locustfiles/stream_consumer.py --emulator --rate 60/s
"""

from locust import task

from lastwriter.client.stream_reader import StreamReader
from lastwriter.client.user import GlobalTableUser

CONSUMER = 3
"""Of the users of a load the first three, one in each Region where shares are equal, read streams."""


class StreamConsumer(GlobalTableUser):
    """Reads its Region's stream at its share of the rate, or writes."""

    patterns = ("naive", "home-region", "leader")
    needs = ("streams",)
    reader: StreamReader | None = None

    def on_start(self) -> None:
        if self.number < CONSUMER:
            self.reader = self.open_stream()

    @task
    def consume_or_write(self) -> None:
        """A page of the stream, or a write of a value of one's own."""
        if self.reader is not None:
            self.reader.poll()
            return
        key = self.keys.mine()
        for attempt in self.attempts():
            self.table.put(key, attempt=attempt)

    def on_stop(self) -> None:
        if self.reader is not None:
            self.close_stream(self.reader)
