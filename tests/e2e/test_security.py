"""``docs/security.md``: whoever follows it has a system that is shut."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary
from tests.secure import secure


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl, which the document uses")
def test_the_document_is_true(etcd_binary: EtcdBinary, etcdctl_path: Path, tmp_path: Path) -> None:
    """Each of its blocks, in order: files are written, commands run, outputs are as shown."""
    secure(etcd_binary.path, etcdctl_path, tmp_path, tell=lambda _: None)
