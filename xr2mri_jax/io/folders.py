"""Walks through a folder and its subfolders; names of files that are no images."""

import os
from collections.abc import Iterator

from absl import logging

# Names of files that systems and media add to a folder of images, in upper case.
NOT_IMAGES = ("DICOMDIR", "THUMBS.DB", "DESKTOP.INI", "README", "LICENSE")
# Endings of files beside DICOM files. A damaged DICOM file has none of these.
NOT_DICOM = (
    *(".txt", ".csv", ".tsv", ".json", ".xml", ".pdf", ".html", ".htm", ".md", ".log", ".ini"),
    *(".png", ".jpg", ".jpeg", ".gif", ".nii", ".gz", ".nrrd", ".mha", ".zip", ".bval"),
    *(".bvec", ".yml", ".yaml", ".xlsx", ".docx", ".db", ".lnk", ".url", ".exe", ".dll", ".inf"),
    *(".jar", ".css", ".js", ".bat", ".sh", ".ico", ".bmp", ".mhd", ".hdr", ".rtf", ".cfg", ".md5"),
)


def walk(root: str | os.PathLike[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` in sorted order that follows links to folders, and visits each folder once.

    A folder that cannot be read is left out with a warning.
    """
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, onerror=_warn, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # Links last: if a folder is reached both ways, its own name counts.
        folders.sort(key=lambda name: (os.path.islink(os.path.join(folder, name)), name))
        yield folder, folders, sorted(files)


def _warn(error: OSError) -> None:
    logging.warning("%s: the folder cannot be read (%s): left out", error.filename, error.strerror)
