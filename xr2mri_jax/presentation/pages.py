"""Writes pages as HTML: a folder with index.html that opens offline, or a single file."""

import functools
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from xr2mri_jax import files, output_paths
from xr2mri_jax.errors import InputError
from xr2mri_jax.presentation.page_elements import Page, Shown
from xr2mri_jax.presentation.viewer_case import ViewerCase, packed, thumbnail

INDEX = "index.html"
CASES = "cases"  # folder of the cases' data beside INDEX
ASSETS = "assets"  # folder of NiiVue and its licences beside INDEX
LARGEST_SINGLE = 30_000_000  # bytes of a page in one file
NIIVUE = "niivue/niivue.umd.js"
LICENCES = ("niivue/LICENSE", "niivue/THIRD_PARTY.txt")
# In order of dependency: each script uses the ones before it.
SCRIPTS = ("case_data.js", "radiograph.js", "viewer.js", "controls.js", "tables.js")
# Strings that an inlined style sheet or script must not contain.
_ENDS = {"css": ("</style",), "js": ("</script", "<!--")}
_PACKAGE = "xr2mri_jax.presentation"


@functools.cache
def environment() -> jinja2.Environment:
    """Jinja2 with the package's templates; everything is escaped unless it is Markup."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    return made


@functools.cache
def asset(name: str) -> Markup:
    """The text of a style sheet or script of the package, for a style or script element."""
    text = resources.files(_PACKAGE).joinpath("static", name).read_text(encoding="utf-8")
    if any(end in text.lower() for end in _ENDS[name.rpartition(".")[2]]):
        raise ValueError(f"{name}: contains the end of a script or style element")
    # Safe: this text comes from the package, not from a user.
    return Markup(text)


def render(page: Page, embedded: Mapping[str, str] | None = None) -> str:
    """The page as HTML.

    Args:
      page: its content.
      embedded: for a single-file page, the cases' data by name, as from `packed`; None: the data
        and NiiVue are in files beside the page.
    """
    return from_template(
        "page.html",
        page=page,
        scripts=SCRIPTS,
        niivue_file=f"{ASSETS}/{Path(NIIVUE).name}" if embedded is None else "",
        niivue=NIIVUE,
        embedded=None if embedded is None else {k: Markup(v) for k, v in embedded.items()},
        cases_folder=CASES,
    )


def from_template(template: str, **context: Any) -> str:
    """Renders a template of the package with these variables."""
    text = environment().get_template(template).render(**context)
    # File names may contain bytes that are not valid text.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_case(folder: Path, case: ViewerCase) -> Shown:
    """Writes the data of a case beside the page; returns its entry in the viewer's list.

    Args:
      folder: the page's folder.
      case: the case to write.
    """
    content = f'xr2mri.receive("{case.name}", {packed(case)});\n'
    files.write_text(_case_file(folder, case.name), content)
    return Shown(case.name, case.title, thumbnail(case))


def write_folder(folder: Path, page: Page) -> Path:
    """Writes INDEX and its assets; the cases must already be written. Returns INDEX's path.

    Raises:
      ValueError: the data of a case of the viewer are missing.
    """
    viewer = page.viewer
    if viewer is not None:
        for case in viewer.cases:
            if not _case_file(folder, case.name).is_file():
                raise ValueError(f"{case.name}: its data were not written")
        (folder / ASSETS).mkdir(exist_ok=True)
        for name in (NIIVUE, *LICENCES):
            with resources.as_file(resources.files(_PACKAGE).joinpath("static", name)) as source:
                shutil.copyfile(source, folder / ASSETS / source.name)
    files.write_text(folder / INDEX, render(page))
    return folder / INDEX


def write_single(path: Path, page: Page, folder: Path, largest: int = LARGEST_SINGLE) -> list[str]:
    """Writes a page as a single file, atomically.

    Args:
      path: the file.
      page: its content.
      folder: the folder with the cases' data from `write_case`.
      largest: maximum size in bytes. Cases that do not fit are omitted; the first case, the chosen
        ones and the gallery have priority.

    Returns:
      The names of the omitted cases; the page states how many it contains.

    Raises:
      InputError: the page is too large even without cases.
    """
    embedded: dict[str, str] = {}
    names = _by_importance(page)
    room = largest - _bytes(render(page, embedded))
    if room < 0:
        raise InputError(f"{path}: the page has {largest - room} bytes, expected at most {largest}")
    for name in names:
        data = _case_file(folder, name).read_text(encoding="utf-8")
        content = data[data.index("{") : data.rindex("}") + 1]
        room -= _bytes(content)
        if room < 0:
            break
        embedded[name] = content
    # Each case also has entries in lists and tables, and perhaps a thumbnail.
    while _bytes(text := render(page, embedded)) > largest:
        embedded.popitem()
    files.write_text(path, text)
    return [name for name in names if name not in embedded]


def _bytes(text: str) -> int:
    return len(text.encode("utf-8"))


def is_single(path: Path) -> bool:
    """Whether a page's path names a single file rather than a folder."""
    return path.suffix.lower() in (".html", ".htm")


def require_single(path: Path, flag: str) -> None:
    """Checks the path of a single-file page before any work.

    Raises:
      InputError: the path is a folder or does not end in .html, or its parent is not writable.
    """
    if path.is_dir():
        raise InputError(f"{flag}: found the folder {path}, expected a file name ending in .html")
    if not is_single(path):
        raise InputError(f"{flag}: found {path}, expected a name ending in .html")
    output_paths.require_writable(path.parent, flag)


def _by_importance(page: Page) -> list[str]:
    viewer = page.viewer
    if viewer is None:
        return []
    first = [viewer.cases[0].name] if viewer.cases else []
    names = [*first, *(name for _, name in viewer.chosen), *viewer.gallery]
    return list(dict.fromkeys([*names, *(case.name for case in viewer.cases)]))


def _case_file(folder: Path, name: str) -> Path:
    return folder / CASES / f"{name}.js"
