"""Distributions as installers write them, for tests of what other packages add."""

from __future__ import annotations

from pathlib import Path


def distribution(site: Path, name: str, code: str, group: str, **points: str) -> None:
    """Write a distribution of one module.

    Args:
        site: Folder of packages it stands in.
        name: Of the distribution; its module's has underscores for hyphens.
        code: The module.
        group: Of its entry points.
        points: Names of the entry points, and what each is in the module.
    """
    module = name.replace("-", "_")
    about = site / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (site / f"{module}.py").write_text(code)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {module}:{value}" for point, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
