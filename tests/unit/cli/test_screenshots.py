"""``make screenshots``: the pictures in the documents are of this code."""

from __future__ import annotations

from pathlib import Path

from tools.screenshots import SCREENS, draw

DOCS = Path(__file__).parents[3] / "docs" / "screenshots"


def pictures(folder: Path) -> dict[str, bytes]:
    """All of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_screens_are_the_same_each_time(tmp_path: Path):
    """To the byte: nothing of a machine or a moment is in them."""
    for name in ("one", "two"):
        draw(tmp_path / name)
    first = pictures(tmp_path / "one")
    assert first == pictures(tmp_path / "two")
    assert first.keys() == {f"{name}.svg" for name in SCREENS}


def test_the_documents_show_what_flowctl_says_now(tmp_path: Path):
    """A change of what is printed wants ``make screenshots`` too."""
    draw(tmp_path)
    now, shown = pictures(tmp_path), pictures(DOCS)
    stale = sorted(name for name in now.keys() | shown.keys() if now.get(name) != shown.get(name))
    assert not stale, "run `make screenshots`"


def test_screens_fetch_nothing(tmp_path: Path):
    """Who reads a document asks no other host for it: no fonts, no scripts, no images."""
    draw(tmp_path)
    for name, picture in pictures(tmp_path).items():
        text = picture.decode()
        assert text.startswith("<svg "), name
        assert not [
            word for word in ('url("', "@font-face", "<script", "<image", "href") if word in text
        ]
        assert len(picture) < 40_000, name
