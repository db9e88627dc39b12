"""What every network must provide, and the registry of networks."""

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qghelpers.networks.layers import make_scaling

if TYPE_CHECKING:
    from qghelpers.data.jets import JetImages

NETWORKS: dict[str, type["JetAutoencoder"]] = {}  # those with a name of their own, by name
_CLASSES: dict[str, type["JetAutoencoder"]] = {}  # all that are defined, by module and class name


class JetAutoencoder(nn.Module, ABC):
    """What training, evaluation and figures ask of a network; images are in GeV/100.

    A network needs the layer `scaling`, which this constructor makes, and three methods:

        class Linear(qg.JetAutoencoder, name="linear"):
            def __init__(self, size: int = 32) -> None:
                super().__init__(scaling="log")
                self.down = nn.Linear(3 * 125 * 125, size)
                self.up = nn.Linear(size, 3 * 125 * 125)

            def encode(self, images):  # (n, 3, 125, 125) -> (n, k)
                return self.down(self.scaling(images).flatten(1))

            def reconstruct(self, images):  # scaled, with the shape of images
                return self.up(self.encode(images)).view(images.shape)

            def loss(self, images, noise=None):  # tensors (n,), one of them called "loss"
                return {"loss": self.error(self.scaling(images), self.reconstruct(images))}

        model = Linear(64)
        qg.fit(model, train, validation, out="runs/linear")
        qg.load_run("runs/linear")

    With a `name` it also has recipes, can be built by `qg.build("linear")`, and trained on the
    command line if its module lies in this folder. The other methods have defaults.

    Args:
        scaling: "zscore" or "log".

    Attributes:
        scaling: layer from GeV/100 to what the network works on; `fit` fits it first.
        arguments: what the constructor was called with; plain values, kept in run folders.
        generative: whether new jets can be drawn. Such a network also has `posterior(images)`
            (mean and log variance, `(n, k)` each), `decode(z)` (scaled mean images of latent
            numbers `(n, k)`) and `draw(n, prior=None)`, as `VAE` has.
        draws_pixels: whether one code stands for many images, which `drawn(z, seeds)` draws in
            GeV/100, as `SparseVAE` does.

    Raises:
        TypeError: a network without all three methods is made.
        ValueError: there is no such scaling.
    """

    name = ""
    arguments: dict[str, Any]
    generative = False
    draws_pixels = False

    def __init_subclass__(cls, name: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        _CLASSES[class_path(cls)] = cls
        if name is not None:
            cls.name = name
            NETWORKS[name] = cls

    def __new__(cls, *args: Any, **options: Any) -> "JetAutoencoder":
        model = super().__new__(cls)
        try:
            given = inspect.signature(cls).bind(*args, **options)
        except TypeError:  # the constructor says so, too; a copy is made without arguments
            return model
        given.apply_defaults()
        model.__dict__["arguments"] = _plain(given.arguments)
        return model

    def __init__(self, scaling: str = "zscore") -> None:
        super().__init__()
        self.scaling = make_scaling(scaling)

    @abstractmethod
    def loss(self, images: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        """The `loss` to minimise, and any parts of it worth recording, each `(n,)`.

        Args:
            images: in GeV/100, with shape `(n, 3, 125, 125)`.
            noise: what `draw_noise(n)` returned; drawn here if None.
        """

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """The code: a few numbers for each image, with shape `(n, k)`."""

    @abstractmethod
    def reconstruct(self, images: Tensor) -> Tensor:
        """Reconstruction in scaled units, with the shape of `images`; no noise takes part."""

    def reconstruct_energy(self, images: Tensor) -> Tensor:
        """Reconstruction in GeV/100, with the shape of `images`."""
        return self.scaling.inverse(self.reconstruct(images))

    def decode_energy(self, z: Tensor) -> Tensor:
        """Mean images in GeV/100, `(n, 3, 125, 125)`, of latent numbers, if it is generative."""
        return self.scaling.inverse(self.decode(z))

    def sharp(self, images: Tensor) -> Tensor:
        """A sharp image in GeV/100 where `reconstruct_energy` is a blurred mean of several."""
        return self.reconstruct_energy(images)

    def reconstructions(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `reconstruct`, `reconstruct_energy` and `sharp` return, in one pass if it can be."""
        scaled = self.reconstruct(images)
        if self._inherits("reconstruct_energy"):
            energy = self.scaling.inverse(scaled)
        else:
            energy = self.reconstruct_energy(images)
        return scaled, energy, energy if self._inherits("sharp") else self.sharp(images)

    def _inherits(self, method: str) -> bool:
        own = getattr(getattr(self, method), "__func__", None)
        return own is getattr(JetAutoencoder, method)

    def error(self, scaled: Tensor, reconstruction: Tensor) -> Tensor:
        """The reconstruction part of the loss, `(n,)`, of scaled images and reconstructions.

        The sum of squared errors over the pixels unless overridden. A loss that is no function of
        the reconstruction, such as the likelihood of `SparseVAE`, leaves it so.
        """
        return (reconstruction - scaled).square().sum(dim=(1, 2, 3))

    def parameter_count(self) -> int:
        """How many numbers were fitted or trained."""
        return sum(parameter.numel() for parameter in self.parameters())

    def draw_noise(self, n: int) -> Tensor | None:
        """Random numbers that the loss of `n` images needs, with shape `(n, *)`, if any."""
        return None

    def prepare(self, train: "JetImages") -> None:
        """Fit parts that are not trained by gradients, such as PCA, once before training."""


def class_path(cls: type) -> str:
    """Module and name of a class, such as `qghelpers.networks.vae.VAE`."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON returns them."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def description(model: JetAutoencoder) -> dict[str, Any]:
    """What `rebuild` needs to make the same network untrained, as plain values."""
    network = model.name or type(model).__qualname__
    return {"network": network, "class": class_path(type(model)), "arguments": model.arguments}


def rebuild(config: dict[str, Any]) -> JetAutoencoder:
    """An untrained network from its `description`.

    Raises:
        LookupError: the class is not defined in this process.
    """
    if config["class"] not in _CLASSES:
        raise LookupError(f"{config['class']} is not known here: define or import it first")
    return _CLASSES[config["class"]](**config["arguments"])


def check_contract(model: nn.Module, images: Tensor) -> None:
    """Try the network on some images, and say what it lacks; random numbers are left alone.

    Args:
        model: any module; it is left in evaluation mode.
        images: in GeV/100, with shape `(n, 3, 125, 125)`.

    Raises:
        TypeError: it is no `JetAutoencoder`, or a method returns something else than it should.
    """
    name, n = type(model).__name__, len(images)
    if not isinstance(model, JetAutoencoder):
        wanted = ("scaling", *sorted(JetAutoencoder.__abstractmethods__))
        lacking = [part for part in wanted if not callable(getattr(model, part, None))]
        what = f"; it lacks {', '.join(lacking)}" if lacking else ""
        raise TypeError(f"{name} is no qghelpers.JetAutoencoder: derive it from that class{what}")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        losses = model.eval().loss(images)
        code, image = model.encode(images), model.reconstruct(images)
    shapes = {part: tuple(values.shape) for part, values in losses.items()}
    for method, found, holds, wanted in (
        (
            "loss",
            shapes,
            {"loss": (n,)}.items() <= shapes.items(),
            f'a part "loss" of shape ({n},)',
        ),
        ("loss", shapes, set(shapes.values()) == {(n,)}, f"parts of shape ({n},)"),
        ("encode", tuple(code.shape), code.ndim == 2 and len(code) == n, f"shape ({n}, k)"),
        ("reconstruct", tuple(image.shape), image.shape == images.shape, "the shape of its input"),
    ):
        if not holds:
            raise TypeError(f"{name}.{method} must return {wanted}, not {found}")
