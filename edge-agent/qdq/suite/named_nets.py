"""Well-known nets, at small inputs and some of them at reduced width."""

from net import HEAD

CLASSES = 100
# The gain that ends a residual branch: at 1, random nets blow one quantization step up tenfold, as trained ones do not.
QUIET = 0.2


def mobilenetv2(net, width=0.5):
    *_, x = mobilenetv2_stages(net, net.input(1, 3, 128, 128), width)
    x = relu6(net, net.conv(x, 640))
    net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), CLASSES)


def mobilenetv2_stages(net, x, width, output_stride=32):
    """MobileNetV2 up to its last stage; strides beyond `output_stride` are dilations instead."""
    x = relu6(net, net.conv(x, divisible(32 * width), 3, 2))
    reached, dilation, results = 2, 1, []
    stages = (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    for expansion, channels, count, first_stride in stages:
        if reached * first_stride > output_stride:
            first_stride, dilation = 1, dilation * first_stride
        reached *= first_stride
        for stride in [first_stride] + [1] * (count - 1):
            x = inverted_residual(net, x, expansion, divisible(channels * width), stride, dilation)
        results.append(x)
    return results


def inverted_residual(net, x, expansion, channels, stride, dilation=1):
    wide = net.channels(x) * expansion
    y = relu6(net, net.conv(x, wide)) if expansion > 1 else x
    y = relu6(net, net.conv(y, wide, 3, stride, dilation, group=wide))
    y = net.conv(y, channels, gain=QUIET)
    return net.op("Add", x, y) if net.shape(x) == net.shape(y) else y


def relu6(net, x):
    return net.clip(x, 0, 6)


def mobilenetv3_small(net):
    x = net.op("HardSwish", net.conv(net.input(1, 3, 128, 128), 16, 3, 2))
    blocks = (
        # kernel, expanded, out, squeeze, activation, stride
        (3, 16, 16, True, "Relu", 2),
        (3, 72, 24, False, "Relu", 2),
        (3, 88, 24, False, "Relu", 1),
        (5, 96, 40, True, "HardSwish", 2),
        (5, 240, 40, True, "HardSwish", 1),
        (5, 240, 40, True, "HardSwish", 1),
        (5, 120, 48, True, "HardSwish", 1),
        (5, 144, 48, True, "HardSwish", 1),
        (5, 288, 96, True, "HardSwish", 2),
        (5, 576, 96, True, "HardSwish", 1),
        (5, 576, 96, True, "HardSwish", 1),
    )
    for kernel, wide, channels, squeeze, activation, stride in blocks:
        y = net.op(activation, net.conv(x, wide)) if wide != net.channels(x) else x
        y = net.op(activation, net.conv(y, wide, kernel, stride, group=wide))
        if squeeze:
            y = net.squeeze_excite(y, divisible(wide / 4), "HardSigmoid", alpha=1 / 6)
        y = net.conv(y, channels, gain=QUIET)
        x = net.op("Add", x, y) if net.shape(x) == net.shape(y) else y
    x = net.op("HardSwish", net.conv(x, 576))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    net.gemm(net.op("HardSwish", net.gemm(x, 512, gain=2.0)), CLASSES)


def resnet18(net):
    *_, x = resnet18_stages(net, net.input(1, 3, 96, 96), stride_of_last=2)
    net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), CLASSES)


def resnet18_stages(net, x, stride_of_last, width=32):
    """ResNet-18, of half width unless told; a last stage of stride 1 is dilated instead."""
    x = net.relu(net.conv(x, width, 7, 2))
    x = net.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    stages = []
    for channels, stride in (width, 1), (2 * width, 2), (4 * width, 2), (8 * width, stride_of_last):
        dilation = 2 if channels == 8 * width and stride == 1 else 1
        x = basic_block(net, x, channels, stride, dilation)
        x = basic_block(net, x, channels, 1, dilation)
        stages.append(x)
    return stages


def basic_block(net, x, channels, stride, dilation):
    y = net.relu(net.conv(x, channels, 3, stride, dilation))
    y = net.conv(y, channels, 3, 1, dilation, gain=QUIET)
    if net.shape(x) != net.shape(y):
        x = net.conv(x, channels, 1, stride, gain=1.0)
    return net.relu(net.op("Add", y, x))


def unet(net):
    x = double_conv(net, net.input(1, 1, 96, 128), 16)
    skips = []
    for channels in 32, 64, 128:
        skips.append(x)
        x = double_conv(net, net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), channels)
    for skip in reversed(skips):
        up = net.resize(
            x, scales=[2, 2], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
        x = double_conv(net, net.concat(up, skip), net.channels(skip))
    net.conv(x, 3, gain=1.0)


def double_conv(net, x, channels):
    return net.relu(net.conv(net.relu(net.conv(x, channels, 3)), channels, 3))


def resnet18_deeplabv3plus(net):
    """The layout of the models we export, but that the dilated convolutions of the ASPP are dense."""
    dense = lambda x, channels, rate: net.relu(net.conv(x, channels, 3, dilation=rate))
    x = deeplabv3plus(net, net.input(1, 1, 160, 160), 32, 128, 32, dense)
    logits = net.conv(x, 6, gain=1.0, prefix=HEAD)
    net.resize(logits, scales=[4, 4], prefix=HEAD, **LINEAR)


LINEAR = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}


def deeplabv3plus(net, x, width, channels, low_level, branch):
    """DeepLabV3+ on a ResNet-18 of output stride 16, without the head; `branch` makes a dilated branch of the ASPP."""
    fine, _, _, x = resnet18_stages(net, x, stride_of_last=1, width=width)
    parts = [net.relu(net.conv(x, channels))]
    parts += [branch(x, channels, rate) for rate in (12, 24, 36)]
    pooled = net.relu(net.conv(net.op("GlobalAveragePool", x), channels))
    parts.append(net.resize(pooled, scales=net.shape(x)[2:], **LINEAR))
    x = net.relu(net.conv(net.concat(*parts), channels))
    x = net.resize(separable(net, x, channels), scales=[4, 4], **LINEAR)
    return separable(net, net.concat(x, net.relu(net.conv(fine, low_level))), channels)


def separable(net, x, channels, dilation=1):
    depthwise = net.conv(x, net.channels(x), 3, dilation=dilation, group=net.channels(x), gain=1.0)
    return net.relu(net.conv(depthwise, channels))


def divisible(channels):
    """The multiple of 8 that the MobileNets take for a scaled channel count: near, and not below 0.9 of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


NAMED = {
    "mobilenetv2": mobilenetv2,
    "mobilenetv3-small": mobilenetv3_small,
    "resnet18": resnet18,
    "unet": unet,
    "resnet18-deeplabv3plus": resnet18_deeplabv3plus,
}
