"""Where the files of a set of weights lie: in one folder, or in the official ones as they unpack."""

from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIXES = (".safetensors", ".pth", ".pt", ".npy")
NESTED = (
    "VQVAE/net_last.pth",
    "VQTransformer*/net_best_fid.pth",
    "VQVAEV3_CB1024_CMT_H1024_NRES3/meta/mean.npy",
    "VQVAEV3_CB1024_CMT_H1024_NRES3/meta/std.npy",
)
"""The files of a set, and their places in T2M-GPT's repository once its scripts have run: below ``pretrained``, and for
the last two below ``checkpoints/t2m``, whose evaluators and the sets for KIT-ML lie beside them."""


def weight_files(path: Path) -> list[Path]:
    """The files of a set: ``path`` itself, those directly in the folder ``path``, else those of ``NESTED`` below it."""
    if not path.is_dir():
        return [path] if path.suffix in SUFFIXES and path.is_file() else []
    here = [file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith(".")]
    return sorted(here) or [file for place in NESTED if (file := _nested(path, place)) is not None]


def lacking_parts(files: Sequence[Path]) -> Iterator[str]:
    """Which parts of an official set are not among its files, by their names."""
    for part in ("mean.npy", "std.npy"):
        if not any(file.name.lower().endswith(part) for file in files):
            yield part
    if sum(file.suffix in (".pth", ".pt") for file in files) == 1:
        yield "one of net_last.pth (the VQ-VAE) and net_best_fid.pth (the transformer)"


def _nested(folder: Path, place: str) -> Path | None:
    """The first file at ``place`` somewhere below ``folder``, but for those of KIT-ML."""
    found = sorted(folder.glob(f"**/{place}"))
    return next((file for file in found if "kit" not in (part.lower() for part in file.parts)), None)
