"""Draws the pictures in tests/golden/images and computes what torchvision makes of them.

Usage: python scripts/make_golden_images.py   (needs torch, torchvision, pillow, numpy)

Every picture is synthetic. For each case of cases.json, `file` is decoded by PIL to the RGB that a person sees, then
resized and cropped by torchvision; the result is `expected`. A case without `expected` must be reported as broken.
augment.json holds torchvision's result for single augmentation operations on one picture.
"""

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import TrivialAugmentWide, _apply_op

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "images"
cases = []


def scene(width, height, seed=0, noise=0.8):
    """Gradients, shapes, an edge and a little noise; not symmetric in any direction."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    planes = [
        160 * x + 60 * y,
        120 + 90 * np.sin(6 * x + 4 * y + seed),
        220 - 180 * y + 20 * np.cos(20 * x),
    ]
    grain = np.random.default_rng(seed).normal(0, noise, (height, width, 1))
    image = Image.fromarray(np.clip(np.stack(planes, -1) + grain, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.ellipse((0.1 * width, 0.1 * height, 0.4 * width, 0.6 * height), fill=(240, 40, 30))
    draw.polygon([(0.6 * width, 0.9 * height), (0.95 * width, 0.5 * height), (0.7 * width, 0.2 * height)], fill=(20, 60, 200))
    draw.line((0, height - 1, width - 1, 0), fill=(255, 255, 255), width=max(1, width // 40))
    return image


def with_alpha(image):
    width, height = image.size
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1)))
    image = image.copy()
    image.putalpha(alpha)
    return image


def seen(path):
    """The RGB that a person sees: upright, transparency on white, 16 bits scaled down."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = (np.asarray(image).astype(np.float64) / 257 + 0.5).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def expect(name, resize=40, crop=32, rgb=None):
    """Adds the case of a file that is already written."""
    rgb = rgb or seen(OUT / name)
    result = transforms.Compose([transforms.Resize(resize), transforms.CenterCrop(crop)])(rgb)
    expected = name.replace(".", "_") + ".expected.png"
    result.save(OUT / expected, optimize=True)
    cases.append({"file": name, "resize": resize, "crop": crop, "expected": expected})


def add(name, image, resize=40, crop=32, **options):
    image.save(OUT / name, **options)
    expect(name, resize, crop)


def broken(name, data):
    (OUT / name).write_bytes(data)
    cases.append({"file": name, "resize": 40, "crop": 32, "expected": None})


def shapes():
    sizes = [(150, 100), (100, 150), (64, 64), (20, 15), (97, 61), (90, 64), (400, 12), (5, 200), (1, 1), (65, 67)]
    for width, height in sizes:
        add(f"shape_{width}x{height}.png", scene(width, height), 64, 56)
    add("imagenet_320x240.jpg", scene(320, 240, 1, 0), 256, 224, quality=90)
    add("half_200x301.jpg", scene(200, 301, 2, 0), 128, 112, quality=85)


def png16(image):
    """A PNG with 16 bits per channel, which PIL cannot write."""
    pixels = np.asarray(image).astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def modes():
    rgb = scene(60, 46, 3)
    grey = rgb.convert("L")
    palette = rgb.quantize(32)
    grey16 = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256 + 77)
    add("grey.png", grey)
    add("grey.jpg", grey, quality=90)
    add("grey16.png", grey16)
    add("bilevel.png", rgb.convert("1"))
    add("palette.png", palette)
    add("palette_transparent.png", palette, transparency=3)
    add("grey_alpha.png", with_alpha(rgb).convert("LA"))
    add("rgba.png", with_alpha(rgb))
    (OUT / "rgb16.png").write_bytes(png16(rgb))
    expect("rgb16.png", rgb=rgb)

    add("palette.gif", palette)
    add("animated.gif", palette, save_all=True, append_images=[scene(60, 46, 9).quantize(32)], duration=100)
    add("transparent.gif", palette, transparency=3)

    add("lossless.webp", rgb, lossless=True)
    add("lossy.webp", rgb, quality=90)
    add("rgba.webp", with_alpha(rgb), lossless=True, exact=True)

    add("rgb.bmp", rgb)
    add("palette.bmp", palette)
    add("grey.bmp", grey)
    add("lzw.tiff", rgb, compression="tiff_lzw")
    add("deflate.tif", rgb, compression="tiff_adobe_deflate")
    add("grey.tif", grey, compression="tiff_lzw")
    add("grey16.tif", grey16)
    add("cmyk.tif", rgb.convert("CMYK"), compression="tiff_lzw")
    add("rgba.tif", with_alpha(rgb), compression="tiff_lzw")


def ycck(image):
    """A CMYK JPEG stored as luma and chroma, as Photoshop does: PIL writes plain CMYK, so the colours are converted
    beforehand and the transform noted in the Adobe segment is changed."""
    c, m, y, k = image.convert("CMYK").split()
    # PIL inverts all channels on writing; the decoder turns YCC into inverted CMY.
    ycc = Image.merge("RGB", [c, m, y]).convert("YCbCr")
    data = io.BytesIO()
    Image.merge("CMYK", [*(ImageOps.invert(plane) for plane in ycc.split()), k]).save(data, "JPEG", quality=95)
    data = bytearray(data.getvalue())
    at = data.index(b"Adobe")
    assert data[at + 11] == 0
    data[at + 11] = 2
    return bytes(data)


def jpegs():
    rgb = scene(60, 46, 4)
    add("subsampled_444.jpg", rgb, quality=92, subsampling=0)
    add("subsampled_422.jpg", rgb, quality=92, subsampling=1)
    add("subsampled_420.jpg", rgb, quality=92, subsampling=2)
    add("progressive.jpg", rgb, quality=92, progressive=True)
    add("restart_markers.jpg", rgb, quality=92, restart_marker_rows=1)
    muted = rgb.convert("CMYK")
    add("cmyk.jpg", muted, quality=95)
    (OUT / "ycck.jpg").write_bytes(ycck(rgb))
    expect("ycck.jpg")
    add("jpeg_named.png", rgb, quality=92, format="JPEG")

    data = (OUT / "subsampled_420.jpg").read_bytes()
    whole = seen(OUT / "subsampled_420.jpg")
    # Viewers open these two; PIL refuses the first.
    (OUT / "no_end_marker.jpg").write_bytes(data[:-2])
    expect("no_end_marker.jpg", rgb=whole)
    (OUT / "garbage_behind.jpg").write_bytes(data + b"\0garbage\xff")
    expect("garbage_behind.jpg", rgb=whole)

    broken("truncated.jpg", data[: len(data) // 2])
    # In these two only part of the bottom row of blocks is missing.
    broken("truncated_late.jpg", data[:-12])
    restarts = (OUT / "restart_markers.jpg").read_bytes()
    broken("truncated_restart_markers.jpg", restarts[:-12])
    (OUT / "restart_markers_no_end.jpg").write_bytes(restarts[:-2])
    expect("restart_markers_no_end.jpg", rgb=seen(OUT / "restart_markers.jpg"))
    progressive = (OUT / "progressive.jpg").read_bytes()
    broken("truncated_progressive.jpg", progressive[: len(progressive) * 4 // 5])
    for source in ["rgba.png", "palette.gif", "lossy.webp", "rgb.bmp", "lzw.tiff"]:
        data = (OUT / source).read_bytes()
        broken("truncated_" + source, data[: len(data) * 2 // 3])
    broken("page.jpg", b"<!DOCTYPE html><title>404</title>")
    broken("empty.jpg", b"")


def orientations():
    rgb = scene(60, 44, 5)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for tag in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = tag
        stored = rgb.transpose(undo[tag]) if tag in undo else rgb
        add(f"orientation_{tag}.jpg", stored, exif=exif, quality=90)
        if tag == 6:
            add("orientation_6.png", stored, exif=exif)
            add("orientation_6.webp", stored, exif=exif, lossless=True)
            add("orientation_6.tif", stored, tiffinfo={0x0112: tag}, compression="tiff_lzw")


def augmentations():
    """One row of pictures per operation, below each other in one file."""
    picture = scene(32, 32, 6, 0.5)
    picture.save(OUT / "augment.png")
    entries, results = [], []

    def record(result, **entry):
        entries.append(entry)
        results.append(np.asarray(result))

    space = TrivialAugmentWide()._augmentation_space(31)
    for name, (magnitudes, signed) in space.items():
        for step, sign in [(9, 1), (24, -1 if signed else 1)]:
            magnitude = float(magnitudes[step]) * sign if magnitudes.ndim else 0.0
            result = _apply_op(picture, name, magnitude, InterpolationMode.NEAREST, None)
            record(result, operation=name, step=step, sign=sign)
    for factor in (0.6, 1.4):
        record(F.adjust_brightness(picture, factor), operation="jitter_brightness", factor=factor)
        record(F.adjust_contrast(picture, factor), operation="jitter_contrast", factor=factor)
        record(F.adjust_saturation(picture, factor), operation="jitter_saturation", factor=factor)
    for turns in (-0.1, 0.07):
        record(F.adjust_hue(picture, turns), operation="jitter_hue", factor=turns)
    for left, top, width, height in [(3, 5, 25, 18), (0, 0, 32, 32), (20, 1, 7, 30)]:
        result = F.resized_crop(picture, top, left, height, width, [32, 32])
        record(result, operation="resized_crop", box=[left, top, width, height])
    Image.fromarray(np.concatenate(results)).save(OUT / "augment.expected.png", optimize=True)
    (OUT / "augment.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    shapes()
    modes()
    jpegs()
    orientations()
    augmentations()
    (OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    size = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(cases)} cases, {size} bytes in {OUT}")
