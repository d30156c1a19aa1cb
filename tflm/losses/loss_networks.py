"""Fixed networks whose features a perceptual loss compares.

All are VGG-like: blocks of 3x3 convolutions with ReLU, 2x2 max-pooling between
blocks; the second convolution of each block is a tap. What differs is where
the weights come from and what the first convolution reads:

network       weights                                          reads
colorization  trained to colourise grey images: ours (see      grey
              `tflm.pretrain_colorization`) or Larsson et
              al.'s vgg16.caffemodel.h5
imagenet      VGG-19 of keras.applications                     BGR
vgg16_file    any file with the convolutions of a VGG-16       grey or BGR
random        none: the control of colorization                grey

*Grey* is the mean of R, G and B in [0, 1], minus 114.451 / 255 (Jakab et al.,
released code). *BGR* is Caffe's convention: 0 to 255, minus the mean colour of
ImageNet. A file with 3 input channels is taken to follow it; networks that
were fine-tuned with means rounded in another way (those of HED differ by at
most 1.1 of 255) are close enough.

The weights are constants: nothing trains, saves or exports them.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import pathlib
import re
import zipfile

import h5py
import numpy as np
import tensorflow as tf

from tflm import configs
from tflm import errors

VGG16_DEPTHS = (2, 2, 3, 3, 3)  # Convolutions of each block.
_VGG19_DEPTHS = (2, 2, 4, 4, 4)
_CHANNELS = {"colorization": (1,), "imagenet": (3,), "vgg16_file": (1, 3)}
_GREY_MEAN = 114.451 / 255.0
_BGR_MEAN = (103.939, 116.779, 123.68)  # Of 255, as in keras.applications.
_WIDEST = 8  # "random": channels of a block over those of the first, at most.
# The file that keras.applications.VGG19(include_top=False) takes.
_VGG19_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
_VGG19_MD5 = "253f8cb515780f3b799900260a226db6"
# conv1_2 of Caffe, block1_conv2 of Keras.
_LABEL = re.compile(r"(?:conv|block)([1-5])_(?:conv)?(\d+)")
_CAFFE_EPSILON = 1e-5  # Of its batch normalisation.

# Kernel `[3, 3, in, out]` and bias `[out]`, both float32.
_Convolution = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class LossNetwork:
    """A fixed network.

    Attributes:
        name: one of `configs.LOSS_NETWORKS`, never "auto".
        hash: of the weights in use, 16 hexadecimal digits; the same weights
            have the same hash in whatever file they are.
        layer_names: the taps, shallowest first, such as "conv1_2".
        features: images `[B, S, S, 3]` in [0, 1] to one float32 map
            `[B, h, w, c]` per tap, after its ReLU.
        origin: where the weights are from, for a person.
    """

    name: str
    hash: str
    layer_names: tuple[str, ...]
    features: Callable[[tf.Tensor], list[tf.Tensor]]
    origin: str = ""


def colorization_path(data_dir: str, dataset: str) -> pathlib.Path:
    """Where the colourisation network that was trained on a dataset is."""
    return (
        pathlib.Path(data_dir) / "loss_networks" / dataset / "colorization.h5"
    )


def load(
    config: configs.LossConfig,
    dataset: str,
    data_dir: str,
    weights_file: str | None,
    seed: int,
    precision: str = "float32",
) -> LossNetwork:
    """Makes the network of a config, as deep as its last tap.

    Args:
        config: names the network; "auto" is the colourisation network of
            `dataset` if there is one, else VGG-19 from Keras' cache or
            download.
        dataset: whose colourisation network to look for.
        data_dir: under which it is.
        weights_file: HDF5 or NumPy file of weights for "colorization",
            "imagenet" or "vgg16_file"; None for the network's own.
        seed: of "random".
        precision: that convolutions compute in, "float32" or "bfloat16".

    Returns:
        The network, with the name of what "auto" stands for.

    Raises:
        errors.UserError: if there are no such weights, or the file does not
            hold them.
    """
    name, origin = config.network, weights_file
    if weights_file and name in ("auto", "random"):
        raise errors.UserError(
            f"--loss_weights={weights_file} needs --set loss.network="
            f"colorization, imagenet or vgg16_file; it is {name}"
        )
    if name == "random":
        origin = f"seed {seed}"
    elif not weights_file:
        name, origin = _found(name, dataset, data_dir)
    depths = _VGG19_DEPTHS if name == "imagenet" else VGG16_DEPTHS
    layers = layer_names(depths)
    layers = layers[: layers.index(config.last_tap) + 1]
    if name == "random":
        convolutions = _random(layers, config.network_filters, seed)
    else:
        convolutions = _read(origin, layers, depths)
        channels = convolutions[0][0].shape[2]
        if channels not in _CHANNELS[name]:
            raise errors.UserError(
                f"{origin}: conv1_1 reads {channels} channels, that of"
                f" loss.network={name} reads"
                f" {' or '.join(map(str, _CHANNELS[name]))}"
            )
    return LossNetwork(
        name,
        _hash(convolutions),
        tuple(layer for layer in layers if layer in configs.TAPS),
        _features(layers, convolutions, precision),
        origin,
    )


def layer_names(depths: Sequence[int] = VGG16_DEPTHS) -> list[str]:
    """The convolutions of a network in order, conv1_1 first.

    Args:
        depths: how many each block has.
    """
    return [
        f"conv{block}_{index}"
        for block, depth in enumerate(depths, start=1)
        for index in range(1, depth + 1)
    ]


def grey(images: tf.Tensor) -> tf.Tensor:
    """What a network of grey images reads: centred means of the channels.

    Args:
        images: float32 `[..., 3]`, RGB in [0, 1].

    Returns:
        float32 `[..., 1]`, in [-0.449, 0.551].
    """
    return tf.reduce_mean(images, axis=-1, keepdims=True) - _GREY_MEAN


def _found(name: str, dataset: str, data_dir: str) -> tuple[str, str]:
    """What network `name` stands for without a weights file, and its file."""
    trained = colorization_path(data_dir, dataset)
    pretrain = (
        f"python -m tflm.pretrain_colorization --dataset={dataset}"
        f" --data_dir={data_dir}"
    )
    if name == "vgg16_file":
        raise errors.UserError(
            "loss.network=vgg16_file needs --loss_weights=FILE, an HDF5 or"
            " .npz file with the convolutions of a VGG-16"
        )
    if name == "colorization" and not trained.exists():
        raise errors.UserError(
            f"loss.network=colorization: there is no {trained}; train it with"
            f" {pretrain}, or name another file with --loss_weights=FILE"
        )
    if name in ("colorization", "auto") and trained.exists():
        return "colorization", str(trained)
    try:
        return "imagenet", tf.keras.utils.get_file(
            _VGG19_URL.rpartition("/")[2],
            _VGG19_URL,
            cache_subdir="models",
            file_hash=_VGG19_MD5,
        )
    except Exception as error:  # Keras raises no narrower one.
        cause = " ".join(str(error).split())
        reason = f"VGG-19 is not in Keras' cache and cannot be fetched: {cause}"
        if name == "imagenet":
            raise errors.UserError(
                f"loss.network=imagenet: {reason}; name a copy of that file"
                " with --loss_weights=FILE, or take --set loss.network=random"
            ) from error
        raise errors.UserError(
            f"no loss network for {dataset}: there is no {trained}, and"
            f" {reason}. Train one with {pretrain}, or name a file with"
            " --loss_weights=FILE --set loss.network=vgg16_file, or do without"
            " by --set loss.name=l2"
        ) from error


def _random(
    layers: Sequence[str], filters: int, seed: int
) -> list[_Convolution]:
    """He-normal kernels and zero biases (He et al., ICCV 2015)."""
    # NumPy promises that this generator's numbers never change.
    generator = np.random.RandomState(seed)
    convolutions, before = [], 1
    for layer in layers:
        block = int(layer[len("conv")]) - 1
        width = filters * min(2**block, _WIDEST)
        kernel = generator.standard_normal([3, 3, before, width])
        kernel = kernel * np.sqrt(2.0 / (9 * before))
        bias = np.zeros(width, np.float32)
        convolutions.append((kernel.astype(np.float32), bias))
        before = width
    return convolutions


def _read(
    path: str, layers: Sequence[str], depths: Sequence[int]
) -> list[_Convolution]:
    """The convolutions of `layers` in a file of any known layout.

    Kernels are told by their names (conv1_1, block1_conv1) or, if no name says
    so, by their order; kernels `[3, 3, in, out]` (Keras) from `[out, in, 3, 3]`
    (Caffe) by their shapes. The bias is the vector beside its kernel.

    Larsson et al.'s file is Caffe's own HDF5 snapshot: kernel /data/conv1_1/0,
    bias /data/conv1_1/1. Batch normalisation that is not folded in, with mean,
    variance and their common divisor /data/batch_conv1_1/0 to 2, is folded in
    here, as in the released code of Jakab et al.
    """
    arrays = _stored_arrays(path)
    if norms := [n for n in arrays if re.search("(running|moving)_mean", n)]:
        raise errors.UserError(
            f"{path} has batch normalisation ({norms[0]}), which a VGG has not;"
            " fold it into the convolutions"
        )
    convolutions, before, caffe = [], None, _is_caffe(arrays)
    for layer, name in _kernel_names(path, arrays, layers, depths).items():
        kernel = arrays[name]
        if caffe:
            kernel = np.transpose(kernel, [2, 3, 1, 0])
        if kernel.shape[:2] != (3, 3) or before not in (None, kernel.shape[2]):
            raise errors.UserError(
                f"{path}: the kernel of {layer}, {name}, has shape"
                f" {list(arrays[name].shape)}, and the layer before it"
                f" {before} channels"
            )
        before = kernel.shape[3]
        bias = _bias(path, layer, name, arrays, before)
        statistics = f"{name.removesuffix(f'{layer}/0')}batch_{layer}"
        if f"{statistics}/2" in arrays:
            mean, variance, divisor = (
                arrays[f"{statistics}/{index}"] for index in range(3)
            )
            spread = np.sqrt(variance / divisor + _CAFFE_EPSILON)
            kernel, bias = kernel / spread, (bias - mean / divisor) / spread
        parts = [np.ascontiguousarray(a, np.float32) for a in (kernel, bias)]
        if not all(np.isfinite(part).all() for part in parts):
            raise errors.UserError(f"{path}: {layer} has values like NaN")
        convolutions.append(tuple(parts))
    return convolutions


def _stored_arrays(path: str) -> dict[str, np.ndarray]:
    """The 3x3 kernels and the vectors of a file, in the order of their names.

    Names are those of HDF5, "group/dataset", or of .npz members.
    """
    found = {}

    def keep(name: str, values) -> None:
        shape = getattr(values, "shape", ())  # A group has none.
        ends = (shape[:2], shape[2:])
        if len(shape) == 1 or (len(shape) == 4 and (3, 3) in ends):
            found[name] = np.asarray(values)

    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as file:
                for name in file.files:
                    keep(name, file[name])
        else:
            with h5py.File(path, locking=False) as file:
                file.visititems(keep)
    except FileNotFoundError as error:
        raise errors.UserError(
            f"no file {path}; --loss_weights names the weights of a loss"
            " network"
        ) from error
    except Exception as error:  # Whatever h5py, zipfile and NumPy raise.
        reason = " ".join(str(error).split())
        raise errors.UserError(
            f"{path} cannot be read as HDF5 or .npz: {reason}; get it again, or"
            " name another file with --loss_weights"
        ) from error
    return {
        name: found[name]
        for name in sorted(found, key=_in_network_order)
        if found[name].dtype.kind == "f"
    }


def _in_network_order(name: str) -> list[list]:
    """Sorts conv2 before conv10, and conv2d before conv2d_1."""
    return [
        [
            int(piece) if index % 2 else piece  # Every other one is a number.
            for index, piece in enumerate(re.split("([0-9]+)", part))
        ]
        for part in name.split("/")
    ]


def _is_caffe(arrays: Mapping[str, np.ndarray]) -> bool:
    shapes = [array.shape for array in arrays.values() if array.ndim == 4]
    keras = all(shape[:2] == (3, 3) for shape in shapes)
    return not keras and all(shape[2:] == (3, 3) for shape in shapes)


def _kernel_names(
    path: str,
    arrays: Mapping[str, np.ndarray],
    layers: Sequence[str],
    depths: Sequence[int],
) -> dict[str, str]:
    """What the kernel of each layer is called in a file."""
    kernels = [name for name, array in arrays.items() if array.ndim == 4]
    vgg = f"VGG-{sum(depths) + 3}"
    known, named = layer_names(depths), {}
    for kernel in kernels:
        if label := _LABEL.search(kernel):
            layer = f"conv{label[1]}_{label[2]}"
            if layer in named:
                raise errors.UserError(
                    f"{path} has two kernels of {layer}: {named[layer]} and"
                    f" {kernel}"
                )
            named[layer] = kernel
    if not named:
        if len(kernels) != len(known):
            raise errors.UserError(
                f"{path} has {len(kernels)} kernels of 3x3 convolutions, a"
                f" {vgg} has {len(known)}"
            )
        named = dict(zip(known, kernels))
    if more := [layer for layer in named if layer not in known]:
        raise errors.UserError(
            f"{path} is of another network: it has {', '.join(more)}, which a"
            f" {vgg} has not"
        )
    if missing := [layer for layer in layers if layer not in named]:
        raise errors.UserError(f"{path} lacks {', '.join(missing)} of a {vgg}")
    return {layer: named[layer] for layer in layers}


def _bias(
    path: str,
    layer: str,
    kernel_name: str,
    arrays: Mapping[str, np.ndarray],
    width: int,
) -> np.ndarray:
    """The one vector beside a kernel: in its group, or of its name's stem."""
    separators = "/" if "/" in kernel_name else "._"
    stem = re.sub(f"[^{separators}]*$", "", kernel_name)
    beside = [
        array
        for name, array in arrays.items()
        if name.startswith(stem)
        and array.shape == (width,)
        and not any(s in name[len(stem) :] for s in separators)
    ]
    if len(beside) != 1:
        raise errors.UserError(
            f"{path}: {len(beside)} vectors beside the kernel of {layer},"
            f" {kernel_name}, could be its bias of {width} values"
        )
    return beside[0]


def _hash(convolutions: Sequence[_Convolution]) -> str:
    digest = hashlib.sha256()
    for kernel, bias in convolutions:
        for array in (kernel, bias):
            digest.update(str(array.shape).encode())
            digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def _features(
    layers: Sequence[str],
    convolutions: Sequence[_Convolution],
    precision: str,
) -> Callable[[tf.Tensor], list[tf.Tensor]]:
    dtype = tf.dtypes.as_dtype(precision)
    constants = [
        [tf.cast(tf.constant(part), dtype) for part in parts]
        for parts in convolutions
    ]
    prepared = {1: grey, 3: _bgr}[convolutions[0][0].shape[2]]

    def features(images: tf.Tensor) -> list[tf.Tensor]:
        maps, values = [], tf.cast(prepared(images), dtype)
        for layer, (kernel, bias) in zip(layers, constants):
            if layer.endswith("_1") and layer != "conv1_1":
                values = tf.nn.max_pool2d(values, 2, 2, "SAME")
            values = tf.nn.conv2d(values, kernel, 1, "SAME")
            values = tf.nn.relu(tf.nn.bias_add(values, bias))
            if layer in configs.TAPS:
                maps.append(tf.cast(values, tf.float32))
        return maps

    return features


def _bgr(images: tf.Tensor) -> tf.Tensor:
    return 255.0 * images[..., ::-1] - tf.constant(_BGR_MEAN)
