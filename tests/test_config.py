"""The strict configuration loader."""

from pathlib import Path

import pytest

from vocalburst.gen.config import Precision, Section, dump_config, load_config
from vocalburst.gen.data.emotions import EMOGATOR_30
from vocalburst.gen.data.errors import InputDataError
from vocalburst.gen.train_config import TrainConfig

TRAIN_PRESETS = sorted((Path(__file__).parents[1] / "configs" / "train").glob("*.yaml"))


class Layer(Section):
    width: int = 1
    sizes: tuple[int, ...] = (1,)


class Settings(Section):
    rate: float
    layer: Layer = Layer()
    layers: tuple[Layer, ...] = ()


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_differences_go_over_the_base_and_overrides_over_both(tmp_path):
    write(
        tmp_path,
        base="rate: 1.0e-3\nlayer: {width: 4, sizes: [1, 2]}\n",
        small="base: base.yaml\nlayer: {sizes: [9]}\n",
        smaller="base: small.yaml\nrate: 0.5\n",
    )
    settings = load_config(tmp_path / "smaller.yaml", Settings, ["layer.width=7"])
    assert settings == Settings(rate=0.5, layer=Layer(width=7, sizes=(9,)))


def test_resolved_configuration_reads_back(tmp_path):
    settings = Settings(rate=3e-5, layers=(Layer(width=2),))
    (tmp_path / "resolved.yaml").write_text(dump_config(settings))
    assert load_config(tmp_path / "resolved.yaml", Settings) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rate: 1\nrates: 2", "unknown key 'rates'; the nearest valid one is 'rate'"),
        ("rate: 1\nlayer: {widht: 2}", "unknown key 'layer.widht'; the nearest valid one is 'width'"),
        ("rate: 1\nlayers: [{size: 2}]", "unknown key 'layers.0.size'; the nearest valid one is 'sizes'"),
        ("rate: 1\nrate: 2", "'rate' stands there twice, again on line 2"),
        ("rate: fast", "rate: .*valid number"),
        ("layer: {}", "rate: Field required"),
        ("- 1", "expected keys and values, found list"),
        ("rate: [1", "not valid YAML"),
        ("base: settings.yaml", "comes back to itself"),
        ("base: nowhere.yaml", "nowhere.yaml: cannot be read"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, text, message):
    write(tmp_path, settings=text)
    with pytest.raises(InputDataError, match=message) as caught:
        load_config(tmp_path / "settings.yaml", Settings)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("override", ["rate", "=3", "rate=[1"])
def test_a_malformed_override_is_refused(tmp_path, override):
    write(tmp_path, settings="rate: 1")
    with pytest.raises(InputDataError, match="override"):
        load_config(tmp_path / "settings.yaml", Settings, [override])


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Layer().width = 3


@pytest.mark.parametrize("written", ["no", "'no'", "bf16"])
def test_a_precision_is_read_as_it_is_written(tmp_path, written):
    """YAML takes a bare `no` for false."""

    class Run(Section):
        precision: Precision = "fp16"

    write(tmp_path, run=f"precision: {written}\n")
    settings = load_config(tmp_path / "run.yaml", Run)
    assert settings.precision == written.strip("'")
    assert load_config(tmp_path / "run.yaml", Run, [f"precision={written}"]) == settings
    (tmp_path / "again.yaml").write_text(dump_config(settings))
    assert load_config(tmp_path / "again.yaml", Run) == settings


@pytest.mark.parametrize("path", TRAIN_PRESETS, ids=lambda path: path.stem)
def test_the_train_presets_are_whole(path):
    config = load_config(path, TrainConfig)
    assert config.samples.warmup + config.samples.decay <= config.samples.total
    if config.teacher is not None:
        assert config.init is not None and config.teacher.guidance_of.keys() <= set(EMOGATOR_30)
        assert config.teacher.autoguidance_interval[0] < config.teacher.autoguidance_interval[1]
