"""The three convolutional networks of the source article, layer for layer as Keras builds them.

"article-a" is a small network for one channel (the article: 224 x 224 x 1), "article-b" one for
colour with dropout (150 x 150 x 3), "article-c" VGG16 with a new head (150 x 150 x 3). Kernels are
glorot uniform, biases zero, padding "valid" except in VGG16, so that at the article's sizes the
parameters number as in Keras: 23,906,945, 5,327,937 and 23,105,345. The article ends in a sigmoid;
here the networks give logits and the sigmoid lives in the loss. A plan's width, depth and dropout
do not apply: the architecture is the article's.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from hounsfield.core import plan
from hounsfield.networks.classifier import Classifier, refuse_small, refuse_volumes
from hounsfield.networks.links import Link, links_of
from hounsfield.networks.pretrained import adapt_channels, fill, hub_file, refuse_pretrained, start_from
from hounsfield.networks.weights import read_tensors

__all__ = ["VGG16_HUB_ID", "ArticleNet", "build_article_a", "build_article_b", "build_article_c"]

VGG16_HUB_ID = "timm/vgg16.tv_in1k"
_VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_VGG16_SHRINKS = 32


class ArticleNet(Classifier):
    """A stack of convolutions, its last max-pooling, and dense layers on the flattened map.

    `features` ends with the ReLU of the last convolution, before the last pooling. Layers are counted as
    in Keras, where a pooling is one too: the last is the pooling that opens the head. Wherever a pooling
    follows a ReLU it is computed first: the greatest of four rectified is the greatest of four, rectified,
    and a quarter of the work.
    """

    def __init__(self, backbone: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier

    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.backbone(x)
        return maps

    def head(self, feature_map: Tensor) -> Tensor:
        logits: Tensor = self.classifier(feature_map)
        return logits

    def forward(self, x: Tensor) -> Tensor:
        *convolutions, relu = self.backbone
        pool, *dense = self.classifier
        for module in (*convolutions, pool, relu, *dense):
            x = module(x)
        return x

    def layers(self) -> tuple[nn.Module, ...]:
        return (*(m for m in self.backbone if not isinstance(m, nn.ReLU)), self.classifier[0])

    def links(self) -> tuple[Link, ...]:
        *convolutions, relu = links_of(self.backbone, "backbone")
        pool, *dense = links_of(self.classifier, "classifier", head=True)
        return (*convolutions, pool, relu, *dense)


def build_article_a(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> ArticleNet:
    """Conv 32, pool, conv 64, pool, dense 128; all 3 x 3, ReLU.

    >>> net = build_article_a(plan.Network(), channels=1, outputs=1, size=(1, 28, 28))
    >>> sum(p.numel() for p in net.parameters())
    223873
    """
    return _small("article-a", network, channels, outputs, size, hidden=128, dropout=0.0)


def build_article_b(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> ArticleNet:
    """Conv 32, pool, conv 64, pool, dense 64, dropout one half.

    >>> net = build_article_b(plan.Network(), channels=3, outputs=1, size=(1, 28, 28))
    >>> sum(p.numel() for p in net.parameters())
    121921
    """
    return _small("article-b", network, channels, outputs, size, hidden=64, dropout=0.5)


def build_article_c(
    network: plan.Network, *, channels: int, outputs: int, size: tuple[int, int, int]
) -> ArticleNet:
    """VGG16 without its top (Simonyan & Zisserman 2015), flatten, dense 1024, dropout one half.

    The article freezes all but the last four of Keras's layers (block5_conv1 to block5_pool): that is
    `trainable_layers=4`, counted as in Keras, where a pooling is a layer too. "pretrained" is
    torchvision's ImageNet training as timm publishes it (Keras ships Oxford's original instead,
    which expects other input values). A local file may be such a VGG16 or a saved "article-c".
    """
    rows, columns = refuse_volumes("article-c", size)
    refuse_small("article-c", size, _VGG16_SHRINKS)
    backbone = _vgg16(channels)
    pool = nn.MaxPool2d(2)
    flat = 512 * (rows // _VGG16_SHRINKS) * (columns // _VGG16_SHRINKS)
    made = ArticleNet(backbone, _dense(pool, flat, hidden=1024, dropout=0.5, outputs=outputs))
    _initialise(made)
    if network.weights:
        _start_vgg16(made, network.weights, channels)
    return made


def _small(
    name: str,
    network: plan.Network,
    channels: int,
    outputs: int,
    size: tuple[int, int, int],
    *,
    hidden: int,
    dropout: float,
) -> ArticleNet:
    rows, columns = (((n - 2) // 2 - 2) // 2 for n in refuse_volumes(name, size))
    refuse_small(name, size, 10)
    refuse_pretrained(name, network.weights)
    backbone = nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(inplace=True),
    )
    dense = _dense(nn.MaxPool2d(2), 64 * rows * columns, hidden=hidden, dropout=dropout, outputs=outputs)
    made = ArticleNet(backbone, dense)
    _initialise(made)
    if network.weights:
        made.left_out = start_from(made, network.weights, head=f"classifier.{len(dense) - 1}")
    return made


def _dense(pool: nn.Module, flat: int, *, hidden: int, dropout: float, outputs: int) -> nn.Sequential:
    layers = [pool, nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(inplace=True)]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


def _vgg16(channels: int) -> nn.Sequential:
    """The 13 convolutions and the first four poolings, numbered as `features` in torchvision and timm."""
    layers: list[nn.Module] = []
    widths = [w for block in _VGG16_WIDTHS for w in block]
    convolutions = iter(pairwise([channels, *widths]))
    for block in _VGG16_WIDTHS:
        for _ in block:
            wide_in, wide_out = next(convolutions)
            layers += [nn.Conv2d(wide_in, wide_out, 3, padding=1), nn.ReLU(inplace=True)]
        layers.insert(-1, nn.MaxPool2d(2))
    *convolutions, _, relu = layers  # the last pooling opens the head
    return nn.Sequential(*convolutions, relu)


def _start_vgg16(network: ArticleNet, weights: str, channels: int) -> None:
    path = hub_file(VGG16_HUB_ID) if weights == "pretrained" else weights
    given = read_tensors(path)
    if not any(name.startswith("features.") for name in given):
        last = f"classifier.{len(network.classifier) - 1}"
        network.left_out = fill(network, given, head=last, source=str(path))
        return
    base = {k.removeprefix("features."): v for k, v in given.items() if k.startswith("features.")}
    if "0.weight" in base:
        base["0.weight"] = adapt_channels(base["0.weight"], channels)
    network.left_out = tuple(f"classifier.{k}" for k in network.classifier.state_dict())
    fill(network.backbone, base, head="", source=str(path))


def _initialise(network: nn.Module) -> None:
    """Keras's defaults: glorot uniform kernels (Glorot & Bengio 2010), zero biases."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
