"""Tells Locust which worker runs how many users of which class, where the plan says so and not Locust's UI."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from locust.dispatch import UsersDispatcher

from lastwriter.client.plan import LoadPlan
from lastwriter.client.slots import is_elastic, slots_by_worker
from lastwriter.client.worker import workload_of

Assignment = Mapping[str, Mapping[str, int]]
"""Locust's id of a worker → name of a user class → how many."""


def assignment(plan: LoadPlan, worker_ids: Sequence[str], user_classes: Iterable[type]) -> Assignment | None:
    """What each worker runs (:func:`slots_by_worker`). None: Locust's user count decides."""
    if any(is_elastic(plan, load) for load in plan.loads):
        return None
    class_of = {workload_of(user_class): user_class.__name__ for user_class in user_classes}
    return {
        worker_id: Counter(class_of[slot.load.workload] for slot in slots)
        for worker_id, slots in zip(worker_ids, slots_by_worker(plan, len(worker_ids)), strict=True)
    }


class PlanDispatcher(UsersDispatcher):
    """Locust's dispatcher, unless there is an assignment: then all of it at once, and nothing ever moves.

    A worker that dies leaves its share undone: its processes may have writes in flight, so nobody else can be them.
    """

    def __init__(
        self, worker_nodes: list[Any], user_classes: list[type], assigned: Callable[[], Assignment | None]
    ) -> None:
        super().__init__(worker_nodes, user_classes)
        self._assigned = assigned

    def _dispatcher(self) -> Generator[dict[str, dict[str, int]], None, None]:
        assigned = self._assigned()
        if assigned is None:
            yield from super()._dispatcher()
            return
        self._dispatch_in_progress = True
        self._rebalance = False
        names = [user_class.__name__ for user_class in self._original_user_classes]
        self._users_on_workers = {
            node.id: {name: assigned.get(node.id, {}).get(name, 0) for name in names} for node in self._worker_nodes
        }
        self._current_user_count = self.get_current_user_count()
        yield self._users_on_workers
        self._dispatch_in_progress = False
