"""Reads the manifest for Kubernetes."""

from pathlib import Path
from typing import Any

import yaml


def manifest(file: Path) -> dict[str, Any]:
    """Return the manifest's parts by their kind."""
    return {part["kind"]: part for part in yaml.safe_load_all(file.read_text()) if part}
