"""Leaderboard: players score, and everybody looks at the best ten, which an index knows.

Invariant: once nothing changes any more the index shows what the table holds. Before that it is behind, in either mode:
index reads are eventual. In MREC points of two Regions for one player are lost as those of any counter.

Judged by the checks `index` (equal in the end; how far behind before), `counter` and `store`.

    locust -f locustfiles/leaderboard.py --emulator --rate 100/s --keys 30
"""

from locust import task

from lastwriter.client.table import Also
from lastwriter.client.user import GlobalTableUser

BOARD = "board"


class Leaderboard(GlobalTableUser):
    """Scores, and looks at the top. A key of the load is a player."""

    patterns = ("naive", "home-region", "leader")
    needs = ("index",)

    @task(3)
    def score(self) -> None:
        """A point more; `g` puts the player on the board, `v` is what the index sorts by."""
        listed = Also(put="g = :board", values={":board": {"S": BOARD}})
        player = self.keys.mine()
        for attempt in self.attempts():
            self.table.add(player, 1, attempt, listed)

    @task(2)
    def look(self) -> None:
        """The best ten."""
        for attempt in self.attempts():
            self.table.query(BOARD, limit=10, attempt=attempt)

    @task(1)
    def own_score(self) -> None:
        """A strong read of one player."""
        player = self.keys.anything()
        for attempt in self.attempts():
            self.table.get(player, attempt=attempt)
