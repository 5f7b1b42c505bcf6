"""The wheel: the same bytes each time, and all that an install needs in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def built(folder: Path) -> Path:
    """A wheel made there by the backend itself, which needs no network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=REPOSITORY,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1767225600"},  # 2026-01-01
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two of them, made one after the other."""
    return built(tmp_path_factory.mktemp("first")), built(tmp_path_factory.mktemp("second"))


def test_a_wheel_is_the_same_each_time(wheels: tuple[Path, Path]) -> None:
    """Whoever builds it again can compare: byte by byte, name and all."""
    first, second = wheels
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_a_wheel_has_what_an_install_needs(wheels: tuple[Path, Path]) -> None:
    """Three packages with types, messages and sample; no tests, and nothing of this machine."""
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = set(wheel.namelist())
        metadata = next(name for name in names if name.endswith("METADATA"))
        assert str(REPOSITORY) not in wheel.read(metadata).decode()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if "dist-info" not in top} == {"kvconfig", "flowsvc", "processors"}
    assert {f"{top}/py.typed" for top in ("kvconfig", "flowsvc", "processors")} <= names
    assert {"kvconfig/etcd/rpc_pb2.py", "flowsvc/api/v1/flow.proto"} <= names
    assert "processors/samples/document-index.json" in names
    assert not any(name.endswith(".pyc") for name in names)
