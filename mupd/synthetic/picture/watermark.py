"""An imperceptible mark in the pixels of generated slides, found again without the original.

Additive spread spectrum (Cox et al. 1997, IEEE Trans. Image Process. 6:1673) in a ring of spatial
frequencies, tiled with a period of 512 px and found at any offset by one Fourier transform with a
symmetric phase-only matched filter (Kalker et al. 1999, "A video watermarking system for broadcast
monitoring", Proc. SPIE 3657:103). It tells generated pixels from measured ones where every header is
gone. The pattern follows from this source text, so whoever wants to remove it can: it guards against
mix-ups, not against forgers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PERIOD_PX = 512
"""The pattern repeats with this period in pixels of level 0."""

THRESHOLD = 7.5
"""Least score of a mark: the correlation peak in standard deviations of its correlation surface.

Of an unmarked picture the phases of the key make the surface nearly Gaussian whatever the picture shows. Of
the millions of places that one call of :func:`detect` looks at, one passes by chance in about 1e-6 of calls;
the scores of real tiles are in docs/marks.md.
"""

_GRID = 256
_PERIODS = {1.0: _GRID, 1 / 2: _GRID, 2 / 3: _GRID, 1 / 4: 128, 3 / 4: _GRID, 1 / 3: 192, 2.0: _GRID}
SCALES = tuple(_PERIODS)
"""Sizes relative to level 0 at which :func:`detect` looks.

A picture is brought to a period of 256 px before: the ring lies well below the Nyquist frequency of that
grid. Small pictures are brought to less, so that little is enlarged.
"""

_KEY = b"mupd watermark 1"
# Cycles a period: below 24 tissue itself is strong, above 90 a copy of half the size has lost them to JPEG.
_RING = (24, 90)
_CELL_PX = 8
# Units of the integer arithmetic: the same pixels are marked alike by every machine.
_PATTERN_UNIT, _GAIN_UNIT = 16, 64
# Strength in grey levels (standard deviation): a share of the texture around, within bounds.
_SHARE, _LEAST, _MOST = 0.10, 0.9, 2.2
# Mean luminance of a cell between which the mark fades out: glass stays as it is.
_TISSUE_LUMA, _GLASS_LUMA = 228, 242

_MOST_SIDE_PX = 1024
_LEAST_TEXTURE = 2.0
_LEAST_SIDE_PX = 48


@dataclass(frozen=True)
class Detection:
    """What :func:`detect` found.

    Attributes
    ----------
    score
        Height of the highest correlation peak in standard deviations; 0 for a picture without texture.
    present
        Whether `score` reaches :data:`THRESHOLD`.
    scale
        Size relative to level 0 at which that peak lies.
    """

    score: float
    present: bool
    scale: float


def _spectrum() -> NDArray[np.complex128]:
    """Half spectrum of one period, (512, 257): magnitude 1 and the key's phases in the ring, else 0."""
    rows = np.fft.fftfreq(PERIOD_PX, 1 / PERIOD_PX)[:, None]
    columns = np.arange(PERIOD_PX // 2 + 1)[None]
    radius = np.hypot(rows, columns)
    ring = np.flatnonzero((radius >= _RING[0]) & (radius <= _RING[1]) & (columns > 0))
    # A hash and no random generator: their streams may change between releases.
    words = np.frombuffer(hashlib.shake_256(_KEY).digest(2 * ring.size), "<u2")
    spectrum = np.zeros(radius.shape, np.complex128)
    spectrum.flat[ring] = np.exp(2j * np.pi * words / 65536)
    return spectrum


@lru_cache(maxsize=1)
def _pattern() -> NDArray[np.int16]:
    """One period, (512, 512), of standard deviation 1 in units of 1/16."""
    wave = np.fft.irfft2(_spectrum(), (PERIOD_PX, PERIOD_PX))
    pattern = np.rint(wave / wave.std() * _PATTERN_UNIT).astype(np.int16)
    pattern.setflags(write=False)
    return pattern


def _gain(block: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Strength of the mark at each pixel, (512, 512) in units of 1/64 grey level."""
    from PIL import Image

    # Texture is measured on a copy of half the size: a quarter of the work, and the ring is still in it.
    luma = np.asarray(Image.fromarray(block).convert("L").reduce(2), np.float32)
    half = _CELL_PX // 2
    # Sums of whole numbers: exact in float32, and three times faster than deviations from the mean.
    sums, squares = (
        values.reshape(luma.shape[0] // half, half, luma.shape[1] // half, half).sum(axis=1).sum(axis=2)
        for values in (luma, np.square(luma))
    )
    mean = sums / half**2
    texture = np.sqrt(np.maximum(squares / half**2 - np.square(mean), 0))
    tissue = np.clip((_GLASS_LUMA - mean) / (_GLASS_LUMA - _TISSUE_LUMA), 0, 1)
    gain = np.rint(np.clip(_SHARE * texture, _LEAST, _MOST) * tissue * _GAIN_UNIT).astype(np.uint8)
    size = (block.shape[1], block.shape[0])
    return np.asarray(Image.fromarray(gain).resize(size, Image.Resampling.BILINEAR)).astype(np.int16)


def embed(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark one block of a slide.

    Parameters
    ----------
    block
        (512, 512, 3) uint8 RGB, whose corner lies on a multiple of 512 px of the slide's level 0.

    Returns
    -------
    (512, 512, 3) uint8. The same change is added to R, G and B; at least 41 dB PSNR. Glass (mean
    luminance over 242) is left as it is.

    Raises
    ------
    ValueError
        If the block has another shape or type.
    """
    if block.shape != (PERIOD_PX, PERIOD_PX, 3) or block.dtype != np.uint8:
        raise ValueError(f"block: found {block.shape} {block.dtype}; expected (512, 512, 3) uint8")
    shift = _gain(block)
    shift *= _pattern()
    shift += _PATTERN_UNIT * _GAIN_UNIT // 2
    shift >>= 10  # by the product of both units, 1,024
    marked = np.empty_like(block)
    for channel in range(3):  # an inner loop of three would be ten times slower
        values = block[..., channel] + shift
        np.clip(values, 0, 255, out=values)
        marked[..., channel] = values
    return marked


def embed_picture(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mark a whole picture in memory, (height, width, 3) uint8, block by block from its upper left corner.

    Blocks that hang over the edge are filled up by reflection and cut back.
    """
    marked = np.empty_like(picture)
    for top in range(0, picture.shape[0], PERIOD_PX):
        for left in range(0, picture.shape[1], PERIOD_PX):
            part = np.s_[top : top + PERIOD_PX, left : left + PERIOD_PX]
            rows, columns = picture[part].shape[:2]
            beyond = ((0, PERIOD_PX - rows), (0, PERIOD_PX - columns), (0, 0))
            marked[part] = embed(np.pad(picture[part], beyond, mode="symmetric"))[:rows, :columns]
    return marked


@lru_cache(maxsize=1)
def _templates() -> NDArray[np.complex64]:
    """Half spectra of the pattern on the detector's grid in its eight orientations, (8, 256, 129)."""
    full, half = _spectrum(), np.zeros((_GRID, _GRID // 2 + 1), np.complex128)
    half[: _GRID // 2, :-1] = full[: _GRID // 2, : _GRID // 2]
    half[-_GRID // 2 + 1 :, :-1] = full[-_GRID // 2 + 1 :, : _GRID // 2]
    wave = np.fft.irfft2(half, (_GRID, _GRID)) * _GRID
    turned = [np.rot90(side, turns) for side in (wave, wave.T) for turns in range(4)]
    templates = np.conj(np.fft.rfft2(np.stack(turned) / _GRID)).astype(np.complex64)
    templates[np.abs(templates) < 0.5] = 0  # rounding errors outside the ring
    return templates


def _smooth(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean over 7 x 7 px, the middle row and column counted twice: six additions, no running sums."""
    sums = np.pad(values, 3, mode="reflect")
    for _ in range(2):
        sums = sums[:-1] + sums[1:]
        sums = sums[:-2] + sums[2:]
        sums = (sums[:-3] + sums[3:]).T
    return sums * np.float32(1 / 64)


def _phases(luma: NDArray[np.float32], period: int) -> NDArray[np.complex64] | None:
    """Phases of a picture folded to one period of `period` px: half spectrum (256, 129); None if it is empty."""
    from scipy import fft

    detail = luma - _smooth(luma)
    detail /= np.maximum(np.sqrt(_smooth(np.square(detail))), _LEAST_TEXTURE)
    folded = np.zeros((period, period), np.float32)
    for top in range(0, luma.shape[0], period):
        for left in range(0, luma.shape[1], period):
            part = detail[top : top + period, left : left + period]
            folded[: part.shape[0], : part.shape[1]] += part
    values = fft.rfft2(folded)
    magnitudes = np.abs(values)
    if magnitudes.max() < 1e-3:
        return None
    values /= magnitudes + np.float32(1e-6)
    return values if period == _GRID else _finer(values, _GRID)


def _finer(spectrum: NDArray[np.complex64], side: int) -> NDArray[np.complex64]:
    """The half spectrum of a square surface as that of the same surface on a finer grid, `side` points a row."""
    half = spectrum.shape[0] // 2
    finer = np.zeros((side, side // 2 + 1), np.complex64)
    finer[:half, :half] = spectrum[:half, :half]
    finer[-half + 1 :, :half] = spectrum[half + 1 :, :half]
    return finer


def _peak(product: NDArray[np.complex64]) -> float:
    """Highest place of a correlation surface in its standard deviations, between grid points too."""
    from scipy import fft

    surface = fft.irfft2(_finer(product, 2 * _GRID))
    return float(surface.max() / surface.std())


def _score(luma: NDArray[np.float32], period: int, most_cycles: float) -> float:
    """Score of a picture of which `period` px are one period, from frequencies up to `most_cycles` a period."""
    from scipy import fft

    phases = _phases(luma, period)
    if phases is None:
        return 0.0
    if most_cycles < _RING[1]:
        rows = np.fft.fftfreq(_GRID, 1 / _GRID)[:, None]
        phases[np.hypot(rows, np.arange(_GRID // 2 + 1)) > most_cycles] = 0
    products = _templates() * phases
    surfaces = fft.irfft2(products)
    best = int(np.argmax(surfaces.max(axis=(1, 2))))
    return _peak(products[best])


def detect(image: NDArray[np.uint8]) -> Detection:
    """Look for the mark in a piece of a picture, at any offset, flipped or turned, at each of :data:`SCALES`.

    Parameters
    ----------
    image
        (height, width, 3) uint8 RGB; a tile of 512 px does, more pixels find weaker marks. Of a large
        picture the middle is looked at: four by four periods or more.

    Raises
    ------
    ValueError
        If `image` is not (height, width, 3) uint8.
    """
    from PIL import Image

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image: found {image.shape} {image.dtype}; expected (height, width, 3) uint8")
    grey = Image.fromarray(np.ascontiguousarray(image)).convert("L")
    best = Detection(0.0, False, 1.0)
    for scale, period in _PERIODS.items():
        factor = period / PERIOD_PX / scale
        most = round(_MOST_SIDE_PX / factor)
        width, height = (min(side, most) for side in grey.size)
        left, top = (grey.size[0] - width) // 2, (grey.size[1] - height) // 2
        size = (round(width * factor), round(height * factor))
        if min(size) < _LEAST_SIDE_PX:
            continue
        box = (left, top, left + width, top + height)
        # Pillow's filters widen with the shrinkage: no aliasing.
        luma = np.asarray(grey.resize(size, Image.Resampling.BICUBIC, box=box), np.float32)
        # A small copy holds nothing beyond its Nyquist frequency.
        score = _score(luma, period, min(scale * PERIOD_PX, period) / 2)
        if score > best.score:
            best = Detection(score, score >= THRESHOLD, scale)
    return best
