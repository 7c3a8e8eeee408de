"""Headers of JPEG, JPEG-LS and JPEG 2000 streams, and the choice of a decoder.

GDCM is the only decoder for lossless JPEG and for more than 8 bits. It ends the whole process if
its JPEG library even warns about a header, so such streams must not reach it.
"""

from pydicom import uid

from xr2mri_jax.errors import InputError
from xr2mri_jax.io.dicom_tags import named

_JPEG_2000 = b"\xff\x4f\xff\x51"
# Start-of-frame markers of JPEG (ITU T.81 B.1.1.3) and of JPEG-LS (ITU T.87 C.1.1).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
_NO_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_SCAN, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
# Frames that GDCM decodes: baseline, extended and lossless.
_SOUND_FRAMES = (0xC0, 0xC1, 0xC3)
_LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_JPEG = (*_LOSSY, uid.JPEGLossless, uid.JPEGLosslessSV1)


def frame_header(frame: bytes) -> tuple[int, int, int, int]:
    """(rows, columns, samples, bits) of a JPEG, JPEG-LS or JPEG 2000 stream.

    Raises:
      InputError: it is none of these, or has no frame header.
    """
    at = frame.find(_JPEG_2000, 0, 4096)
    if at >= 0:
        size = frame[at + 4 : at + 44]
        if len(size) < 37:
            raise InputError("the JPEG 2000 stream ends within its header")
        x1, y1, x0, y0 = (int.from_bytes(size[k : k + 4], "big") for k in (4, 8, 12, 16))
        samples = int.from_bytes(size[36:38], "big")
        return y1 - y0, x1 - x0, samples, (size[38] & 0x7F) + 1 if len(size) > 38 else 0
    if frame[:2] != b"\xff\xd8":
        raise InputError(f"{named('PixelData')} does not begin like a JPEG stream")
    for marker, at, _ in _segments(frame):
        if marker in _FRAME_MARKERS and at + 9 < len(frame):
            rows, columns = (int.from_bytes(frame[at + k : at + k + 2], "big") for k in (5, 7))
            return rows, columns, frame[at + 9], frame[at + 4]
    raise InputError("the JPEG stream has no frame header")


def decoder(syntax: str, stored: int) -> str:
    """The pydicom plugin required to decode a stream, "" if any will do."""
    return "pillow" if syntax in _LOSSY and stored <= 8 else ""


def is_gdcms(syntax: str, precision: int) -> bool:
    """Whether GDCM's JPEG library decodes a JPEG stream with this many bits."""
    return syntax in _JPEG and not decoder(syntax, precision)


def require_sound_header(frame: bytes) -> None:
    """Raises InputError for a JPEG header that GDCM's library would warn about.

    The segments up to the scan must be contiguous (ITU T.81 B.1.1) and include one frame header,
    and JFIF and Adobe entries must be of defined kinds.
    """
    frames = 0
    for marker, _, content in _segments(frame):
        if marker == _SCAN:
            if frames == 1:
                return
            break
        odd = (marker == _APP0 and content[:5] == b"JFIF\0" and content[5:6] != b"\1") or (
            marker == _APP14 and content[:5] == b"Adobe" and content[11:12] > b"\2"
        )
        if odd or (marker in _FRAME_MARKERS and marker not in _SOUND_FRAMES):
            break
        frames += marker in _SOUND_FRAMES
    raise InputError("the JPEG stream's header is damaged or of a kind that is not decoded")


def _segments(frame: bytes) -> list[tuple[int, int, bytes]]:
    """(marker, place, content) of the segments up to the scan, or to where they end."""
    found = []
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _NO_LENGTH:
            at += 2
            continue
        length = int.from_bytes(frame[at + 2 : at + 4], "big")
        found.append((marker, at, frame[at + 4 : at + 2 + length]))
        if marker == _SCAN:
            break
        at += 2 + length
    return found
