"""Points of a sweep are composed as Hydra alone would compose them, faster."""

from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.onepass import Composer
from tests.flow.conftest import ROOT


@pytest.fixture(scope="module")
def loader() -> ConfigLoaderImpl:
    return ConfigLoaderImpl(create_config_search_path(str(Path(ROOT) / "conf")))


@pytest.fixture(scope="module")
def master(loader: ConfigLoaderImpl) -> DictConfig:
    return loader.load_configuration("config", [], RunMode.MULTIRUN)


@pytest.mark.parametrize(
    "overrides",
    [
        ["sample.m=3", "rules=digit", "sample.program_temperature=0.5"],
        ["rules=digit", "sample.m=0"],  # the same groups again: from the kept base
        ["experiment=gsm8k_paper", "model=qwen2.5-coder-0.5b", "generate.n=20"],
        ["sample=distinct", "task.ids=[a,b]", "execute.function.wall_s=3"],
        ["+task.options.colour=red", "sample.m=1"],
        ["~task.options", "seed=4"],
    ],
)
def test_a_point_is_what_hydra_makes_of_it(
    loader: ConfigLoaderImpl, master: DictConfig, composed: Composer, overrides: list[str]
) -> None:
    theirs = loader.load_sweep_config(master, overrides)
    OmegaConf.set_struct(theirs, False)
    theirs.pop("hydra")
    OmegaConf.resolve(theirs)
    ours = composed.compose(overrides)
    assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)


@pytest.fixture(scope="module")
def composed(loader: ConfigLoaderImpl, master: DictConfig) -> Composer:
    return Composer(loader, master)


def test_a_point_never_changes_the_next_one(composed: Composer) -> None:
    first = composed.compose(["sample.m=9"])
    assert composed.compose(["seed=1"]).sample.m == composed.compose([]).sample.m != first.sample.m


def test_a_key_that_is_not_there_is_refused_with_what_to_write(composed: Composer) -> None:
    with pytest.raises(Exception, match=r"Could not override 'sample\.mm'"):
        composed.compose(["sample.mm=1"])
