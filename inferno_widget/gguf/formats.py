"""What a file that is not GGUF looks like, and what to do with it."""

from __future__ import annotations

import re

CONVERT = "a GGUF conversion of the model is needed"
BIG_ENDIAN = ("a big-endian GGUF file, made for another kind of machine", "get or convert a little-endian one")
OLD = ("an old GGML file", "the model has to be converted to GGUF again")

MAGICS = {
    b"FUGG": BIG_ENDIAN,
    b"lmgg": OLD,
    b"fmgg": OLD,
    b"tjgg": OLD,
    b"algg": ("an old GGML adapter", "load the model that it belongs to"),
    b"version https://git-lfs": (
        "a Git LFS pointer, not the model itself",
        "run `git lfs pull` or download the file",
    ),
    b"\x80\x02": ("a PyTorch or pickle file", CONVERT),
    b"\x89HDF": ("an HDF5 file", CONVERT),
    b"\x1f\x8b": ("a gzip file", "unpack it first"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard file", "unpack it first"),
}


def look(head: bytes) -> tuple[str, str]:
    """What the beginning of a file looks like, and what to do."""
    for magic, known in MAGICS.items():
        if head.startswith(magic):
            return known
    if head.startswith(b"PK\x03\x04"):
        if head[30:].startswith(b"trace.json"):  # the first member, as `files` writes it
            return "a recorded run", "open it with Trace.load()"
        return ("a PyTorch file" if b"data.pkl" in head[:4096] else "a ZIP archive"), CONVERT
    if head[8:10] == b'{"':
        return "a safetensors file", CONVERT
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page", "perhaps the download needs a login or another address"
    if re.match(rb"\s*[{\[]", head):
        return "a JSON text", "perhaps an answer of the server in place of the file"
    if not head.strip(b"\0"):
        return "nothing but zeros", "perhaps a download that never began, or a damaged disk; get the file again"
    return f"something else that begins with {head[:4]!r}", "choose a file that ends in .gguf"
