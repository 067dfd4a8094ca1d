"""Images and augmentation with OpenCV and numpy, in a `Dataset` for `torch.utils.data.DataLoader`."""

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

CONTROL = 6  # points along a side of the smooth displacement, as ours


class Radiographs(Dataset):
    """Augmented radiographs with masks; with `cached`, decoded once, before the workers are forked."""

    def __init__(self, description, cached=False, augmented=True):
        self.labels, self.images = description["labels"], description["images"]
        self.preprocess, self.augment = description["preprocess"], description["augment"]
        self.augmented = augmented and self.augment["enabled"]
        self.rng = None
        self.cache = [self.read(i) for i in range(len(self.images))] if cached else None

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, planes, valid = self.cache[index] if self.cache is not None else self.read(index)
        if self.rng is None:
            self.rng = np.random.Generator(np.random.SFC64(torch.initial_seed()))
        if self.augmented:
            image, planes = vary(image, planes, self.augment, self.rng)
        else:
            image = image.astype(np.float32) * np.float32(1 / 65535)
        image = (image - np.float32(self.preprocess["mean"])) * np.float32(1 / self.preprocess["std"])
        # The last plane says what is radiograph and what is padding.
        targets = planes[:, :, :-1].transpose(2, 0, 1) * np.float32(1 / 255)
        return torch.from_numpy(image)[None], torch.from_numpy(np.ascontiguousarray(targets)), valid

    def read(self, index):
        """Decodes an image and its masks and brings them to the network's size."""
        entry, size = self.images[index], self.preprocess["input_size"]
        pixels = read_gray(entry["image"])
        rows, cols = pixels.shape
        scale = size / max(rows, cols)
        inner = (max(1, round(rows * scale)), max(1, round(cols * scale)))
        top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
        window = (slice(top, top + inner[0]), slice(left, left + inner[1]))

        small = cv2.resize(pixels, inner[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        low, high = np.percentile(small, [self.preprocess["low_percentile"], self.preprocess["high_percentile"]])
        stretched = np.clip((small - low) / max(high - low, 1e-6), 0, 1)
        image = np.zeros((size, size), np.uint16)
        image[window] = np.rint(stretched * 65535)

        planes = np.zeros((size, size, len(self.labels) + 1), np.uint8)
        valid = torch.zeros(len(self.labels))
        for c, label in enumerate(self.labels):
            files = entry["masks"].get(label)
            if files is None:
                continue
            valid[c] = 1
            mask = np.zeros((rows, cols), np.uint8)
            for file in files:
                if not isinstance(file, str):
                    raise SystemExit("compare with a data set whose masks are pictures")
                mask |= (read_gray(file) > 127).astype(np.uint8) * 255
            planes[(*window, c)] = cv2.resize(mask, inner[::-1], interpolation=cv2.INTER_AREA)
        planes[(*window, len(self.labels))] = 255
        return image, planes, valid


class Forever(Sampler):
    """One shuffled epoch after the other, so that no worker ever waits at the end of one."""

    def __init__(self, length, seed):
        self.length, self.seed = length, seed

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        while True:
            yield from rng.permutation(self.length).tolist()


def endless_loader(dataset, batch, workers):
    """Batches without end."""
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=Forever(len(dataset), 17),
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=2,
        worker_init_fn=lambda _: cv2.setNumThreads(1),
    )


def epoch_loader(dataset, batch, workers):
    """Every image once."""
    return DataLoader(
        dataset, batch_size=batch, num_workers=workers, persistent_workers=True, prefetch_factor=2,
        worker_init_fn=lambda _: cv2.setNumThreads(1),
    )


def read_gray(path):
    pixels = cv2.imread(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    if pixels is None:
        raise SystemExit(f"cannot read {path}")
    return pixels


def vary(image, planes, spec, rng):
    """The augmentations of ours (`dataset/augment`), with the same amplitudes and probabilities."""
    size = image.shape[0]
    matrix = affine(size, spec, rng)
    if rng.random() < spec["elastic_probability"]:
        control = either(rng, spec["elastic"] * size, (CONTROL, CONTROL, 2)).astype(np.float32)
        shift = cv2.resize(control, (size, size), interpolation=cv2.INTER_LINEAR)
        axis = np.arange(size, dtype=np.float32)
        m = matrix.astype(np.float32)
        xs = shift[:, :, 0] + (m[0, 0] * axis + m[0, 2]) + (m[0, 1] * axis)[:, None]
        ys = shift[:, :, 1] + (m[1, 0] * axis + m[1, 2]) + (m[1, 1] * axis)[:, None]
        image = cv2.remap(image, xs, ys, cv2.INTER_LINEAR)
        planes = cv2.remap(planes, xs, ys, cv2.INTER_LINEAR)
    else:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(image, matrix, (size, size), flags=flags)
        planes = cv2.warpAffine(planes, matrix, (size, size), flags=flags)
    image = image.astype(np.float32) * np.float32(1 / 65535)
    image = tone(image, spec, rng)
    burn_in(image, spec, rng)
    np.clip(image, 0, 1, out=image)
    image *= planes[:, :, -1] > 127
    return image, planes


def affine(size, spec, rng):
    """Output pixel → input pixel: rotation, shear, magnification of each axis, shift."""
    angle = np.deg2rad(either(rng, spec["rotation_deg"]))
    scale, aspect = rng.uniform(*spec["scale"]), 1 + either(rng, spec["aspect"])
    shear = np.tan(np.deg2rad(either(rng, spec["shear_deg"])))
    shift = either(rng, spec["translate"], 2) * size
    sin, cos = np.sin(angle), np.cos(angle)
    linear = np.array([
        [(cos + shear * sin) / (scale * aspect**0.5), (sin - shear * cos) / (scale * aspect**0.5)],
        [-sin * aspect**0.5 / scale, cos * aspect**0.5 / scale],
    ])
    centre = np.full(2, size / 2 - 0.5)
    return np.column_stack([linear, centre - linear @ (centre + shift)])


def tone(image, spec, rng):
    size = image.shape[0]
    if rng.random() < spec["blur_probability"]:
        sigma = rng.uniform(min(0.3, spec["blur"]), spec["blur"])
        if sigma > 0:
            image = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    gamma, contrast = rng.uniform(*spec["gamma"]), rng.uniform(*spec["contrast"])
    ramp = np.arange(size, dtype=np.float32) / size - np.float32(0.5)
    across, down = either(rng, spec["exposure_gradient"], 2).astype(np.float32)
    image = cv2.pow(image, gamma)
    image -= np.float32(0.5)
    image *= np.float32(contrast)
    image += np.float32(0.5 + either(rng, spec["brightness"])) + across * ramp
    image += (down * ramp)[:, None]
    if rng.random() < spec["noise_probability"]:
        noise = rng.standard_normal(image.shape, np.float32)
        noise *= np.float32(rng.uniform(0, spec["noise"]))
        image += noise
    return image


def burn_in(image, spec, rng):
    size = image.shape[0]
    for _ in range(rng.integers(0, spec["markers"] + 1)):
        height, width = np.ceil(rng.uniform(0.02, max(spec["marker_size"], 0.02), 2) * size).astype(int)
        top, left = rng.integers(0, size - height + 1), rng.integers(0, size - width + 1)
        image[top:top + height, left:left + width] = (
            rng.uniform(0.8, 1) if rng.random() < 0.7 else rng.uniform(0, 0.2)
        )
    if rng.random() < spec["collimation_probability"]:
        top, bottom, left, right = (rng.uniform(0, min(spec["collimation"], 0.5), 4) * size).astype(int)
        image[:top], image[size - bottom:], image[:, :left], image[:, size - right:] = 0, 0, 0, 0


def either(rng, amplitude, shape=None):
    return rng.uniform(-amplitude, amplitude, shape)
