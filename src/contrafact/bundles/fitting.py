"""Fitting a bundle to a folder of images and a model, in stages: generator, encoder, directions.

Every stage writes into the output folder. With `resume`, the training of a generator continues after a stop or
a crash with exactly the same next step; the encoder and the directions take minutes and start again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from contrafact.bundles import load_bundle, save_bundle
from contrafact.bundles.fit_config import (
    FitConfig,
    codes_of,
    make_generator,
    name_of,
    read_config,
)
from contrafact.bundles.fit_models import Loader, copy_models, guide_of, origin_of, training_of
from contrafact.bundles.fit_translator import fit_translator
from contrafact.bundles.samples import write_grid
from contrafact.bundles.training_images import read_training_images
from contrafact.core import InputError, Trust, UnsupportedError, nearest
from contrafact.core.reading import naming, reading
from contrafact.counterfactual import (
    Anchors,
    Bundle,
    Direction,
    LatentStatistics,
    fit_direction,
    mean_curvature,
)
from contrafact.generators import (
    Progress,
    ResNetEncoder,
    StyleGAN2Training,
    family_named,
    train_encoder,
)
from contrafact.generators.augmentation import preset, signed
from contrafact.generators.checkpoint import check_trained_with, trained_with
from contrafact.generators.distances import decoded
from contrafact.io import Cohort, read_cohort, read_tensors, write_json, write_tensors
from contrafact.io.lock import sole_writer

__all__ = ["FitConfig", "fit", "fit_stages", "read_config"]
JOINT = "joint_encoder.safetensors"  # trained together with the generator; the encoder's stage begins with it
STAGES = ("generator", "encoder", "direction")
Stop = Callable[[], bool]


def fit(
    config: str | Path,
    *,
    stage: str | None = None,
    resume: bool = True,
    trust: bool = False,
    trust_code: bool = False,
) -> Bundle | None:
    """Fit a bundle and return it; the call blocks until the end. The verb `contrafact fit` shows progress.

    config  TOML file of a `FitConfig`
    stage   generator, encoder or direction; None: all three
    resume  continue the training in the output folder; False: raise InputError where there is one
    trust, trust_code  for its models, as in `load_predictor`
    gives   the bundle, or None when `stage` is an earlier stage; a translator has one stage, generator
    cost    minutes to days, depending on the size and `kimg`
    raises  InputError for a configuration or data that cannot be used, or an output folder that another process
            writes
    """
    allowed: Any = {"trust": trust, "trust_code": trust_code}
    read, out = read_config(config)
    with sole_writer(out):
        for _ in fit_stages(config, stage=stage, resume=resume, **allowed):
            pass
    last = "direction" if family_named(name_of(read.generator)).latent else "generator"
    return load_bundle(out / "bundle", **allowed) if stage in (None, last) else None


def fit_stages(
    path: str | Path,
    *,
    stage: str | None = None,
    resume: bool = True,
    stop: Stop = lambda: False,
    device: str | None = None,
    devices: int = 1,
    trust: bool = False,
    trust_code: bool = False,
) -> Iterator[tuple[str, Progress]]:
    """Fit a bundle and yield (stage, progress). `stop` is called between steps; true ends the fit.

    raises  InputError for a configuration or data that cannot be used; UnsupportedError for several devices
            where the family or the installation allows one
    """
    with naming(Path(path).name):
        trusted = Trust(trust, trust_code)
        yield from _stages(
            path, stage, resume=resume, stop=stop, device=device, devices=devices, trusted=trusted
        )


def _stages(
    path: str | Path,
    stage: str | None,
    *,
    resume: bool,
    stop: Stop,
    device: str | None,
    devices: int,
    trusted: Trust,
) -> Iterator[tuple[str, Progress]]:
    """Yield what `fit_stages` does; its errors need not name the configuration."""
    if stage is not None and stage not in STAGES:
        raise InputError(f"stage must be one of {', '.join(STAGES)}; got '{stage}'{nearest(stage, STAGES)}")
    config, out = read_config(path)
    root, device = Path(path).parent, device or ("cuda" if torch.cuda.is_available() else "cpu")
    if (out / "checkpoint.safetensors").exists() and not resume and stage in (None, "generator"):
        raise InputError(f"'{out}' contains a run already; continue it with --resume, or choose another out")
    cohort = read_cohort(root / config.data.path, patient=config.data.patient)
    load = Loader(root, device, trusted)
    for model in config.models.values() if stage is None else ():
        load(model)  # so that an untrusted file fails before the training
    images, findings = read_training_images(
        cohort, config.generator, window=config.data.window, crop=config.data.crop, folder=out
    )
    if findings:
        count = len(images)
        yield "images", Progress(done=count, total=count, seconds_left=0.0, findings=tuple(findings))
    team = _team(devices, device)
    name = name_of(config.generator)
    family = family_named(name)
    if team is not None and not family.parallel:
        raise UnsupportedError(f"expected one device for a {name}; got several")
    if not family.latent:
        if stage not in (None, "generator"):
            raise InputError(f"expected the stage generator, the only one of a {name}; got '{stage}'")
        yield from fit_translator(config, family, out, images, load, stop)
        return
    if stage in (None, "generator"):
        with guide_of(config, load, wanted=family.wants_guide(config.training)) as guide:
            yield from _fit_generator(config, out, images, load, _together(stop, team), team, guide)
    if team is not None and team.global_rank:
        return  # the first process runs the other stages
    _check_generator(config, out, images, load)
    if stage in (None, "encoder") and not stop():
        yield from _fit_encoder(config, out, images, load, stop, device)
    if stage in (None, "direction") and not stop():
        yield from _fit_directions(config, out, images, load)


def training_images(cohort: Cohort, config: FitConfig) -> Tensor:
    """Return all images (or volumes) of the cohort at the generator's size, (N, C, *S): uint8 for 8-bit files,
    else float32 in [-1, 1]."""
    return read_training_images(cohort, config.generator, window=config.data.window, crop=config.data.crop)[0]


def _fit_generator(
    config: FitConfig, out: Path, images: Tensor, load: Loader, stop: Stop, team: Any, guide: Any
) -> Iterator[tuple[str, Progress]]:
    """Train the generator, and write its state, weights and samples at every report."""
    training = training_of(config, images, load, guide=guide, team=team)
    path = out / "checkpoint.safetensors"
    if path.exists():
        training.restore(read_tensors(path))
    elif config.start is not None:
        training.begin_with(*_started(load.root / config.start))
    joint = training.joint if isinstance(training, StyleGAN2Training) else None
    first = team is None or team.global_rank == 0
    if first:
        about = {"family": name_of(config.generator), **dataclasses.asdict(config)}
        write_json(out / "fit.json", about)
        (out / "encoder.safetensors").unlink(missing_ok=True)  # it encodes for an older generator
        if joint is None:
            (out / JOINT).unlink(missing_ok=True)
    for progress in family_named(name_of(config.generator)).train(training, stop=stop):
        if first:
            write_tensors(out / "generator.safetensors", training.average.state_dict())
            if joint is not None:
                write_tensors(out / JOINT, joint.encoder.state_dict())
            latents = training.average.sample(32, torch.Generator().manual_seed(0))
            write_grid(out / "samples.png", decoded(training.average, latents))
            write_tensors(path, training.state())  # last: a fit that was killed before takes its steps again
        yield "generator", progress


def _started(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """Return the weights of the generator and of the encoder, where there is one, in the folder of `start`.
    Raise InputError without a generator."""
    generator, encoder = (folder / f"{name}.safetensors" for name in ("generator", "encoder"))
    if not generator.exists():
        raise InputError(f"expected generator.safetensors in the folder of 'start'; got none in '{folder}'")
    read = [{k: v.float() for k, v in read_tensors(p).items()} for p in (generator, encoder) if p.exists()]
    return read[0], read[1] if len(read) == 2 else None


def _fit_encoder(
    config: FitConfig, out: Path, images: Tensor, load: Loader, stop: Stop, device: str
) -> Iterator[tuple[str, Progress]]:
    generator = _generator(config, out, device)
    with guide_of(config, load, wanted=not config.encoder.published) as guide:
        yield from _encoder_steps(config, out, images, generator, guide, stop)


def _encoder_steps(
    config: FitConfig, out: Path, images: Tensor, generator: Any, guide: Any, stop: Stop
) -> Iterator[tuple[str, Progress]]:
    for progress, encoder in train_encoder(
        generator,
        images,
        config.encoder,
        guide=guide,
        mirror=config.training.mirror,
        how=preset(config.training.augment),
        start=read_tensors(out / JOINT) if (out / JOINT).exists() else None,
    ):
        if progress.done == progress.total:
            write_tensors(out / "encoder.safetensors", encoder.state_dict())
        yield "encoder", progress
        if stop():
            return


def _check_generator(config: FitConfig, out: Path, images: Tensor, load: Loader) -> None:
    """Raise InputError where the trained generator belongs to other images or another model."""
    path = out / "checkpoint.safetensors"
    if path.exists():
        now = trained_with(config.training, images, origin_of(config, load))
        check_trained_with(read_tensors(path), now, only=("images", "window", "crop", "model", "targets"))


def _fit_directions(
    config: FitConfig, out: Path, images: Tensor, load: Loader
) -> Iterator[tuple[str, Progress]]:
    """Fit a direction for each target, and write the bundle."""
    root, device = load.root, load.device
    if not config.models:
        raise InputError("expected at least one [models.NAME] to fit a direction to; got none")
    generator, encoder = _generator(config, out, device), _encoder(config, out, device)
    window = config.data.window
    rng = torch.Generator().manual_seed(config.direction.seed + 1)
    statistics = LatentStatistics.of(generator, rng)
    own = torch.Generator().manual_seed(config.direction.seed + 2)
    statistics = dataclasses.replace(statistics, curvature=mean_curvature(generator, own))
    predictors = {n: load(m) for n, m in config.models.items()}
    blank = Bundle(
        name=config.name,
        generator=generator,
        encoder=encoder,
        statistics=statistics,
        window=window,
        crop=config.data.crop,
        directions=(),
    )
    pairs = [(n, text) for n, m in config.models.items() for text in m.targets]
    wanted = [] if codes_of(config.generator) else pairs
    real, latents = _anchors(encoder, images, config, device) if wanted else (images[:0], images[:0])
    directions: list[Direction] = []
    for number, (name, text) in enumerate(wanted):
        yield "direction", Progress(done=number, total=len(wanted), seconds_left=float("nan"))
        predictor = predictors[name]
        target = predictor.target(text)
        with predictor.frozen():
            direction = fit_direction(
                generator,
                blank.scorer(predictor, target),
                target=target,
                model=predictor.digest,
                hold=[blank.scorer(predictor, predictor.target(t)) for t in config.models[name].hold],
                anchors=Anchors(images=real, latents=latents, gradients=predictor.differentiable),
                config=config.direction,
            )
        exclusive = predictor.output in ("logits", "probabilities")
        direction.fit["classes"] = len(predictor.classes) if exclusive else 0
        directions.append(direction)
    bundle = dataclasses.replace(blank, directions=tuple(directions), predictors=predictors)
    _save(config, out, root, bundle, pairs)
    last = directions[0].fit if directions else {}
    figures = {k: float(last[k]) for k in ("r2", "slope", "auc") if last.get(k) is not None}
    yield "direction", Progress(done=len(wanted), total=len(wanted), seconds_left=0.0, figures=figures)


def _save(config: FitConfig, out: Path, root: Path, bundle: Bundle, pairs: list[tuple[str, str]]) -> None:
    """Write the bundle with copies of its models; `pairs`: (model, target) names."""
    predictors = bundle.predictors
    codes = codes_of(config.generator)
    bundle = dataclasses.replace(
        bundle,
        findings=tuple((predictors[n].digest, t) for n, t in pairs[:codes]),
        predictor=next(iter(predictors.values())),
    )
    folder = out / "bundle"
    files = copy_models(config, root, folder)
    save_bundle(
        folder,
        bundle,
        descriptions=files,
        main=next(iter(predictors)),
        encoder_size={"kind": config.encoder.kind, "width": config.encoder.width},
    )


def _anchors(encoder: ResNetEncoder, images: Tensor, config: FitConfig, device: str) -> tuple[Tensor, Tensor]:
    """Return training images in random order and their latents; each image is followed by its mirror image
    where the training flips images."""
    rng = torch.Generator().manual_seed(config.direction.seed)
    sample = signed(images[torch.randperm(len(images), generator=rng)[: config.direction.anchors]])
    if config.training.mirror:
        sample = torch.stack([sample, sample.flip(-1)], dim=1).flatten(0, 1)
    sample = sample[: config.direction.anchors].to(device)
    with torch.no_grad():
        latents = torch.cat([encoder(part) for part in sample.split(128)])
    return sample, latents


def _generator(config: FitConfig, out: Path, device: str) -> Any:
    """Return the trained generator in the output folder. Raise InputError where there is none."""
    generator = make_generator(config.generator)
    path = out / "generator.safetensors"
    if not path.exists():
        raise InputError(f"expected a trained generator in '{out}'; run --stage generator first")
    with reading(path, "the generator of this configuration"):
        generator.load_state_dict({k: v.float() for k, v in read_tensors(path).items()})
    return generator.to(device).eval().requires_grad_(False)


def _encoder(config: FitConfig, out: Path, device: str) -> ResNetEncoder:
    """Return the trained encoder in the output folder. Raise InputError where there is none."""
    size = config.encoder
    encoder = ResNetEncoder.of(make_generator(config.generator), kind=size.kind, width=size.width)
    path = out / "encoder.safetensors"
    if not path.exists():
        raise InputError(f"expected a trained encoder in '{out}'; run --stage encoder first")
    with reading(path, "the encoder of this configuration"):
        encoder.load_state_dict(read_tensors(path))
    return encoder.to(device).eval().requires_grad_(False)


def _together(stop: Stop, team: Any) -> Stop:
    """Return a stop function that is true in all processes as soon as it is true in any of them."""
    if team is None:
        return stop
    return lambda: bool(team.all_reduce(torch.tensor(float(stop())), reduce_op="sum") > 0)


def _team(devices: int, device: str) -> Any:
    """Return the processes that train together, or None for one. Raise UnsupportedError without Fabric."""
    if devices == 1:
        return None
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise UnsupportedError("several devices need: pip install 'contrafact[train]'") from error
    fabric = Fabric(accelerator="cuda" if device.startswith("cuda") else "cpu", devices=devices)
    fabric.launch()
    return fabric
