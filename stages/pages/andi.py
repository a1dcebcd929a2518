"""ANDI's figures on Caltech Camera Traps, for showing beside ours: never a pass mark, never a result of ours.

From its slides, "ANimal Deep learning Identification", Baril, Beaulieu Emond, Kassis and Gilon, April 22, 2022
(shared/papers/camera_trap.md). A model of ours is called <data set>-<network>-<version>.
"""

from typing import Any

from stages.samples import SEEN, UNSEEN, VAL

# By our word for a network: its name there, classifies, detects, parameters in millions, layers.
NETWORKS = {
    "vgg19": ("VGG19", True, False, 143.7, 19),
    "alexnet": ("AlexNet", True, False, 62, 11),
    "resnext50": ("ResNext50", True, False, 41.5, 50),
    "yolov5n": ("YOLO v5 (N)", True, True, 1.9, 191),
    "yolov5s": ("YOLO v5 (S)", True, True, 7.2, 191),
    "yolov5m": ("YOLO v5 (M)", True, True, 21.2, 191),
    "yolov5l": ("YOLO v5 (L)", True, True, 46.5, 191),
    "yolov5x": ("YOLO v5 (XL)", True, True, 86.5, 191),
    "efficientdet": ("EfficientDetv2", True, True, 52, 247),
}
# Macro F1, mAP50 and hours:minutes of training. They fit no row of its test tables, so they are read as validation figures.
VERSIONS: dict[str, tuple[str, dict[str, tuple[float, float | None, str]]]] = {
    "location": (
        "Data 1.0, split by location",
        {
            "alexnet": (0.20, None, "0:54"),
            "vgg19": (0.18, None, "5:33"),
            "resnext50": (0.21, None, "2:45"),
            "efficientdet": (0.57, 0.18, "12:19"),
            "yolov5n": (0.46, 0.448, "4:15"),
            "yolov5s": (0.53, 0.532, "5:02"),
            "yolov5m": (0.57, 0.575, "4:34"),
            "yolov5l": (0.58, 0.584, "7:17"),
            "yolov5x": (0.61, 0.616, "12:33"),
        },
    ),
    "class": (
        "Data 2.0, split equally among classes",
        {
            "alexnet": (0.85, None, "3:48"),
            "resnext50": (0.88, None, "5:17"),
            "yolov5n": (0.86, 0.876, "4:33"),
            "yolov5s": (0.90, 0.921, "4:23"),
            "yolov5m": (0.91, 0.935, "8:07"),
        },
    ),
    "upsampled": (
        "Data 3.0, the weakest classes upsampled",
        {"alexnet": (0.87, None, "1:11"), "resnext50": (0.90, None, "11:10"), "yolov5m": (0.91, 0.93, "2:37")},
    ),
    "isolated": (
        "Data 4.0, the weakest classes' animals isolated",
        {"alexnet": (0.86, None, "1:07"), "resnext50": (0.84, None, "10:10"), "yolov5m": (0.90, 0.93, "3:06")},
    ),
    "608": ("Data 608, pictures of 608 px", {"yolov5m": (0.88, 0.88, "5:52")}),
}
# Macro F1, mAP50 and seconds an image of its test sets, for models trained on version `class`.
TESTED = "class"
TESTS: dict[str, tuple[str, dict[str, tuple[float, float | None, float]]]] = {
    SEEN: ("Test at seen locations", {"resnext50": (0.93, None, 0.01), "yolov5m": (0.98, 0.88, 0.01)}),
    UNSEEN: ("Test at unseen locations", {"resnext50": (0.35, None, 0.01), "yolov5m": (0.76, 0.68, 0.01)}),
}
BEST, QUICKEST_CLASSIFIER, MOST_PORTABLE = "YOLOv5 M (F1, mAP, size)", "AlexNet", "YOLOv5 N"  # what it concludes


def network_of(model: str, dataset: str) -> tuple[str, str]:
    """(network, version) of one of our models, by its name."""
    network, _, version = model.removeprefix(f"{dataset}-").rpartition("-")
    return network, version


def table(
    theirs: dict[str, tuple[Any, ...]], models: dict[str, dict[str, Any]], dataset: str, version: str
) -> list[dict[str, Any]]:
    """A row for each network that they or we have of a version: name, theirs (f1, map50, cost) or None, model or None."""
    ours = {network_of(name, dataset)[0]: name for name in models if network_of(name, dataset)[1] == version}
    order = [*theirs, *sorted(ours.keys() - theirs.keys())]
    return [
        {"name": NETWORKS[key][0] if key in NETWORKS else key, "theirs": theirs.get(key), "model": ours.get(key)}
        for key in order
    ]


def results(
    title: str, version: str, part: str, theirs: dict[str, Any], models: dict[str, dict[str, Any]], dataset: str
) -> dict[str, Any]:
    """A table of its results: title, version, part (of ours), rows of `table`, and whether any model of `ours` is in it."""
    rows = table(theirs, models, dataset, version)
    ours = any(row["model"] and part in models[row["model"]]["parts"] for row in rows)
    return {"title": title, "version": version, "part": part, "rows": rows, "ours": ours}


def version_tables(models: dict[str, dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """Its five tables of versions, which stand beside our val."""
    return [results(title, version, VAL, theirs, models, dataset) for version, (title, theirs) in VERSIONS.items()]


def test_tables(models: dict[str, dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """Its two tables of tests."""
    return [results(title, TESTED, part, theirs, models, dataset) for part, (title, theirs) in TESTS.items()]


def networks(models: dict[str, dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    """Its table of models, and those of ours that it has not: name, theirs or None, and the model of ours that was measured, or
    None: of several versions that of `class`, else the first."""
    ours: dict[str, str] = {}
    for name in sorted(models, key=lambda name: (network_of(name, dataset)[1] != TESTED, name)):
        if models[name]["cost"]:
            ours.setdefault(network_of(name, dataset)[0], name)
    order = [*NETWORKS, *sorted(ours.keys() - NETWORKS.keys())]
    return [
        {"name": NETWORKS[key][0] if key in NETWORKS else key, "theirs": NETWORKS.get(key), "model": ours.get(key)}
        for key in order
    ]


def figures(dataset: str, part: str) -> dict[tuple[str, str], float]:
    """Its figures of a part by (model of ours, figure): those of the tests, and of val those of the versions."""
    tables = (
        {TESTED: TESTS[part][1]} if part in TESTS else {v: rows for v, (_, rows) in VERSIONS.items()} if part == VAL else {}
    )
    return {
        (f"{dataset}-{network}-{version}", figure): value
        for version, rows in tables.items()
        for network, row in rows.items()
        for figure, value in (("f1_macro", row[0]), ("map50", row[1]))
        if value is not None
    }
