"""Small random nets over the operators that an engine must know, odd attributes and sizes included."""

import numpy as np

from net import HEAD, pair

CHANNELS = [1, 3, 5, 8, 16, 24, 31, 32, 40, 64]


def random_net(net, moves, tail):
    """A net of `moves`, as `plans` deals them, that one of `TAILS` ends."""
    rng = net.rng
    batch = 2 if rng.random() < 0.15 else 1
    x = net.input(batch, pick(net, [1, 2, 3]), *rng.choice(range(17, 49), 2, replace=False).tolist())
    # onnxruntime's optimizer fails on a graph whose input is clipped and only then quantized.
    if rng.random() < 0.7 or moves[0] in (relu, relu6, clip):
        x = conv(net, x)
    for move in moves:
        x = move(net, x)
    TAILS[tail % len(TAILS)](net, x)


def plans(seed):
    """Lists of 4 to 10 moves without end, dealt from shuffled decks so that each move comes up as often as it shall."""
    rng = np.random.default_rng(seed)
    deck = []
    while True:
        count = rng.integers(4, 11)
        while len(deck) < count:
            deck += [MOVES[i] for i in rng.permutation(len(MOVES))]
        yield deck[:count]
        del deck[:count]


def pick(net, options):
    return options[net.rng.integers(len(options))]


def chance(net, share):
    return net.rng.random() < share


def conv(net, x):
    return windowed_conv(net, x, pick(net, CHANNELS), 1)


def depthwise(net, x):
    channels = net.channels(x)
    return windowed_conv(net, x, channels * pick(net, [1, 1, 1, 2] if channels < 32 else [1]), channels)


def grouped(net, x):
    channels = net.channels(x)
    group = pick(net, [g for g in (1, 2, 3, 4, 5, 8, 31) if channels % g == 0])
    return windowed_conv(net, x, group * pick(net, [1, 2, 3, 5, 8]), group)


def pointwise(net, x):
    return net.conv(x, pick(net, CHANNELS), bias=chance(net, 0.8))


def windowed_conv(net, x, channels, group):
    sizes = net.shape(x)[2:]
    kernel = pair(pick(net, [1, 3, 3, 5, 7, 2])) if chance(net, 0.6) else [pick(net, [1, 2, 3, 5, 7]) for _ in sizes]
    stride = pair(pick(net, [1, 1, 2, 3])) if chance(net, 0.8) else [pick(net, [1, 2, 3]) for _ in sizes]
    stride = [s if size >= 10 else 1 for s, size in zip(stride, sizes)]
    dilation = pair(pick(net, [1, 1, 1, 2, 3, 4])) if chance(net, 0.8) else [pick(net, [1, 2, 3, 4]) for _ in sizes]
    if chance(net, 0.15):
        kernel, dilation = [3, 3], [size // 2 + 1 for size in sizes]
    return net.conv(
        x, channels, kernel, stride, dilation, group, chance(net, 0.8), **padding(net, sizes, kernel, dilation)
    )


def padding(net, sizes, kernel, dilation):
    """Attributes for some way of padding that leaves 4 pixels or more before strides; {} asks for the plain way."""
    reach = [d * (k - 1) for k, d in zip(kernel, dilation)]
    way = pick(net, ["plain", "plain", "uneven", "uneven", "SAME_UPPER", "SAME_LOWER", "VALID"])
    # onnxruntime refuses SAME_* of dilated convolutions.
    if way.startswith("SAME") and max(dilation) == 1:
        return {"auto_pad": way}
    if way == "VALID" and all(size - r >= 4 for size, r in zip(sizes, reach)):
        return {"auto_pad": way}
    if way == "uneven":
        begins, ends = ([int(net.rng.integers(0, r + 1)) for r in reach] for _ in range(2))
        if all(size + b + e - r >= 4 for size, b, e, r in zip(sizes, begins, ends, reach)):
            return {"pads": begins + ends}
    return {}


def activation(kind, *attributes):
    return lambda net, x: net.op(kind, x, **(pick(net, attributes) if attributes else {}))


def relu(net, x):
    return net.relu(x)


def relu6(net, x):
    return net.clip(x, 0, 6)


def clip(net, x):
    return net.clip(x, *pick(net, [(-1, 1), (0, 1), (-0.5, 3), (None, 2), (-0.75, None), (0.1, 2)]))


def partner(net, x):
    """A tensor of the shape of `x`: an earlier one if there is any, else one grown from `x`."""
    twins = [t for t in net.activations if t != x and net.shape(t) == net.shape(x)]
    if twins and chance(net, 0.7):
        return pick(net, twins)
    if chance(net, 0.3):
        return net.op("Sigmoid", x)
    return net.conv(x, net.channels(x), pick(net, [1, 3]))


def add(net, x):
    return net.op("Add", *pick(net, [(x, partner(net, x)), (partner(net, x), x)]))


def multiply(net, x):
    return net.op("Mul", *pick(net, [(x, partner(net, x)), (partner(net, x), x)]))


def squeeze_excite(net, x):
    gate, attributes = pick(net, [("Sigmoid", {}), ("HardSigmoid", {}), ("HardSigmoid", {"alpha": 1 / 6})])
    return net.squeeze_excite(x, max(1, net.channels(x) // 4), gate, **attributes)


def with_constant(net, x):
    """Add or Mul of a constant of one value, or of one per channel, on either side."""
    dims = pick(net, [[], [1], [1, net.channels(x), 1, 1], [net.channels(x), 1, 1], [1, net.channels(x), 1, 1]])
    constant = net.constant(f"operand{len(net.nodes)}", net.rng.normal(0.5, 0.7, dims).astype(np.float32))
    return net.op(pick(net, ["Mul", "Mul", "Add"]), *pick(net, [(x, constant), (constant, x)]))


def concat_channels(net, x):
    parts = [t for t in net.activations if t != x and net.shape(t)[2:] == net.shape(x)[2:] and net.channels(t) <= 64]
    other = pick(net, parts) if parts and chance(net, 0.6) else net.conv(x, pick(net, CHANNELS), 3)
    more = [net.conv(x, pick(net, CHANNELS))] if chance(net, 0.3) else []
    return narrowed(net, net.concat(x, other, *more))


def concat_space(net, x):
    return net.concat(partner(net, x), x, axis=pick(net, [2, 3])) if max(net.shape(x)[2:]) <= 48 else x


def pooled_branch(net, x):
    """The image-level branch of an ASPP."""
    pooled = net.conv(net.op("GlobalAveragePool", x), pick(net, CHANNELS[:6]))
    mode = pick(net, ["nearest", "linear"])
    return narrowed(net, net.concat(x, net.resize(pooled, sizes=net.shape(x)[2:], mode=mode)))


def narrowed(net, x):
    return x if net.channels(x) <= 96 else net.relu(net.conv(x, 32))


def max_pool(net, x):
    window = pool_window(net, x)
    sizes, pads = net.shape(x)[2:], window["pads"]
    # ONNX counts windows that begin in the padding at the end, onnxruntime does not.
    begins = [
        -(-(size + b + e - k) // s) * s - b
        for size, b, e, k, s in zip(sizes, pads[:2], pads[2:], window["kernel_shape"], window["strides"])
    ]
    ceil = chance(net, 0.5) and all(begin < size for begin, size in zip(begins, sizes))
    return net.op("MaxPool", x, ceil_mode=int(ceil), **window)


def average_pool(net, x):
    return net.op("AveragePool", x, count_include_pad=pick(net, [0, 1]), **pool_window(net, x))


def pool_window(net, x):
    kernel = pick(net, [[2, 2], [3, 3], [3, 2], [2, 5], [5, 5]])
    stride = [pick(net, [1, 2, 2, 3]) if size >= 10 else 1 for size in net.shape(x)[2:]]
    pads = [int(net.rng.integers(0, k // 2 + 1)) for k in kernel * 2] if chance(net, 0.6) else [0, 0, 0, 0]
    if min(net.shape(x)[2:]) < 8:
        pads = [k // 2 for k in kernel * 2]
    return {"kernel_shape": kernel, "strides": stride, "pads": pads}


def resize(mode, *nearest_modes):
    def move(net, x):
        attributes = {"mode": mode, "coordinate_transformation_mode": pick(net, TRANSFORMATIONS)}
        if nearest_modes:
            attributes["nearest_mode"] = pick(net, nearest_modes)
        sizes = net.shape(x)[2:]
        scales = [pick(net, UP if size <= 24 else DOWN) for size in sizes]
        if max(sizes) <= 24 and chance(net, 0.5):
            scales = pair(scales[0])
        scales = [max(scale, 4 / size) for scale, size in zip(scales, sizes)]
        # onnx and onnxruntime round down what is a whole number but for the precision of f32 to different sizes.
        whole = any(abs(scale * size - round(scale * size)) < 1e-4 and scale % 0.5 for scale, size in zip(scales, sizes))
        if chance(net, 0.5) and not whole:
            return net.resize(x, scales=scales, **attributes)
        return net.resize(x, sizes=[round(scale * size) for scale, size in zip(scales, sizes)], **attributes)

    return move


UP, DOWN = [0.5, 0.6, 1, 1.5, 1.7, 2, 3], [0.4, 0.5, 0.7]
TRANSFORMATIONS = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]


def transpose(net, x):
    return net.op("Transpose", x, perm=[0, 1, 3, 2])


nearest = resize("nearest", "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
linear = resize("linear")

MOVES = [
    conv, conv, conv, depthwise, depthwise, grouped, grouped, pointwise,
    relu, relu, relu6, clip, activation("HardSwish"),
    activation("HardSigmoid", {}, {"alpha": 1 / 6}), activation("Sigmoid"),
    activation("LeakyRelu", {}, {"alpha": 0.2}), activation("Tanh"),
    add, add, multiply, squeeze_excite, with_constant, with_constant,
    concat_channels, concat_space, pooled_branch,
    max_pool, average_pool, nearest, nearest, linear, linear, transpose,
]  # fmt: skip


def flat(net, x):
    """One row per image, of few enough features that weights on them stay small."""
    if np.prod(net.shape(x)[1:]) > 3000:
        kernel = [-(-size // 5) for size in net.shape(x)[2:]]
        x = net.op("AveragePool", x, kernel_shape=kernel, strides=kernel)
    if chance(net, 0.5):
        return net.op("Flatten", x)
    return net.op("Reshape", x, constants=[np.array([pick(net, [0, net.shape(x)[0]]), -1], np.int64)])


def gemm_tail(net, x):
    net.gemm(flat(net, x), pick(net, [1, 2, 10, 37]), chance(net, 0.6), chance(net, 0.7))


def matmul_tail(net, x):
    x = flat(net, x)
    features = pick(net, [1, 5, 10, 33])
    y = net.op("MatMul", x, constants=[net.weights([net.channels(x), features], 1, 1.0)])
    if chance(net, 0.5):
        net.op("Add", y, constants=[net.bias(features)])


def pooled_tail(net, x):
    hidden = net.relu(net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), 24))
    net.gemm(hidden, 7, chance(net, 0.5))


def channels_last_tail(net, x):
    net.op("Transpose", x, perm=[0, 2, 3, 1])


def float_tail(net, x):
    logits = net.conv(x, 3, pick(net, [1, 3]), prefix=HEAD)
    net.resize(logits, scales=[2, 2], prefix=HEAD, mode="linear")


def conv_tail(net, x):
    net.conv(x, 2, 3)


def no_tail(net, x):
    pass


TAILS = [conv_tail, gemm_tail, float_tail, matmul_tail, pooled_tail, channels_last_tail, no_tail]
