"""Stable Diffusion by the very code that real weights go through, on random ones; and what is said where there are none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.files import DataError, read_json, write_json
from stages.generators import Generator, Wanted
from stages.samples import read_samples, read_version
from stages.synthesize import Finished
from tests.synthesize_helpers import World, manifest, open_generator, provenance


@pytest.fixture
def world(tmp_path: Path, stage: Callable[..., Any]) -> World:
    return World(tmp_path, stage)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion model of random weights, 0.5 MB, in the files of the published one; its tokens are letters."""
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = [chr(number) for number in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    heads = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": 1}
    blocks = ("DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D")
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8,) * 4, norm_num_groups=4, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=len(tokens), **heads, **ends)),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77),
        unet=UNet2DConditionModel(
            sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16, norm_num_groups=4,
            attention_head_dim=4, down_block_types=blocks[0], up_block_types=blocks[1],
        ),
        scheduler=PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1),
        safety_checker=StableDiffusionSafetyChecker(
            CLIPConfig(text_config=heads, vision_config={**heads, "image_size": 16, "patch_size": 8}, projection_dim=8)
        ),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pipeline.save_pretrained(folder)
    (folder / "tokenizer/tokenizer.json").unlink()  # the published one has the two older files
    write_json(folder / "tokenizer/vocab.json", vocabulary)
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    return folder


def using(tiny: Path, **changes: Any) -> dict[str, Any]:
    return {"model": f"file:{tiny}", "steps": 3, "width_px": 64, "height_px": 72, "batch_size": 3} | changes


FOUR = [Wanted(f"s{n}", "lying", "cat", "side", text, 2**62 + n) for n, text in enumerate(["cat", "a dog", "cow", "a goat"])]


def made(generator: Generator, wanted: list[Wanted]) -> np.ndarray:
    pictures = [one.rgb for one in generator.make(wanted)]
    assert all(rgb is not None for rgb in pictures)
    return np.stack(pictures).astype(int)  # type: ignore[arg-type]


def test_stable_diffusion_goes_the_whole_way(world: World, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"generator": "stable_diffusion", "using": using(tiny), "near_bits": 0}
    done = world.synthesize("undisturbed", **chosen)
    assert done.code == 0, done.err
    rows = provenance("undisturbed")
    assert (rows["generator"] == "Stable Diffusion").all() and (rows["model"] == "file:tiny").all()
    assert rows["revision"].str.fullmatch("sha256:[0-9a-f]{64}").all() and rows["revision"].nunique() == 1
    made_by = read_json(Path("undisturbed/counts.json"))["generator"]
    assert {name: made_by[name] for name in ("steps", "guidance", "scheduler", "width_px", "height_px", "dtype")} == {
        "steps": "3", "guidance": "7.5", "scheduler": "PNDMScheduler", "width_px": "64", "height_px": "72", "dtype": "float32",
    }  # fmt: skip
    samples, _ = read_version(Path("undisturbed/added"), read_samples(Path("clean")))
    added = samples.pictures[samples.pictures["sample_id"].str.startswith("synthetic")]
    assert added[["width_px", "height_px"]].to_numpy().tolist() == [[64, 72]] * 8

    add, left = Finished.add, iter(range(4))

    def interrupted(self: Finished, *what: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        add(self, *what)

    monkeypatch.setattr(Finished, "add", interrupted)  # behind the first picture of the second batch of three
    assert world.synthesize(**chosen).code == 130
    monkeypatch.setattr(Finished, "add", add)
    assert "8 pictures (4 made before)" in world.synthesize(**chosen).out
    assert manifest("synthetic") == manifest("undisturbed")


def test_a_picture_depends_on_its_own_seed_and_prompt(tiny: Path) -> None:
    generator = open_generator("stable_diffusion", **using(tiny, negative_prompt="blurry"))
    together = made(generator, FOUR)
    assert np.array_equal(together, made(generator, FOUR))
    alone = np.concatenate([made(generator, [one]) for one in FOUR])
    assert np.abs(together - alone).max() <= 1  # of 255: sums in another order
    assert np.abs(together - made(generator, FOUR[::-1])[::-1]).max() <= 1
    first = FOUR[0]
    for other in (
        Wanted("s", "lying", "cat", "side", first.prompt, 5),
        Wanted("s", "lying", "cat", "side", "a red cow", first.seed),
    ):
        assert np.abs(made(generator, [other])[0] - together[0]).max() > 1
    blurry = made(open_generator("stable_diffusion", **using(tiny)), FOUR[:1])
    assert np.abs(blurry[0] - together[0]).max() > 1


def test_schedulers_differ(tiny: Path) -> None:
    names = (
        "PNDMScheduler",
        "DDIMScheduler",
        "EulerDiscreteScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
    )
    found = {made(open_generator("stable_diffusion", **using(tiny, scheduler=name)), FOUR[:1]).tobytes() for name in names}
    assert len(found) == 5


def test_a_prompt_is_never_cut(tiny: Path) -> None:
    generator = open_generator("stable_diffusion", **using(tiny))
    generator.require([Wanted("s", "lying", "cat", "side", "x " * 75, 1)])  # and a token at each end
    with pytest.raises(DataError, match="the model reads 77 tokens of a prompt, and this one has 78"):
        generator.require([Wanted("s", "lying", "cat", "side", "x " * 76, 1)])


def damaged(tiny: Path, target: Path, part: str, **tensors: float) -> Path:
    """A copy of the model in which these tensors of a part have this value everywhere."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, target)
    file = next((target / part).glob("*.safetensors"))
    state = load_file(file)
    for name, value in tensors.items():
        state[name] = torch.full_like(state[name], value)
    save_file(state, file, metadata={"format": "pt"})
    return target


@pytest.mark.parametrize("part, tensors, reason", [
    ("unet", {"conv_out.bias": np.nan}, "not_finite"),
    ("safety_checker", {"concept_embeds_weights": -9.0}, "safety_checker"),
    ("vae", {"decoder.conv_out.weight": 0.0}, "blank"),
])  # fmt: skip
def test_what_the_model_itself_withdraws(
    world: World, tiny: Path, tmp_path: Path, part: str, tensors: dict[str, float], reason: str
) -> None:
    model = damaged(tiny, tmp_path / "model", part, **tensors)
    done = world.synthesize(generator="stable_diffusion", using=using(model))
    assert f"all 8 pictures are refused: {{'{reason}': 8}}" in done.err


REVISION = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"


def test_without_network_it_says_what_to_download(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    name = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    done = world.synthesize(generator="stable_diffusion", using={"model": name, "revision": REVISION})
    assert done.code == 1 and f"{name}, revision {REVISION}: could not be fetched" in done.err
    assert f"hf download {name} FILE ... --revision {REVISION} --local-dir FOLDER" in done.err
    assert "set `model: file:FOLDER`" in done.err and "unet/diffusion_pytorch_model.safetensors" in done.err


def test_a_repository_is_known_by_its_commit(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionPipeline

    monkeypatch.setattr(StableDiffusionPipeline, "download", lambda name, revision, use_safetensors: tiny)
    generator = open_generator("stable_diffusion", **using(tiny, model="some/model", revision=REVISION))
    assert (generator.about["model"], generator.about["revision"]) == ("some/model", REVISION)


@pytest.mark.parametrize("change, message", [
    (lambda model: shutil.rmtree(model), "no model_index.json: no Stable Diffusion model lies there"),
    (lambda model: next(model.glob("unet/*.safetensors")).unlink(), "does not load: "),
    (lambda model: write_json(model / "model_index.json", {"_class_name": "StableDiffusionXLPipeline"}),
     "is of a StableDiffusionXLPipeline, and a StableDiffusionPipeline is wanted"),
])  # fmt: skip
def test_a_folder_without_the_whole_model(
    world: World, tiny: Path, tmp_path: Path, change: Callable[[Path], Any], message: str
) -> None:
    shutil.copytree(tiny, tmp_path / "model")
    change(tmp_path / "model")
    done = world.synthesize(generator="stable_diffusion", using=using(tmp_path / "model"))
    assert done.code == 1 and message in done.err and not Path("synthetic").exists()


@pytest.mark.parametrize("changes, message", [
    ({"revision": REVISION}, "file:<folder> is known by the sha256 of its files"),
    ({"model": "some/model"}, "a repository wants its `revision`"),
    ({"model": "some/model", "revision": "main"}, "using.revision: given 'main'"),
    ({"width_px": 100}, "using.width_px"), ({"guidance": 0.5}, "using.guidance"), ({"scheduler": "Euler"}, "using.scheduler"),
])  # fmt: skip
def test_contradictions_are_refused(world: World, changes: dict[str, Any], message: str) -> None:
    done = world.synthesize(generator="stable_diffusion", using={"model": "file:nothing"} | changes)
    assert done.code == 1 and message in done.err
