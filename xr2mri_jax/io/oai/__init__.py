"""Readers for the Osteoarthritis Initiative's files: image releases, NIMH archives, grades."""

from xr2mri_jax.io.oai.archive import read_archive
from xr2mri_jax.io.oai.extract import extract, opened
from xr2mri_jax.io.oai.grades import GradeTable, find_grade_tables, read_grades
from xr2mri_jax.io.oai.release import find_contents, read_release

__all__ = [
    "GradeTable",
    "extract",
    "find_contents",
    "find_grade_tables",
    "opened",
    "read_archive",
    "read_grades",
    "read_release",
]
