"""The `reference` recipes are the two documents that the project grew out of, line by line.

Each test quotes a line of a document and then asks the network, or the training, for it.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import qghelpers as qg
from qghelpers.training import recipes
from qghelpers.training.engine import make_optimizer, make_scheduler


@pytest.fixture
def unet():
    return qg.build("unet", "reference")


@pytest.fixture
def vae():
    return qg.build("vae", "reference")


def layers(model: nn.Module, kind: type) -> list:
    return [layer for layer in model.modules() if isinstance(layer, kind)]


def training(network: str):
    """The optimiser and the schedule that a training has."""
    recipe = recipes.get_recipe(network, "reference")
    optimizer = make_optimizer(qg.build(network, "reference"), recipe, qg.Engine())
    return optimizer, make_scheduler(optimizer, recipe, batches=10)


def kinds(model: nn.Module) -> list[type]:
    """The layers that do something, in order; ours that replace one of torch's under its name."""
    kinds = [type(layer) for layer in model.modules() if not list(layer.children())]
    return [next(base for base in kind.mro() if base.__module__[:5] == "torch") for kind in kinds]


class TestUNet:
    def test_normalize_images_using_dataset_wide_mean_and_standard_deviation(self, unet, jets):
        unet.scaling.fit(jets)
        scaled = unet.scaling(jets.images())
        torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
        torch.testing.assert_close(scaled.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)

    def test_transpose_the_image_dimensions(self, jets):
        assert jets.images([0]).shape == (1, 3, 125, 125)

    def test_five_convolutional_layers_with_stride_2(self, unet):
        convolutions = layers(unet.down, nn.Conv2d)
        assert [layer.stride for layer in convolutions] == 5 * [(2, 2)]

    def test_batch_normalization_and_relu_activation(self, unet):
        assert kinds(unet.down) == 5 * [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]

    def test_feature_map_reduction_from_3_channels_to_64_32_16_8_4(self, unet):
        maps = [(layer.in_channels, layer.out_channels) for layer in layers(unet.down, nn.Conv2d)]
        assert maps == [(3, 64), (64, 32), (32, 16), (16, 8), (8, 4)]
        assert nn.Sequential(*unet.down)(torch.zeros(2, 3, 125, 125)).shape == (2, 4, 4, 4)
        assert unet.encode(torch.zeros(2, 3, 125, 125)).shape == (2, 4 * 4 * 4)

    def test_five_transposed_convolutional_layers_for_upsampling(self, unet):
        up = layers(unet, nn.ConvTranspose2d)
        maps = [(layer.in_channels, layer.out_channels) for layer in up]
        assert maps == [(4, 8), (8, 16), (16, 32), (32, 64), (64, 3)]
        assert [layer.stride for layer in up] == 5 * [(2, 2)]

    def test_skip_connections_to_retain_spatial_information(self, unet, jets):
        """What the levels of the encoder see reaches the output past a bottleneck cut off."""
        unet.eval().down[-1].register_forward_hook(lambda layer, x, y: torch.zeros_like(y))
        first, second = unet.reconstruct(jets.images([0, 1]))
        assert not torch.allclose(first, second)
        assert unet.skips == 4 * [True]

    def test_convolution_layers_after_concatenation_to_refine_features(self, unet):
        refining = layers(unet.refine, nn.Conv2d)
        maps = [(layer.in_channels, layer.out_channels) for layer in refining]
        assert maps == [(16, 8), (32, 16), (64, 32), (128, 64)]
        assert [layer.stride for layer in refining] == 4 * [(1, 1)]

    @pytest.mark.parametrize("size", [125, 126, 128])
    def test_the_output_passes_through_interpolation_to_match_the_original(self, unet, size):
        images = torch.rand(1, 3, size, size)
        assert unet(images).shape == images.shape

    def test_loss_function_l1(self, unet, jets):
        unet.eval()
        images = jets.images([0, 1])
        expected = nn.L1Loss()(unet.reconstruct(images), unet.scaling(images))
        torch.testing.assert_close(unet.loss(images)["loss"].mean(), expected)

    def test_optimizer_adamw_learning_rate_and_weight_decay_1e_4(self):
        optimizer, _ = training("unet")
        assert type(optimizer) is torch.optim.AdamW
        assert optimizer.defaults["weight_decay"] == optimizer.defaults["lr"] == 1e-4

    def test_cosine_annealing_minimum_learning_rate_5e_6_max_epoch_30(self):
        _, schedule = training("unet")
        assert type(schedule) is torch.optim.lr_scheduler.CosineAnnealingLR
        assert (schedule.eta_min, schedule.T_max) == (5e-6, 30)

    def test_batch_size_128_number_of_epochs_30(self):
        recipe = recipes.get_recipe("unet", "reference")
        assert (recipe.batch_size, recipe.epochs) == (128, 30)


class TestVAE:
    def test_resized_to_a_standard_dimension_128x128(self, vae):
        seen = []
        vae.encoder[1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
        images = torch.rand(2, 3, 125, 125)
        vae.encode(images)
        torch.testing.assert_close(seen[0], F.interpolate(images, (128, 128), mode="bilinear"))

    def test_normalized_per_channel_using_mean_and_std_of_the_training_set(self, vae, jets):
        train, _, _ = jets.split()
        vae.scaling.fit(train)
        pixels = train.images()
        torch.testing.assert_close(
            vae.scaling.mean.flatten(), pixels.mean((0, 2, 3)), atol=1e-6, rtol=1e-4
        )
        torch.testing.assert_close(
            vae.scaling.std.flatten(), pixels.std((0, 2, 3)), atol=1e-6, rtol=1e-3
        )

    def test_encoder_of_conv2d_batchnorm_relu_to_mean_and_log_variance(self, vae):
        steps = 4 * [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
        assert kinds(vae.encoder) == [nn.Upsample, *steps]
        mu, log_variance = vae.posterior(torch.zeros(2, 3, 125, 125))
        assert mu.shape == log_variance.shape == (2, vae.latent_dim)
        nn.init.constant_(vae.to_posterior.bias, 3.0)  # any number is a log variance
        nn.init.zeros_(vae.to_posterior.weight)
        assert (vae.posterior(torch.zeros(2, 3, 125, 125))[1] == 3).all()

    def test_decoder_of_convtranspose2d_batchnorm_relu(self, vae):
        step = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
        assert kinds(vae.decoder) == [*3 * step, nn.ConvTranspose2d, nn.Upsample]

    def test_a_sample_drawn_using_the_reparameterization_trick(self, vae):
        vae.eval()
        images, noise = torch.rand(2, 3, 125, 125), torch.randn(2, vae.latent_dim)
        decoded, mu, log_variance = vae(images, noise)
        torch.testing.assert_close(decoded, vae.decode(mu + (0.5 * log_variance).exp() * noise))

    def test_mse_for_reconstruction_and_kl_divergence_weighted_by_beta(self, jets):
        vae = qg.VAE(beta=3, scaling="zscore").eval()
        images, noise = jets.images([0, 1]), torch.randn(2, vae.latent_dim)
        decoded, mu, log_variance = vae(vae.scaling(images), noise)
        squared = nn.MSELoss(reduction="sum")(decoded, vae.scaling(images))
        divergence = -0.5 * (1 + log_variance - mu**2 - log_variance.exp()).sum()
        torch.testing.assert_close(vae.loss(images, noise)["loss"].sum(), squared + 3 * divergence)

    def test_an_adam_optimizer(self):
        assert type(training("vae")[0]) is torch.optim.Adam

    def test_reduce_lr_on_plateau_based_on_validation_loss(self, jets, monkeypatch):
        _, schedule = training("vae")
        assert type(schedule) is torch.optim.lr_scheduler.ReduceLROnPlateau
        told = []
        monkeypatch.setattr(type(schedule), "step", lambda self, value: told.append(value))
        recipe = recipes.get_recipe("vae", "reference", epochs=1, batch_size=8)
        history = qg.fit(qg.VAE(latent_dim=2), jets[:16], jets[16:24], recipe, progress=False)
        assert told == [history[0]["validation_loss"]]


def test_split_into_80_percent_to_train_and_20_percent_that_no_weight_sees(jets):
    """The 20 % in halves: one chooses when to stop and how fast to learn, one judges."""
    train, validation, test = jets.split()
    assert (len(train), len(validation), len(test)) == (320, 40, 40)
