"""Packaging of xr2mri_jax."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIRES = [
    "absl-py>=2.1",
    "array-record>=0.8",
    "flax>=0.12.0",
    "grain>=0.2.18",
    # TFDS imports it from Python 3.12 on without requiring it.
    "importlib-resources>=6.0",
    "isal>=1.6.1",
    "jax>=0.10.2,<0.13",
    "jinja2>=3.1",
    "matplotlib>=3.8",
    "markupsafe>=2.1",
    "ml-collections>=1.0",
    "nibabel>=5.2",
    "numpy>=2.0",
    "optax>=0.2.4",
    "orbax-checkpoint>=0.11.30",
    "pillow>=12.0",
    "pydicom>=3.0.1",
    "pylibjpeg>=2.0",
    "pylibjpeg-openjpeg>=2.3",
    "pynrrd>=1.1",
    "python-gdcm>=3.0.24",
    "pyyaml>=6.0.1",
    "scikit-image>=0.24",
    "scipy>=1.11",
    "tensorboardX>=2.6",
    "tensorflow-datasets>=4.9.10",
    "threadpoolctl>=3.1",
    "tqdm>=4.66",
]
EXTRAS = {
    "test": [
        "apache-beam>=2.60",
        "flask>=3.0",
        "hypothesis>=6.100",
        "import-linter>=2.1",
        "mypy>=1.11",
        "pyreadstat>=1.3",
        "pytest>=8.0",
        "pytest-xdist>=3.5",
        "ruff>=0.6",
        "waitress>=3.0",
    ],
    "docs": [
        "ipykernel>=6.29",
        "mkdocs>=1.6",
        "mkdocs-jupyter>=0.25",
        "mkdocs-material>=9.5",
        "mkdocstrings[python]>=0.27",
    ],
    "serve": ["flask>=3.0", "waitress>=3.0"],
    "sas": ["pyreadstat>=1.3"],
    "beam": ["apache-beam>=2.60"],
    "bench": ["torch>=2.4"],
    "gpu": ["jax[cuda12]>=0.10.2,<0.13"],
    "tpu": ["jax[tpu]>=0.10.2,<0.13"],
}

setup(
    name="xr2mri_jax",
    version="0.1.0",
    description="Knee MRI volumes from a single radiograph, with controls, in JAX and Flax",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # The recipes stand at the top level of a clone and travel inside the package.
    packages=[*find_packages(include=["xr2mri_jax", "xr2mri_jax.*"]), "xr2mri_jax.configs"],
    package_dir={"xr2mri_jax.configs": "configs"},
    entry_points={"console_scripts": ["xr2mri=xr2mri_jax.__main__:main"]},
    package_data={
        "xr2mri_jax": ["py.typed", "datasets/*/*.md", "datasets/*/*.txt", "datasets/*/*.bib"],
        "xr2mri_jax.samples": ["*.png"],
        "xr2mri_jax.presentation": ["templates/*.html", "static/*", "static/niivue/*"],
        "xr2mri_jax.inference.knee_grader": ["*.npz", "*.json", "*.md", "five_grades/*"],
        "xr2mri_jax.preprocess.joint_centre": ["*.npz", "*.md"],
        "xr2mri_jax.inference.knee_generator": ["*.npz", "*.json", "*.md"],
        "xr2mri_jax.preprocess.knee_finder": ["*.npz", "*.md"],
        "xr2mri_jax.simulation": ["*.json"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
