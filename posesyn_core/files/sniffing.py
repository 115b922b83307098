"""What a file is by its first bytes: the usual bad downloads, named for what they are."""

from pathlib import Path

HEAD = 512
"""So many first bytes tell."""

_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_ARCHIVES = ((b"\x1f\x8b", "a gzip archive (.gz, .tar.gz)"), (b"BZh", "a bzip2 archive"),
             (b"\xfd7zXZ\x00", "an xz archive"), (b"7z\xbc\xaf'\x1c", "a 7-Zip archive"),
             (b"Rar!\x1a\x07", "a RAR archive"),
             (b"\x28\xb5\x2f\xfd", "a zstd archive"))  # fmt: skip
ZIP = b"PK\x03\x04"
HDF5 = b"\x89HDF\r\n\x1a\n"
_TAR_MAGIC = slice(257, 262)
_LARGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""


def not_data(head: bytes) -> str:
    """What the file with these first bytes is in place of the data that was meant, and what to do; "" if unknown."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "the file is empty (zero bytes): download it again"
    if text.startswith(_PAGES):
        return (
            "it is a web page, not the file itself (a login, a licence to accept, or a notice of a virus scan): open "
            "the link in a browser and save what it offers"
        )
    if text.startswith(b"version https://git-lfs"):
        return (
            "it is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository, or download the file"
        )
    if b".git/annex/objects/" in head or head.startswith(b"/annex/objects/"):
        return "it is a pointer of git-annex, not the file itself: run `git annex get` on it, or download the file"
    if text.startswith((b'{"error', b'{"message"', b"%pdf-")):
        return "it is a server's answer, not the file itself: look into it, and download the file again"
    if not head.strip(b"\0") and len(head) == HEAD:
        return "it begins with nothing but zeros, as a download that was cut off: download it again"
    found = next((name for magic, name in _ARCHIVES if head.startswith(magic)), None)
    found = found or ("a tar archive" if head[_TAR_MAGIC] == b"ustar" else None)
    return f"it is {found}: unpack it, and name the file inside" if found else ""


def head_of(path: Path) -> bytes:
    """The first bytes of a file; OSError if it can't be read."""
    with path.open("rb") as file:
        return file.read(HEAD)


def is_safetensors(head: bytes) -> bool:
    """Whether the file begins as safetensors do: the length of a JSON object, and that."""
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LARGEST_HEADER
