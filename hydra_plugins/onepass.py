"""A Hydra launcher that hands all points of a multirun to the job at once, and its sweeper.

Hydra's own launcher runs one job after the other. The points of a sweep over saved
generations share almost all of their work, so this one composes every point first and calls
the job once with all of them. A point that does not compose is reported at once and does not
stop the others.
"""

import pickle
import sys
from collections.abc import Callable, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

Point = tuple[list[str], DictConfig]
Job = Callable[[list[Point]], list[str]]  # returns one failure sentence per point, "" if none


class OnePassSweeper(BasicSweeper):
    """Hydra's basic sweeper, without composing every point once more to see that it can be."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leaves it to the launcher, which says which points do not compose."""


class OnePassLauncher(Launcher):
    """Composes all points, then runs the job once."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keeps what `launch` needs; the task function carries the job as `job`."""
        self.job: Job = task_function.job  # type: ignore[attr-defined]
        self.context = hydra_context
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs all points in one pass; exits with 1 if any failed."""
        composer = Composer(self.context.config_loader, self.config)
        points: list[Point] = []
        failed = 0
        for overrides in job_overrides:
            try:
                points.append((list(overrides), composer.compose(overrides)))
            except Exception as error:  # noqa: BLE001 - reported at once; the other points go on
                print(f"error: {' '.join(overrides)}: {error}", file=sys.stderr)
                failed += 1
        failed += sum(map(bool, self.job(points)))
        if failed:
            print(f"{failed} of {len(job_overrides)} points failed", file=sys.stderr)
            sys.exit(1)
        return [JobReturn(overrides=o, status=JobStatus.COMPLETED) for o in job_overrides]


class Composer:
    """Composes the points of a sweep, those with the same choices of groups from one base.

    Composing takes Hydra a tenth of a second, almost all of it for the groups; values are set
    on the result. A sweep of a hundred points over a handful of choices composes a handful.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        """Takes the multirun's loader and configuration."""
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._bases: dict[tuple[str, ...], bytes] = {}  # pickled: copied six times as fast
        self._groups: dict[str, bool] = {}  # Hydra takes milliseconds to tell

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Returns the resolved configuration of a point, without Hydra's own node.

        Raises: what Hydra raises if it does not compose.
        """
        config = self._quickly(self._parser.parse_overrides(list(overrides)))
        config = self._as_hydra_does(overrides) if config is None else config
        OmegaConf.resolve(config)
        return config

    def _quickly(self, overrides: Sequence[Override]) -> DictConfig | None:
        """Returns the unresolved configuration; None: these are not only groups and values."""
        values = [o for o in overrides if not self._is_group(o)]
        if any(o.is_add() or o.is_force_add() or o.is_delete() or o.package for o in values):
            return None  # here the order counts
        groups = tuple(o.input_line or "" for o in overrides if self._is_group(o))
        if groups not in self._bases:
            self._bases[groups] = pickle.dumps(self._as_hydra_does(groups))
        config: DictConfig = pickle.loads(self._bases[groups])
        try:
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:
            return None  # Hydra's own message says what to write instead
        return config

    def _is_group(self, override: Override) -> bool:
        name = override.key_or_group
        if name not in self._groups:
            self._groups[name] = bool(self._loader.get_group_options(name))
        return self._groups[name]

    def _as_hydra_does(self, overrides: Sequence[str]) -> DictConfig:
        config = self._loader.load_sweep_config(self._master, list(overrides))
        with open_dict(config):
            config.pop("hydra", None)
        return config
