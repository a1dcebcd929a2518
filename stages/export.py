"""The users' command: trained models as ONNX files, which phones, browsers and other programs run without PyTorch.

    python -m stages.export MODEL [MODEL ...] [--out exported] [--pictures FOLDER]

A file takes pictures as its network is shown them, uint8 (batch, height, width, 3) RGB, or 4 with a heatmap of joints, and of
a network of videos windows of them, uint8 (batch, frames, height, width, 3): several windows and squares of one video go in as
a batch, and the mean of what comes out is the answer. Normalisation is inside. The file's metadata say how to show a picture
or window, what comes out and what it was trained on. Before a file is kept, ONNX Runtime and PyTorch answer for the same
pictures: both give the same classes, boxes and joints, or none is written.
Letters: B pictures or windows of a batch, h and w their sides, C classes, N boxes of a picture, A places or anchors.
"""

import argparse
import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages import cost, export_clips, media, trained
from stages.command import run
from stages.files import MANIFEST, DataError, new_file, read_json
from stages.inference import Found, Network
from stages.people import JOINT_NAMES
from stages.pictures import RGB, UnreadablePicture, decode
from stages.predictions import CLASS, JOINTS
from stages.views import GREY

SCORE_TOLERANCE, BOX_TOLERANCE_PX = 1e-3, 0.5
TURNS = 6  # in which the two are timed, so that what else runs on the machine falls on both
_MOST_PICTURES = 32  # of --pictures: the first ones, by path
_LARGE_PX = 640  # their shorter side is no larger than needed: many are held at once
_PROBABILITIES = {"probabilities": "(batch, classes): the probability of each class"}
_OUTPUTS = {  # of each family, in the order in which its module gives them
    "image": _PROBABILITIES,
    "crop": _PROBABILITIES,
    "heatmap": _PROBABILITIES,
    "slowfast": {"scores": "(batch, classes): a score from 0 to 1 for each class; those of a window need not sum to 1"},
    "yolo": {
        "boxes": "(batch, 4 + classes, places): centre x, centre y, width and height in px of the input, then a score from "
        "0 to 1 for each class; duplicates not yet suppressed"
    },
    "pose": {
        "people": "(batch, 4 + 1 + 3 * joints, places): centre x, centre y, width and height in px of the input, a score from "
        "0 to 1, then x and y in px and a confidence from 0 to 1 of each joint; duplicates not yet suppressed"
    },
    "efficientdet": {
        "scores": "(batch, anchors, classes): a score from 0 to 1 for each class; duplicates not yet suppressed",
        "boxes": "(batch, anchors, 4): x_min, y_min, x_max, y_max in px of the input",
    },
}
_RESIZED = "averaged where it shrinks (OpenCV's INTER_AREA), else bilinear"
Outputs = list[NDArray[np.float32]]  # of one batch, as _OUTPUTS names them


# --- the file ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """How any picture is shown to a network: of this size in px, or where it is padded of multiples of `stride_px`."""

    width_px: int  # of a padded one the longer side
    height_px: int
    stride_px: int
    padded: bool
    channels: int

    def __str__(self) -> str:
        if not self.padded:
            size = f"both sides resized to {self.width_px} px"
            if self.width_px != self.height_px:
                size = f"resized to {self.width_px} x {self.height_px} px"
            return f"squeezed: {size}, whatever the picture's shape, {_RESIZED}"
        return (
            f"letterboxed: the longer side resized to {self.width_px} px and the other alike, rounded up, {_RESIZED}; then "
            f"grey ({GREY}, {GREY}, {GREY}) added before and after, the same or 1 px less before, up to multiples of "
            f"{self.stride_px} px"
        )


def shown(network: Network) -> Shown:
    lowest = network.view(1000, 1)  # a letterboxed one is padded to a single stride
    height_px, width_px, channels = lowest.show(np.zeros((1, 1000, 3), np.uint8)).shape
    channels += network.stored is not None and network.clip is None  # a heatmap
    return Shown(width_px, height_px, height_px, padded=lowest.height < height_px, channels=channels)


def outputs_of(network: Network) -> dict[str, str]:
    """What each output of the network is, by its name."""
    return _OUTPUTS["pose" if network.task == JOINTS else network.card["family"]]


def metadata(folder: Path, network: Network) -> dict[str, str]:
    """All that one needs to know to use the file, as it stands in it."""
    card, kind = network.card, shown(network)
    settings = card["settings"]
    values = {
        "key": folder.resolve().name,
        "task": "detection" if _detects(network) else "classification of a picture",
        "classes": json.dumps(network.classes, ensure_ascii=False),
        "outputs": json.dumps(outputs_of(network)),
        "input": f"uint8 (batch, height, width, 3) RGB, 0 to 255, not normalised; {kind}",
        "side_px": str(kind.width_px),
        "as_built": card["as_built"],
        "weights_sha256": read_json(folder / MANIFEST)["weights.safetensors"]["sha256"],
        "trained_on": card["trained_on"]["data"],
    }
    if _detects(network):  # how the boxes are thinned out
        values |= {name: str(settings[name]) for name in ("score_floor", "nms_iou", "max_boxes")}
    if network.regions is not None:
        values["task"] = "classification of what lies in a box"
        values["boxes_from"] = card.get("behind", "")  # earlier cards do not tell
        values["region"] = (
            f"a square about the box, {network.regions.margin} of its longer side wider on each side, moved into the picture"
        )
    if network.task == JOINTS:
        values |= {"task": "detection of people and their joints", "joints": json.dumps(JOINT_NAMES)}
    if network.clip is not None:
        values |= export_clips.about(network.clip, _RESIZED)
    elif network.stored is not None:
        values |= {
            "task": "classification of a picture and a heatmap of people's joints",
            "input": f"uint8 (batch, height, width, 4) RGB and heatmap, 0 to 255, not normalised; {kind}",
            "shown": card["inputs"],
            "heatmaps": json.dumps(card["heatmaps"]),
            "heatmap": "of two people, the one nearest the picture's centre and the one farthest from that one: the largest "
            "of the Gaussians round their joints, each 255 times its joint's confidence high; sizes and pose model: `heatmaps`",
        }
        del values["side_px"]
    values |= {name: str(value) for name, value in trained.chosen(folder).items()}  # image_threshold, temperature, ...
    return values


def _detects(network: Network) -> bool:
    return network.task != CLASS and network.regions is None


def to_onnx(network: Network) -> Any:
    """The network as a torch.onnx.ONNXProgram for batches of any size, and of any shape where pictures are letterboxed.

    One of clips takes single windows (B, T, P, P, 3), for which its module has a view each.

    Raises DataError where PyTorch's exporter cannot follow the network. To be called before the network has seen a picture:
    Ultralytics' head keeps the places of the last picture's shape, and they would become constants.
    """
    kind = shown(network)
    axes, height_px, width_px = {0: "batch"}, kind.height_px, kind.width_px
    if kind.padded:
        axes |= {1: "height", 2: "width"}
        height_px, width_px = 2 * kind.stride_px, 3 * kind.stride_px  # a side of one stride would be taken for a constant
    frames = () if network.clip is None else (network.clip.frames,)
    pictures = torch.zeros((2, *frames, height_px, width_px, kind.channels), dtype=torch.uint8)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _exported(network),
                (pictures,),
                dynamo=True,
                input_names=[_input(network)],
                output_names=list(outputs_of(network)),
                dynamic_shapes=(axes,),
                verbose=False,
            )
    except Exception as error:  # the exporter's faults share no base
        raise DataError(f"PyTorch cannot export {network.card['as_built']}: {_cause(error)}") from None
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # source lines with this machine's paths
    return program


def _input(network: Network) -> str:
    return "pictures" if network.clip is None else export_clips.INPUT


def _exported(network: Network) -> nn.Module:
    return network.module if network.clip is None else export_clips.OneView(network.module).eval()


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says to developers: what it made is checked, whatever it said."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


# --- does it answer alike? ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """Between what two runtimes gave for the same pictures."""

    score: float = 0.0  # the largest of any score or probability
    box_px: float = 0.0  # and of any box's side
    pictures: int = 0
    same_answer: int = 0  # of so many of them the class, or what was found, is the same

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(  # np.maximum keeps NaN, max() may not
            float(np.maximum(self.score, other.score)),
            float(np.maximum(self.box_px, other.box_px)),
            self.pictures + other.pictures,
            self.same_answer + other.same_answer,
        )

    @property
    def small(self) -> bool:
        return self.score <= SCORE_TOLERANCE and self.box_px <= BOX_TOLERANCE_PX and self.same_answer == self.pictures


def smooth_noise() -> list[RGB]:
    """12 pictures of drawn noise, from one soft gradient to 64 patches a side; lying and standing."""
    rng = np.random.default_rng(0)
    return [
        cv2.resize(rng.integers(0, 256, (patches, patches, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
        for patches in (2, 4, 8, 16, 32, 64)
        for size in ((640, 480), (480, 640))
    ]


def read_pictures(folder: Path) -> list[RGB]:
    """The first pictures of a folder, by path; damaged ones are passed over. Raises DataError when there is none."""
    found: list[RGB] = []
    files = media.find([folder])
    for file in files.files:
        if not file.is_video and len(found) < _MOST_PICTURES:
            with contextlib.suppress(UnreadablePicture, OSError):
                found.append(decode((files.root / file.path).read_bytes(), _LARGE_PX)[0])
    if not found:
        raise DataError(f"{folder}: no picture there that can be read: name a folder of photos, or leave out --pictures")
    return found


def batches(network: Network, pictures: list[RGB]) -> list[NDArray[np.uint8]]:
    """Pictures as the network is shown them: the first alone, then batches (B, h, w, channels) of all others of one shape.

    A network of clips is shown them moving: (B, T, P, P, 3).
    """
    first, *others = (_as_shown(network, rgb) for rgb in pictures)
    shapes = dict.fromkeys(rgb.shape for rgb in others)
    return [first[None], *(np.stack([rgb for rgb in others if rgb.shape == shape]) for shape in shapes)]


def _as_shown(network: Network, rgb: RGB) -> NDArray[np.uint8]:
    if network.clip is not None:
        return export_clips.moving(rgb, network.clip)
    shown = network.view(rgb.shape[1], rgb.shape[0]).show(rgb)
    # Anything will do for a heatmap, but nothing.
    return shown if network.stored is None else np.dstack([shown, shown[..., :1]])


def difference(network: Network, ours: Outputs, theirs: Outputs) -> Difference:
    """Between the outputs for one batch, and between what `finish` makes of them."""
    (scores, boxes), (their_scores, their_boxes) = _parts(network, ours), _parts(network, theirs)
    found, their_found = _finished(network, ours), _finished(network, theirs)
    same = _same_boxes if _detects(network) else _same_class
    return Difference(
        _largest(scores - their_scores),
        _largest(boxes - their_boxes),
        len(found),
        sum(same(network, *pair) for pair in zip(found, their_found, strict=True)),
    )


def _parts(network: Network, outputs: Outputs) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores, and what is in px, as each family has them."""
    if len(outputs) == 2:
        return outputs[0], outputs[1]
    in_px = np.zeros(outputs[0].shape[1], dtype=bool)
    if outputs[0].ndim == 3:
        in_px[:4] = True
    if network.task == JOINTS:
        in_px[5:] = np.arange(len(in_px) - 5) % 3 != 2  # x, y, confidence of each
    return outputs[0][:, ~in_px], outputs[0][:, in_px]


def _finished(network: Network, outputs: Outputs) -> list[Found]:
    tensors = [torch.from_numpy(output) for output in outputs]
    return network.finish(tensors[0] if len(tensors) == 1 else tuple(tensors), network.floor)


def _largest(values: NDArray[np.float32]) -> float:
    return float(np.abs(values).max(initial=0))  # NaN where any is: no tolerance allows it


def _same_class(_network: Network, ours: Found, theirs: Found) -> bool:
    return bool(ours.argmax() == theirs.argmax())


def _same_boxes(network: Network, ours: Found, theirs: Found) -> bool:
    """Whether each box (N, 6) or person (N, 6 + 48) has its like among the others', both ways.

    The two may end at other boxes of almost one score.
    """
    settings = network.card["settings"]
    floor = max(network.floor, settings["score_floor"])
    joints = (ours.shape[1] - 6) // 3
    allowed = [*[BOX_TOLERANCE_PX] * 4, SCORE_TOLERANCE, 0, *[BOX_TOLERANCE_PX, BOX_TOLERANCE_PX, SCORE_TOLERANCE] * joints]

    def all_there(these: Found, those: Found) -> bool:
        full = len(those) == settings["max_boxes"]
        ends_at = (those[:, 4].min() if full else floor) + SCORE_TOLERANCE
        apart = np.abs(these[:, None] - those[None])  # (N, N, 6) or (N, N, 6 + 48)
        alike = (apart <= allowed).all(axis=2).any(axis=1)
        return bool((alike | (these[:, 4] <= ends_at)).all())

    return all_there(ours, theirs) and all_there(theirs, ours)


# --- the command -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exported:
    path: Path
    megabytes: float
    difference: Difference
    torch_ms: float  # of one picture, network alone, on the CPU; the median
    onnx_ms: float  # with as many threads


def export(network: Network, path: Path, notes: dict[str, str], pictures: list[RGB]) -> Exported:
    """Write the network as an ONNX file with `notes` as its metadata, checked on `pictures`.

    The network is one that has just been loaded, see `to_onnx`. Raises DataError, and writes nothing, where ONNX Runtime does
    not give what PyTorch gives.
    """
    network.module.cpu()  # where the two are compared and timed
    program = to_onnx(network)
    program.model.metadata_props.update(notes)
    module = _exported(network)
    shown_pictures = batches(network, pictures)

    def ours(batch: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(batch))
        return [output.numpy() for output in ([outputs] if isinstance(outputs, Tensor) else outputs)]

    with new_file(path) as temporary:
        program.save(temporary, external_data=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(temporary), options, providers=["CPUExecutionProvider"])

        def theirs(batch: NDArray[np.uint8]) -> Outputs:
            return session.run(None, {_input(network): batch})

        found = sum((difference(network, ours(batch), theirs(batch)) for batch in shown_pictures), Difference())
        if not found.small:
            raise DataError(
                f"{path}: not written: ONNX Runtime and PyTorch differ by up to {found.score:.2g} in a score "
                f"({SCORE_TOLERANCE} is allowed) and {found.box_px:.2g} px in a box ({BOX_TOLERANCE_PX}), and agree on "
                f"{found.same_answer} of {found.pictures} pictures"
            )
        one = shown_pictures[0]
        turns = [[cost.milliseconds(partial(answer, one), runs=5) for answer in (ours, theirs)] for _ in range(TURNS)]
        torch_ms, onnx_ms = np.median(turns, axis=0).tolist()
        megabytes = temporary.stat().st_size / 1e6
    return Exported(path, megabytes, found, torch_ms, onnx_ms)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.export", description="write trained models as ONNX files")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a folder of models/, by its name, or a path to one")
    parser.add_argument("--out", type=Path, default=Path("exported"), help="folder to write <MODEL>.onnx to (exported)")
    parser.add_argument("--pictures", type=Path, help="folder of photos to check the files on (else: noise drawn from a seed)")
    args = parser.parse_args()
    folders = [trained.find(name) for name in args.models]
    pictures = read_pictures(args.pictures) if args.pictures else smooth_noise()
    of = str(args.pictures) if args.pictures else "noise"
    width = max(len(folder.resolve().name) for folder in folders)
    print(f"ms for one picture, network alone, CPU, threads: {torch.get_num_threads()}")
    print(f"{'model':{width}}      MB  score apart  px apart  PyTorch ms  ONNX ms  ratio")
    for folder in folders:
        network = trained.load(folder)
        name = folder.resolve().name
        done = export(network, args.out / f"{name}.onnx", metadata(folder, network), pictures)
        apart = done.difference
        print(
            f"{name:{width}}  {done.megabytes:6.1f}  {apart.score:11.1e}  {apart.box_px:8.1e}  "
            f"{done.torch_ms:10.2f}  {done.onnx_ms:7.2f}  {done.onnx_ms / done.torch_ms:5.2f}",
            flush=True,
        )
    print(f"written to {args.out}: each gives PyTorch's classes and boxes on all of {len(pictures)} pictures of {of}")


if __name__ == "__main__":
    run(main)
