"""Pictures by Stable Diffusion (Rombach et al. 2022, arXiv 2112.10752) from a prompt and a seed, by diffusers.

Its noise is drawn on the CPU, for each picture by a generator of its own, so that the same seed asks for the same picture on
any device and in any batch. Weights are read from safetensors alone: nothing pickled is run.
"""

import importlib.metadata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from stages.files import DataError, read_json, sha256_bytes, sha256_file
from stages.generators import NOT_FINITE, SAFETY_CHECKER, Made, Wanted
from stages.settings import Record

_FILE = "file:"
_INDEX = "model_index.json"
_NETWORKS = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model", "safety_checker/model")
_FILES = (  # of one model, 5.5 GB; a repository holds the same weights in other formats too
    _INDEX,
    "scheduler/scheduler_config.json",
    "feature_extractor/preprocessor_config.json",
    *(f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")),
    *(file for name in _NETWORKS for file in (f"{name.partition('/')[0]}/config.json", f"{name}.safetensors")),
)


class StableDiffusionSettings(Record):
    model: str  # a repository of the Hugging Face Hub, or file:<folder> with one that was downloaded
    revision: str | None = Field(None, pattern="^[0-9a-f]{40}$")  # the repository's commit, whole: a branch's name moves on
    steps: int = Field(50, gt=0)
    guidance: float = Field(7.5, ge=1)  # how much the prompt outweighs the negative one; 1: the prompt alone
    scheduler: Literal[
        "PNDMScheduler",
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    ] = "PNDMScheduler"  # diffusers' names; PNDM is the model's own
    width_px: int = Field(512, gt=0, multiple_of=8)  # 512: what version 1.5 was trained at
    height_px: int = Field(512, gt=0, multiple_of=8)
    negative_prompt: str = ""
    batch_size: int = Field(8, gt=0)

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if self.model.startswith(_FILE) == (self.revision is not None):
            raise ValueError(
                "a repository wants its `revision`, the 40 hexadecimal digits of a commit; file:<folder> is known by the "
                "sha256 of its files and has none"
            )
        return self


class StableDiffusion:
    """Raises DataError, with what to download and where to put it, where the model is not there and cannot be fetched."""

    def __init__(self, settings: StableDiffusionSettings) -> None:
        self._settings = settings
        self.batch_size = settings.batch_size
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._dtype = torch.bfloat16 if self._device == "cuda" else torch.float32
        self._folder = _folder(settings)
        self.about = {
            "generator": "Stable Diffusion",
            "model": f"{_FILE}{self._folder.name}" if settings.model.startswith(_FILE) else settings.model,
            "revision": settings.revision or _sha256_of_model(self._folder),
            "steps": str(settings.steps),
            "guidance": str(settings.guidance),
            "scheduler": settings.scheduler,
            "width_px": str(settings.width_px),
            "height_px": str(settings.height_px),
            "negative_prompt": settings.negative_prompt,
            "batch_size": str(settings.batch_size),
            "device": self._device,
            "dtype": str(self._dtype).removeprefix("torch."),
            **{name: importlib.metadata.version(name) for name in ("diffusers", "transformers", "torch")},
        }

    def require(self, wanted: Iterable[Wanted]) -> None:
        """Raises DataError for a prompt that the model would read the beginning of alone: a log is all that would say so."""
        tokenizer = self._pipeline.tokenizer
        for prompt in {self._settings.negative_prompt, *(one.prompt for one in wanted)}:
            if (count := len(tokenizer(prompt, verbose=False).input_ids)) > tokenizer.model_max_length:
                raise DataError(
                    f"the model reads {tokenizer.model_max_length} tokens of a prompt, and this one has {count}: shorten "
                    f"`prompt` or its words: {prompt}"
                )

    def make(self, batch: Sequence[Wanted]) -> list[Made]:
        """Raises DataError where memory does not suffice."""
        settings = self._settings
        try:
            found = self._pipeline(
                [one.prompt for one in batch],
                negative_prompt=[settings.negative_prompt] * len(batch),
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance,
                width=settings.width_px,
                height=settings.height_px,
                generator=[torch.Generator("cpu").manual_seed(one.seed) for one in batch],
                output_type="np",
            )
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"no memory on the {self._device} for {len(batch)} pictures of {settings.width_px} x {settings.height_px} px "
                f"at once: lower `batch_size` ({_first_line(error)})"
            ) from None
        unsafe = found.nsfw_content_detected or [False] * len(batch)
        return [_made(values, is_unsafe) for values, is_unsafe in zip(found.images, unsafe, strict=True)]

    @cached_property
    def _pipeline(self) -> Any:
        # Seconds to import, so not before pictures are wanted: a run that finds them all made asks for none.
        import diffusers
        import transformers

        diffusers.utils.logging.disable_progress_bar()
        transformers.utils.logging.disable_progress_bar()
        try:
            pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
                self._folder, dtype=self._dtype, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False
            )
        except Exception as error:  # diffusers, transformers, tokenizers and safetensors share no base
            raise DataError(f"{self._folder}: does not load: {_first_line(error)}. {_how_to_get(self._settings)}") from None
        scheduler = getattr(diffusers, self._settings.scheduler)
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self._device)


def _made(values: Any, is_unsafe: bool) -> Made:
    """One picture from values in 0..1 (h, w, 3)."""
    if is_unsafe:  # the pipeline has made it black
        return Made(None, SAFETY_CHECKER)
    if not np.isfinite(values).all():
        return Made(None, NOT_FINITE)
    return Made(np.rint(values * 255).astype(np.uint8))


def _folder(settings: StableDiffusionSettings) -> Path:
    """Where the model's files lie, fetched first if they are not there."""
    if settings.model.startswith(_FILE):
        folder = Path(settings.model.removeprefix(_FILE)).expanduser()
    else:
        from diffusers import StableDiffusionPipeline

        try:
            folder = Path(StableDiffusionPipeline.download(settings.model, revision=settings.revision, use_safetensors=True))
        except Exception as error:  # of the hub, of requests, of the disk
            raise DataError(
                f"{settings.model}, revision {settings.revision}: could not be fetched: {_first_line(error)}. "
                f"{_how_to_get(settings)}"
            ) from None
    if not (folder / _INDEX).is_file():
        raise DataError(f"{folder}: no {_INDEX}: no Stable Diffusion model lies there. {_how_to_get(settings)}")
    if (kind := read_json(folder / _INDEX).get("_class_name")) != "StableDiffusionPipeline":
        raise DataError(f"{folder}: its {_INDEX} is of a {kind}, and a StableDiffusionPipeline is wanted, as version 1.5 is")
    return folder


def _how_to_get(settings: StableDiffusionSettings) -> str:
    if settings.model.startswith(_FILE):
        name, revision = "<model>", "<commit>"
    else:
        name, revision = settings.model, str(settings.revision)
    return (
        f"With no network, download these files on another machine (hf download {name} FILE ... --revision {revision} "
        f"--local-dir FOLDER), copy FOLDER here and set `model: {_FILE}FOLDER` and `revision: null`:\n  " + "\n  ".join(_FILES)
    )


def _sha256_of_model(folder: Path) -> str:
    """One hash of the files that the pipeline may be loaded from, whatever else lies in the folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".txt", ".safetensors")]
    lines = "\n".join(f"{path.relative_to(folder).as_posix()} {sha256_file(path)}" for path in files)
    return f"sha256:{sha256_bytes(lines.encode())}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


SETTINGS, open_generator = StableDiffusionSettings, StableDiffusion
