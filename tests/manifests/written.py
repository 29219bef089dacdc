"""Files of manifests as tests write them, and what is read of them."""

from pathlib import Path
from typing import Any

import yaml

from svcdns.manifests.reading import Reading, read_manifests

SERVICE_TEXT = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"


def write(folder: Path, name: str, *objects: Any) -> Path:
    """Write a file of these objects or texts, a document each."""
    path = folder / name
    path.write_text("---\n".join(text if isinstance(text, str) else yaml.safe_dump(text) for text in objects))
    return path


def reading(folder: Path, *objects: Any) -> Reading:
    """Return what is read of a file of these."""
    return read_manifests([write(folder, "m.yaml", *objects)])
