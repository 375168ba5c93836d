"""Three Ray nodes on this machine, to be joined by a command and to be lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil


class Nodes:
    """A head without engines and two nodes with a logical GPU each.

    Attributes:
        address: what `flow.ray_address` takes.
        workers: the nodes beside the head.
    """

    def __init__(self, cpus: int = 2) -> None:
        """Starts the nodes; `cpus` logical ones on each node beside the head."""
        # Read when Ray is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_worker_niceness", "0")
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._add(num_cpus=0, include_dashboard=False)
        self._cpus = cpus
        self.workers = [self.add(), self.add()]
        self.address = str(self._cluster.address)

    def add(self) -> Any:
        """Returns another node that has joined."""
        return self._add(num_cpus=self._cpus, num_gpus=1)

    def _add(self, attempts: int = 3, **node: Any) -> Any:
        """Adds a node, again if the machine is too busy for Ray's patience of 30 s."""
        while True:
            try:
                return self._cluster.add_node(**node)
            except Exception as error:
                attempts -= 1
                if "timed out" not in str(error) or not attempts:
                    raise

    def processes(self, node: Any) -> list[psutil.Process]:
        """Returns a node's raylet and all processes below it, the workers among them."""
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        return [raylet, *raylet.children(recursive=True)]

    def node_of(self, pid: int) -> Any:
        """Returns the node beside the head that a process belongs to; None if it is no one's."""
        for node in self.workers:
            if pid in {process.pid for process in self.processes(node)}:
                return node
        return None

    def lose(self, node: Any) -> None:
        """Ends all of a node's processes with kill -9, as if its machine were gone."""
        for process in self.processes(node):
            process.kill()
        self.workers.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def lose_all(self) -> None:
        """Ends the head and all other nodes with kill -9."""
        for node in list(self.workers):
            self.lose(node)
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def close(self) -> None:
        """Ends all nodes."""
        self._cluster.shutdown()


@contextmanager
def three_nodes() -> Iterator[Nodes]:
    """Gives three nodes, and ends them."""
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.close()
