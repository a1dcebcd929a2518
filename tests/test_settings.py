"""Settings: what is wrong is named with its path and the remedy; the shipped params.yaml loads whole."""

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field

from stages.check import check_all
from stages.clean import CleanSettings
from stages.download import DownloadSettings
from stages.evaluate import EvaluateSettings
from stages.files import DataError
from stages.networks import family
from stages.settings import Record, read_params, section
from stages.split import SplitSettings

SHIPPED = Path(__file__).parent.parent / "params.yaml"
PROFILES = ("smoke", "embedded", "paper")


class Head(Record):
    units: int = Field(4, gt=0)
    kind: Literal["softmax", "sigmoid"] = "softmax"


class Net(Record):
    epochs: int
    rate: float = 0.001
    sizes: tuple[int, ...] = ()
    head: Head | None = None
    class_: Head | None = Field(None, alias="class")


def refused(text: str, record: type[Record] = Net) -> str:
    with pytest.raises(DataError) as caught:
        section("models.a.smoke", record, {"models": {"a": {"smoke": yaml.safe_load(text)}}})
    return str(caught.value)


def test_a_section_becomes_a_frozen_record() -> None:
    text = "{epochs: 3, rate: 1, sizes: [1, 2], head: {units: 7}, class: {kind: sigmoid}}"
    net = section("a.b", Net, {"a": {"b": yaml.safe_load(text)}})
    assert net == Net.model_validate(
        {"epochs": 3, "rate": 1.0, "sizes": (1, 2), "head": Head(units=7), "class": Head(kind="sigmoid")}
    )
    with pytest.raises(ValueError, match="frozen"):
        net.epochs = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{epochs: 3, ratte: 1}", "models.a.smoke.ratte: unknown key. Did you mean `rate`? Allowed here: class, epochs, head"),
        ("{epochs: 3, zzz: 1}", "models.a.smoke.zzz: unknown key. Allowed here: class, epochs, head, rate, sizes"),
        ("{epochs: 3, head: {unit: 1}}", "models.a.smoke.head.unit: unknown key. Did you mean `units`? Allowed here: kind, units"),
        ("{epochs: 3, class: {unit: 1}}", "models.a.smoke.class.unit: unknown key. Did you mean `units`? Allowed here: kind, units"),
        ("{epochs: 3, class_: {units: 1}}", "models.a.smoke.class_: unknown key. Did you mean `class`?"),
        ("{rate: 1}", "models.a.smoke.epochs: missing"),
        ("{epochs: 3, rate: 1e-3}", "models.a.smoke.rate: given '1e-3'"),
        ("{epochs: '3'}", "models.a.smoke.epochs: given '3'"),
        ("{epochs: 3.5}", "models.a.smoke.epochs: given 3.5"),
        ("{epochs: true}", "models.a.smoke.epochs: given True"),
        ("{epochs: 3, head: {units: 0}}", "models.a.smoke.head.units: given 0: Input should be greater than 0"),
        ("{epochs: 3, head: {kind: relu}}", "models.a.smoke.head.kind: given 'relu': Input should be 'softmax' or 'sigmoid'"),
        ("", "models.a.smoke: given None"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    assert refused(text).startswith(f"params.yaml: {message}")


def test_a_number_that_yaml_reads_as_text_gets_a_hint() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"
    hint = "(write 0.001, not 1e-3: YAML reads that as text)"
    assert hint in refused("{epochs: 3, rate: 1e-3}")
    assert hint not in refused("{epochs: 3, rate: fast}")


def test_every_fault_is_told_at_once() -> None:
    assert len(refused("{rate: x, sizes: [a]}").splitlines()) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("datasets.b.smoke", "datasets: no key `b`. There is: a"),
        ("models.a", "the top: no key `models`. There is: datasets"),
        ("datasets.a.smoke.deep.er", "datasets.a.smoke.deep: no key `er`. There is: nothing"),
    ],
)
def test_a_path_that_is_not_there_is_named(path: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        section(path, Net, {"datasets": {"a": {"smoke": {"deep": 3}}}})
    assert str(caught.value) == f"params.yaml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not YAML: .*line 1"),
        ("- 1", "expected a mapping at the top, found list"),
        ("", "expected .* found NoneType"),
    ],
)
def test_a_file_that_is_no_mapping_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"(?s)params\.yaml: {message}"):
        read_params(path)
    with pytest.raises(DataError, match=r"none\.yaml: no such file. Run from the repository's root"):
        read_params(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("record", "text", "message"),
    [
        (SplitSettings, "{}", "no version asked for"),
        (SplitSettings, "{class: {train: 0.65, vall: 0.25}}", r"split\.class\.val: missing"),
        (SplitSettings, "{class: {train: 0.65, vall: 0.25}}", r"`val`\? Allowed here: test, train, val"),
        (SplitSettings, "{official: {train: [a], val: 1.5}}", r"split\.official\.val.*given 1\.5.*less than 1"),
        (SplitSettings, "{official: {train: [], val: 0.1}}", r"split\.official\.train: given \[\]"),
        (SplitSettings, "{near_bits: 8, class: {train: 0.6, val: 0.4}}", r"near_bits: given 8"),
        (SplitSettings, "{stratified: {test: 0.4, val: 1.0, versions: {a: {}}}}", r"split\.stratified\.val: given 1\.0"),
        (SplitSettings, "{stratified: {test: 0.4, val: 0.1, versions: {}}}", r"split\.stratified\.versions: given {}"),
        (SplitSettings, "{stratified: {test: 0.4, val: 0.1, versions: {a: {trian: 3}}}}", r"versions\.a\.trian: unknown key"),
        (CleanSettings, "{max_bad_share: 1.5}", r"max_bad_share: given 1\.5"),
        (EvaluateSettings, "{small_box: 0.2, large_box: 0.1}", r"small_box 0\.2 should be below large_box 0\.1"),
        (DownloadSettings, "{adapter: cctt, source: url}", r"There is: animal_kingdom, animal_posture, caltech_camera_traps, cct20"),
    ],
)  # fmt: skip
def test_stages_refuse_contradictions(record: type[Record], text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        section("split", record, {"split": yaml.safe_load(text)})


# The shipped file ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return read_params(SHIPPED)


def test_shipped_profile_is_one_of_them(shipped: dict[str, Any]) -> None:
    assert shipped["profile"] in PROFILES
    assert isinstance(shipped["seed"], int)
    assert section("evaluate", EvaluateSettings, shipped).draws == 1000


@pytest.mark.parametrize("profile", PROFILES)
def test_shipped_datasets_load(shipped: dict[str, Any], profile: str) -> None:
    assert shipped["datasets"]
    for name, entry in shipped["datasets"].items():
        assert set(PROFILES) <= set(entry), name
        for stage, record in (("download", DownloadSettings), ("clean", CleanSettings), ("split", SplitSettings)):
            section(f"datasets.{name}.{profile}.{stage}", record, shipped)


@pytest.mark.parametrize("profile", PROFILES)
def test_shipped_models_load_and_name_what_exists(shipped: dict[str, Any], profile: str) -> None:
    assert shipped["models"]
    for name, entry in shipped["models"].items():
        assert "." not in name  # DVC would take it for a path
        section(f"models.{name}.{profile}", family(entry["family"]).SETTINGS, shipped)
        split = section(f"datasets.{entry['dataset']}.{profile}.split", SplitSettings, shipped)
        kind = Path(entry["lists"]).parts[1]
        made = shipped[kind][entry["dataset"]]["base"] if kind in ("harder", "synthetic") else entry["lists"]
        assert made in [f"data/splits/{entry['dataset']}/{version}" for version in split.made()], name
        assert entry["tables"] == shipped["datasets"][entry["dataset"]]["tables"], name


def test_shipped_file_is_all_well(shipped: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    entries = sum(len(shipped[kind]) for kind in ("pretrained", "harder", "synthetic", "bboxes", "heatmaps", "clips", "models"))
    assert check_all(shipped) == 1 + len(shipped["compare"]) + 12 * len(shipped["datasets"]) + 3 * entries
    assert capsys.readouterr().out == "", "no model's list is left out in the profile at hand"


def shared_mappings(value: Any, path: str, seen: dict[int, str]) -> list[tuple[str, str]]:
    if not isinstance(value, (dict, list)):
        return []
    twice = [(seen[id(value)], path)] if id(value) in seen else []
    seen[id(value)] = path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return twice + [pair for key, item in items for pair in shared_mappings(item, f"{path}.{key}", seen)]


def test_no_two_paths_share_one_mapping(shipped: dict[str, Any]) -> None:
    """Else `dvc exp run -S` changes two places, or none."""
    assert shared_mappings(shipped, "", {}) == []


def test_the_check_for_shared_mappings_sees_one() -> None:
    params = yaml.safe_load("a: &a {options: {width: 1}}\nb: {<<: *a}")
    assert shared_mappings(params, "", {}) == [(".a.options", ".b.options")]
