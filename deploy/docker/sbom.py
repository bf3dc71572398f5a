"""Prints what is installed beside this interpreter as a CycloneDX 1.5 document; needs nothing but Python.

Specification: https://cyclonedx.org/docs/1.5/json/
"""

import importlib.metadata
import json
import re
import sys
from typing import Any


def components() -> list[dict[str, Any]]:
    """Every distribution, by name."""
    found = {_name(each): each for each in importlib.metadata.distributions()}
    return [_component(name, found[name]) for name in sorted(found)]


def _component(name: str, installed: importlib.metadata.Distribution) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{installed.version}"
    named = {"type": "library", "bom-ref": purl, "name": name, "version": installed.version, "purl": purl}
    licence = installed.metadata.get("License-Expression")
    return named | ({"licenses": [{"expression": licence}]} if licence else {})


def _name(installed: importlib.metadata.Distribution) -> str:
    return re.sub(r"[-_.]+", "-", installed.name).lower()


if __name__ == "__main__":
    json.dump(
        {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components()},
        sys.stdout,
        indent=1,
    )
