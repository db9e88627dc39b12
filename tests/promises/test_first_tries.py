"""The first things that people type work, or cost one clear line."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import qghelpers as qg
from qghelpers.__main__ import main
from qghelpers.data.jets import Jet
from qghelpers.networks.unet import MaskedUNet

SHAPE = (3, 125, 125)
SIMULATE = "qghelpers.simulation.simulate.simulate"


@pytest.fixture(scope="module")
def vae():
    return qg.load_pretrained("vae")


def test_one_jet_is_an_image_and_its_label(jets):
    for i in (0, 7, -1, np.int64(3), torch.tensor(5)):
        image, label = jets[i]
        assert torch.equal(image, jets.images([int(i)])[0])
        assert image.shape == SHAPE
        assert label == jets.labels[i]
        assert isinstance(label, int)
        assert torch.equal(jets.images(i), image)
    assert jets[2].label == jets.labels[2]


def test_for_jet_in_jets(jets):
    some = jets[::-4]
    both = list(some)
    assert len(both) == len(some) == 100  # more than are made dense at once
    assert all(isinstance(jet, Jet) for jet in both)
    assert torch.equal(torch.stack([image for image, _ in both]), some.images())
    assert [label for _, label in both] == some.labels.tolist()
    assert list(some[[]]) == []


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a machine of one core
@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_takes_jets(jets, workers):
    some = jets[100:110]
    batches = list(DataLoader(some, batch_size=4, num_workers=workers))
    assert [len(images) for images, _ in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([images for images, _ in batches]), some.images())
    labels = torch.cat([labels for _, labels in batches])
    assert labels.dtype == torch.int64
    assert labels.tolist() == some.labels.tolist()
    shuffled = DataLoader(some, batch_size=None, shuffle=True)  # one by one
    assert sorted(label for _, label in shuffled) == sorted(some.labels)


NO_JETS = {
    "a float": [1.7],
    "a float alone": 1.0,
    "a name": "pt",
    "names": ["pt", "mass"],
    "nothing": None,
    "true": True,
    "a table": np.zeros((2, 2), int),
    "rows and columns": (slice(0, 2), 1),
}


@pytest.mark.parametrize("kind", NO_JETS)
@pytest.mark.parametrize("ask", ["__getitem__", "images"])
def test_what_chooses_no_jets(jets, kind, ask):
    with pytest.raises(
        TypeError, match="chosen by whole numbers, by a mask of all jets, or by a sl"
    ):
        getattr(jets, ask)(NO_JETS[kind])


@pytest.mark.parametrize("which", [400, -401, [400], [True, False], np.zeros(399, bool)])
def test_jets_that_are_not_there(jets, which):
    for ask in (jets.__getitem__, jets.images):
        with pytest.raises(IndexError):
            ask(which)


@pytest.mark.parametrize("limit", [1e2, np.float32(100), np.int64(100)])
def test_a_limit_may_be_written_as_a_float(sample_file, limit):
    jets = qg.load_jets(sample_file, limit=limit)
    assert jets.pt.tolist() == qg.load_jets(sample_file, limit=100).pt.tolist()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"limit": "100"}, TypeError, "limit is '100': give a whole number"),
        ({"limit": True}, TypeError, "limit is True: give a whole number"),
        ({"limit": 1.5}, ValueError, "limit is 1.5: give a whole number"),
        ({"limit": float("nan")}, ValueError, "limit is nan: give a whole number"),
        ({"limit": float("inf")}, ValueError, "limit is inf: give a whole number"),
        ({"limit": 0.0}, ValueError, "limit is 0: ask for one jet at least"),
        ({"seed": -1}, ValueError, "seed is -1: give 0 or more"),
        ({"seed": None}, TypeError, "seed is None: give a whole number"),
    ],
)
def test_numbers_that_are_none_cost_one_line(sample_file, options, error, message):
    with pytest.raises(error, match=message):
        qg.load_jets(sample_file, **options)


def test_numbers_on_the_command_line(tmp_path, capfd, monkeypatch):
    asked = []
    monkeypatch.setattr(SIMULATE, lambda *given, **_: asked.append(given[1]))
    assert main(["simulate", str(tmp_path / "x.hdf5"), "--jets", "1e3"]) == 0
    assert asked == [1000]
    for wrong in ("1.5", "many"):
        with pytest.raises(SystemExit):
            main(["simulate", "x", "--jets", wrong])
        assert f"{wrong!r} is no whole number" in capfd.readouterr().err.splitlines()[-1]


def test_split_by_one_number(jets):
    with pytest.raises(TypeError, match=r"fractions are 0\.2: give one a part, such as"):
        jets.split(0.2)


def test_whatever_holds_images_can_be_reconstructed(vae, jets):
    images = jets.images(slice(0, 3))
    expected = qg.reconstruct(vae, images)
    assert torch.equal(qg.reconstruct(vae, images.numpy()), expected)
    assert torch.equal(qg.reconstruct(vae, images.double()), expected)
    assert torch.equal(qg.reconstruct(vae, jets[:3]), expected)
    assert torch.equal(qg.reconstruct(vae, jets[:3], sharp=True), vae.sharp(images))
    for one in (images[1], images[1].numpy(), jets[1]):
        made = qg.reconstruct(vae, one)
        assert made.shape == SHAPE
        torch.testing.assert_close(made, expected[1], rtol=1e-4, atol=1e-6)
    for none in (images[:0], jets[[]]):
        assert torch.equal(qg.reconstruct(vae, none), images[:0])


@pytest.mark.parametrize("shape", [(1, 3, 128, 128), (2, 125, 125, 3), (125, 125), (46875,)])
def test_images_of_another_shape_cost_one_line(vae, shape):
    with pytest.raises(ValueError, match=r"images have shape .*, not \(n, 3, 125, 125\)"):
        qg.reconstruct(vae, torch.zeros(shape))


def test_too_many_jets_are_refused_before_they_fill_the_memory(vae, jets):
    many = jets[np.zeros(139_306, int)]
    with pytest.raises(ValueError, match=r"dense images of 139306 jets need 26\.1 GB: take fewer"):
        qg.reconstruct(vae, many)


@pytest.mark.parametrize("name", ["UNet", "U-Net", "unet", "UNetAutoencoder", "u_net", "VAE"])
def test_names_of_networks_may_be_written_otherwise(name):
    model = qg.build(name, "reference")
    assert model.name == ("vae" if name == "VAE" else "unet")
    assert qg.get_recipe(name, "reference").epochs == 30


def test_names_of_shipped_networks_may_be_written_otherwise():
    assert qg.pretrained_card("VAE") == qg.pretrained_card("vae")
    assert isinstance(qg.load_pretrained("UNet_Masked"), MaskedUNet)
    for ask in (qg.build, qg.get_recipe, qg.load_pretrained):
        with pytest.raises(ValueError, match=r"GAN.*there are .*unet.*vae"):
            ask("GAN")
