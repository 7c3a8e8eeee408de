"""Chooses the radiograph in a file with several images, such as previews of it."""

from pathlib import Path

from PIL import Image

from xr2mri_jax.errors import InputError

# More cannot be previews; and every directory of a TIFF file costs time to read.
MOST_PAGES = 64
# A preview has the same shape and at most this share of the pixels.
PREVIEW, _ASPECT = 0.25, 0.05
_SUBFILE_TYPE, _REDUCED = 254, 1


def main_page(image: Image.Image, path: Path, doubts: list[str]) -> int:
    """Goes to the main image, and returns its number from 0.

    It is the only image, the first of a multi-picture JPEG (MPO: further ones are previews or other
    views), or the TIFF page of which all others are previews: marked as reduced images, or of the
    same shape and at most a quarter of the pixels.

    Args:
      image: opened, not loaded.
      doubts: gets a clause if other images are ignored.

    Raises:
      InputError: several images, none of which is the main one.
    """
    if image.format == "MPO":
        image.seek(0)
        doubts.append("holds several pictures: the first, the main one, is taken")
        return 0
    pages = _pages(image, path)
    if len(pages) == 1:
        return 0
    largest = max(range(len(pages)), key=lambda k: pages[k][0] * pages[k][1])
    others = [page for k, page in enumerate(pages) if k != largest]
    if image.format != "TIFF" or not all(_is_preview(page, pages[largest]) for page in others):
        raise InputError(f"{path}: holds {len(pages)} pictures, expected one")
    image.seek(largest)
    doubts.append(f"holds {len(pages)} pictures: the others are previews of the one that is taken")
    return largest


def _pages(image: Image.Image, path: Path) -> list[tuple[int, int, bool]]:
    """(width, height, marked as reduced) of every picture."""
    pages = []
    for k in range(MOST_PAGES + 1):
        try:
            image.seek(k)
        except EOFError:
            break
        if k == MOST_PAGES:
            raise InputError(f"{path}: holds more than {MOST_PAGES} pictures, expected one")
        kind = getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0)
        reduced = isinstance(kind, int) and bool(kind & _REDUCED)
        pages.append((image.width, image.height, reduced))
    image.seek(0)
    return pages


def _is_preview(page: tuple[int, int, bool], main: tuple[int, int, bool]) -> bool:
    if page[2] and not main[2]:
        return True
    small = page[0] * page[1] <= PREVIEW * main[0] * main[1]
    height = page[0] * main[1] / main[0]
    return small and abs(height - page[1]) <= max(1.0, _ASPECT * height)
