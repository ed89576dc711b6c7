"""An encoder that is trained together with a StyleGAN2, so that the generator learns to draw real patients.

Source: Lang et al. 2021 (StylEx, arXiv 2104.13369): an encoder in the training of the generator, with losses of
pixels, features, the latent, and the classifier's answer. Differs: the classifier's score instead of the
divergence of its probabilities; the features are those of the projected discriminator, where there is one; the
encoder may give a spatial code; its latents are kept as spread as those that are sampled; the latent's loss
trains the encoder alone, since a generator that is trained by it hides the latent in faint patterns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core.errors import ContrafactError
from contrafact.generators.encoder import EncoderConfig, ResNetEncoder
from contrafact.generators.stylegan2 import StyleGAN2

Guide = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], list[Tensor]]


class JointEncoder:
    """An encoder with its optimiser, and the losses of an image that was encoded and drawn again.

    generator  the generator that is trained with it
    config     kind, width and rate of the encoder, and the weights of its losses
    guide      differentiable function of images in [-1, 1] to the model's scores; None: no loss of the scores
    features   images to features of several scales; None: no loss of the features
    """

    def __init__(
        self,
        generator: StyleGAN2,
        config: EncoderConfig,
        *,
        guide: Guide | None,
        features: Features | None,
        device: torch.device,
    ) -> None:
        self.config, self.guide, self.features = config, guide, features
        self.encoder = ResNetEncoder.of(generator, kind=config.kind, width=config.width).to(device)
        self.centre(generator)
        self.adam = torch.optim.Adam(self.encoder.parameters(), lr=config.rate, betas=(0.5, 0.99))
        self.encoder.train()

    def centre(self, generator: StyleGAN2) -> None:
        """Set the encoder's mean and deviation to those of the generator's latents."""
        self.encoder.centre(generator, torch.Generator().manual_seed(self.config.seed))

    def loss(
        self, reals: Tensor, drawn: Tensor, encoded: Tensor, latents: Tensor, fakes: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss, and its terms by name.

        reals    (N, C, R, R), their latents `encoded` (N, d), and the images `drawn` from these
        latents  sampled latents (M, d), and the images `fakes` from them
        """
        width = self.encoder.w_std
        found = self.encoder(fakes.detach())
        terms = {
            "image": F.l1_loss(drawn, reals) + F.l1_loss(F.avg_pool2d(drawn, 4), F.avg_pool2d(reals, 4)),
            "latent": ((found - latents.detach()) / width).square().mean(),
            "spread": _spread((encoded - self.encoder.w_avg) / width),
        }
        weights = {"image": self.config.image, "latent": 1.0, "spread": 1.0, "features": 1.0, "score": 0.0}
        if self.features is not None:
            with torch.no_grad():
                own = self.features(reals)
            pairs = zip(own, self.features(drawn), strict=True)
            terms["features"] = torch.stack([F.l1_loss(b, a) / a.abs().mean() for a, b in pairs]).mean()
        if self.guide is not None and self.config.guide:
            with torch.no_grad():
                wanted = self.guide(reals).float()
            terms["score"] = F.smooth_l1_loss(self.guide(drawn).float(), wanted)
            weights["score"] = self.config.guide
        figures = {f"joint_{name}": float(term.detach()) for name, term in terms.items()}
        broken = [name for name, term in terms.items() if not bool(torch.isfinite(term.detach()))]
        if broken:
            raise ContrafactError(
                f"the encoder's loss is not a finite number ({', '.join(broken)}); its gradient was not "
                "applied: check the images, or lower rate"
            )
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(), figures


def _spread(values: Tensor) -> Tensor:
    """Return how far standardised latents (N, d) of a batch are from a mean of 0 and a variance of 1, over all
    of their coordinates together."""
    return values.mean().square() + (values.square().mean() - 1).square()
