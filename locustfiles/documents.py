"""Documents: authors in every Region edit the same few documents.

Invariant: no save replaces a revision that its author has not read, so no edit disappears. MRSC keeps it: of two saves
over one revision one is refused, and its author reads again. In MREC each Region judges the condition on its own
replica: both are accepted, and one author's edit is gone although it was saved.

Judged by the checks `lost_update` (two saves over one revision) and `lost` (an accepted save that stands nowhere).

    locust -f locustfiles/documents.py --emulator --retry jittered --item-bytes 4000
"""

from locust import task

from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.user import GlobalTableUser


class Documents(GlobalTableUser):
    """Reads documents, edits and saves them. Every save is conditional; the pattern says from where."""

    patterns = ("naive", "conditional", "home-region", "leader")

    @task(1)
    def edit(self) -> None:
        """Read, edit, save over the revision that was read; where that is refused, read again."""
        document = self.keys.mine()
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            revision = self.table.get(document)
            if revision.ok:
                self.table.cas(document, (revision.value or 0) + 1, revision.writer, attempt)

    @task(2)
    def preview(self) -> None:
        """An eventual read."""
        self.read_item(self.keys.anything(), strong=False)
