"""Carts: shoppers put articles into the same few carts and take out what they have seen there.

Invariant: what was put in is in the cart until somebody takes it out, and then gone. MRSC keeps it, and MREC for carts
with one writer Region; elsewhere the last writer's cart replaces the other's: articles vanish and return.

Judged by the check `sets` (element by element: behind, lost, seen again), and `lost`.

    locust -f locustfiles/carts.py --emulator --rate 100/s
"""

from locust import task

from lastwriter.client.keys import Key
from lastwriter.client.outcome import CONDITION_FAILED
from lastwriter.client.user import GlobalTableUser


class Carts(GlobalTableUser):
    """Fills and empties carts. Every other cart is a string set, the others are number sets."""

    patterns = ("naive", "conditional", "home-region", "leader")

    @task(3)
    def put_in(self) -> None:
        """`conditional` writes the whole cart over the one that it has read; the others use ADD."""
        cart = self.keys.mine()
        if self.load.pattern != "conditional":
            for attempt in self.attempts():
                self.table.include(cart, attempt=attempt, text=is_text(cart))
            return
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            seen = self.table.get_set(cart)
            if seen.ok:
                self.table.replace_set(cart, seen, attempt=attempt, text=is_text(cart))

    @task(3)
    def take_out(self) -> None:
        """One of the articles that are in, if any; with ADD's counterpart, or by writing the whole cart."""
        cart, chosen = self.keys.mine(), 0
        for attempt in self.attempts(also=[CONDITION_FAILED]):
            seen = self.table.get_set(cart)
            if not seen.elements:
                return
            chosen = chosen or self.random.choice(sorted(seen.elements))
            if self.load.pattern != "conditional":
                self.table.exclude(cart, chosen, attempt, text=is_text(cart))
            elif chosen in seen.elements:
                self.table.replace_set(cart, seen, exclude=chosen, attempt=attempt, text=is_text(cart))

    @task(2)
    def look(self) -> None:
        """A strong read, or an eventual one."""
        cart, strong = self.keys.anything(), self.random.random() < 0.5
        for attempt in self.attempts():
            self.table.get_set(cart, strong=strong, attempt=attempt)


def is_text(cart: Key) -> bool:
    """Whether the cart is a string set."""
    return cart.index % 2 == 1
