"""Recipes by name: `cae:quickstart` is the packaged configs/cae.py, variant `quickstart`."""

import importlib.util
from pathlib import Path

import ml_collections

import xr2mri_jax
from xr2mri_jax.errors import InputError


def folder() -> Path:
    """The folder of the recipes: in the installed package, or beside it in a clone."""
    package = Path(xr2mri_jax.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def names() -> tuple[str, ...]:
    """The names of the packaged recipes, one per stage."""
    return tuple(sorted(p.stem for p in folder().glob("*.py") if p.stem != "__init__"))


def resolve(recipe: str) -> str:
    """The path FILE[:VARIANT] of a recipe.

    Args:
      recipe: STAGE[:VARIANT] of the package, or FILE.py[:VARIANT], an existing file.

    Raises:
      InputError: there is neither such a recipe nor such a file.
    """
    name, colon, variant = recipe.partition(":")
    if Path(name).is_file():
        return recipe
    if name in names():
        return f"{folder() / name}.py{colon}{variant}"
    packaged = folder().parent / name
    if name.startswith("configs/") and packaged.is_file():
        return f"{packaged}{colon}{variant}"
    raise InputError(
        f"--config={name}: no such file and no such recipe, expected FILE.py[:VARIANT] or one of "
        f"{', '.join(names())}, with or without :VARIANT"
    )


def load(recipe: str) -> ml_collections.ConfigDict:
    """The config of a recipe, which can be changed before training.

    Raises:
      InputError: as `resolve`, or the variant is unknown.
    """
    path, _, variant = resolve(recipe).partition(":")
    spec = importlib.util.spec_from_file_location(f"recipe_{Path(path).stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)
