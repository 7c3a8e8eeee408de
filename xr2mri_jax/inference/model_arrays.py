"""Reads weights.npz of a packaged model; the expected arrays are known before reading."""

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from xr2mri_jax.errors import InputError

# Maximum bytes of all unpacked arrays: ten times those of the shipped generator.
LARGEST = 1 << 28
# The expected shape and the allowed dtypes of an array.
Wanted = tuple[tuple[int, ...], tuple[str, ...]]


def read(
    path: Path,
    content: bytes,
    wanted: Mapping[str, Wanted] | None,
    optional: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, checked against the expected shapes and dtypes.

    Headers are read first, so that no oversized array and no pickle is unpacked.

    Args:
      path: for messages.
      content: the bytes of the file.
      wanted: the expected arrays by name; None: all arrays of the file, whose content is known.
      optional: names of `wanted` that files may lack.

    Raises:
      InputError: it is not an .npz, an array is missing, unknown, damaged, of another shape or
        dtype, or has values that are not finite; or the arrays are larger than LARGEST.
    """
    if wanted is not None:
        _require_size(path, wanted)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if wanted is None:
                return {name: _array(path, archive, name, None) for name in names}
            _require_names(path, names, wanted, optional)
            return {name: _array(path, archive, name, wanted[name]) for name in names}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,  # of bzip2
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error


def _require_size(path: Path, wanted: Mapping[str, Wanted]) -> None:
    size = sum(math.prod(shape) * np.dtype(dtypes[0]).itemsize for shape, dtypes in wanted.values())
    if size > LARGEST:
        raise InputError(
            f"{path}: the network of model.json has arrays of {size} bytes, expected at most "
            f"{LARGEST}"
        )


def _require_names(
    path: Path, names: list[str], wanted: Mapping[str, Wanted], optional: Collection[str]
) -> None:
    if len(names) != len(set(names)):
        raise InputError(f"{path}: an array occurs twice, expected each once")
    for name in sorted((wanted.keys() ^ set(names)) - (set(optional) - set(names))):
        said = "is missing, expected it" if name in wanted else "is not known"
        raise InputError(f"{path}: the array {name[:80]!r} {said} in the network of model.json")


def _array(path: Path, archive: zipfile.ZipFile, name: str, wanted: Wanted | None) -> np.ndarray:
    with archive.open(f"{name}.npy") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            reader = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            found, by_columns, dtype = reader(stream)
        except Exception as error:  # numpy parses the header as Python and may raise anything
            raise InputError(
                f"{path}: {name}: is not a NumPy array ({type(error).__name__})"
            ) from error
        if wanted is not None and (found != wanted[0] or str(dtype) not in wanted[1]):
            raise InputError(
                f"{path}: {name}: found shape {found} and dtype {dtype}, expected {wanted[0]} and "
                f"{' or '.join(wanted[1])}"
            )
        size = int(np.prod(found, dtype=np.int64)) * dtype.itemsize
        data = stream.read(size)
        if len(data) != size or stream.read(1):
            raise InputError(f"{path}: {name}: differs in size from its header")
    array = np.frombuffer(data, dtype).reshape(found, order="F" if by_columns else "C")
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name}: holds values that are not finite, expected finite ones")
    return array
