"""The plan of a manifest's pairs: files that belong to one knee and visit, places, and splits."""

from pathlib import Path

import pytest

from xr2mri_jax.datasets.knee_pairs.options import PairOptions
from xr2mri_jax.datasets.knee_pairs.plan import make_plan
from xr2mri_jax.errors import InputError


def listed_pairs(folder: Path, *rows: str) -> Path:
    """A manifest of (subject, side, film, MRI), whose files are empty."""
    for row in rows:
        for name in row.split(",")[2:]:
            (folder / name).touch()
    path = folder / "manifest.csv"
    path.write_text("\n".join(["subject,side,xray,mri,view", *(f"{r},bilateral" for r in rows)]))
    return path


def test_a_film_of_two_subjects_or_an_mri_of_two_knees_is_refused(tmp_path):
    options = PairOptions(split_shares={"train": 1.0})
    same = listed_pairs(tmp_path, "p1,right,a.png,r.nii.gz", "p1,left,a.png,l.nii.gz")
    assert len(make_plan(same, options).pairing.pairs) == 2
    (tmp_path / "link.png").symlink_to("a.png")
    for name in ("a.png", "link.png"):
        two = listed_pairs(tmp_path, "p1R,right,a.png,r.nii.gz", f"p1L,left,{name},l.nii.gz")
        with pytest.raises(InputError, match=r"\.png: is the radiograph of subject 'p1L' and of"):
            make_plan(two, options)
    for other in ("p1,left,a.png", "p2,right,b.png"):
        mri = listed_pairs(tmp_path, "p1,right,a.png,r.nii.gz", f"{other},r.nii.gz")
        with pytest.raises(InputError, match=r"r\.nii\.gz: is the MRI of subject 'p1', .*one knee"):
            make_plan(mri, options)


def test_places_that_match_no_radiograph_are_reported(tmp_path):
    (tmp_path / "films").mkdir()
    source = listed_pairs(tmp_path, "p1,right,films/a.png,r.nii.gz")
    rows = ["films\\a.png,right,1,2", "films/a.png,left,1,2", "typo.png,left,1,2", "b.png,left,1,2"]
    places = tmp_path / "places.csv"
    places.write_text("\n".join(["file,side,row,col", *rows]))
    plan = make_plan(source, PairOptions(places=str(places), split_shares={"train": 1.0}))
    assert set(plan.tasks["train"][0].places) == {"right"}
    (problem,) = plan.pairing.problems
    assert problem == (
        f"--places={places}: places that match no radiograph of the collection: 2 of 4, the first: "
        f"the left knee of {tmp_path.resolve() / 'typo.png'}"
    )
    assert problem in plan.pairing.summary()


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ("a.png,r.nii.gz", ["radiographs: a.png", "MRI series: r.nii.gz"]),
        ("a.png,q.nii.gz", ["radiographs: a.png"]),
        ("b.png,r.nii.gz", ["MRI series: r.nii.gz"]),
        ("b.png,q.nii.gz", []),
    ],
)
def test_files_at_two_visits_are_reported(tmp_path, second, said):
    table = tmp_path / "manifest.csv"
    rows = ["p,right,V00,a.png,r.nii.gz", f"p,right,V03,{second}"]
    for name in ("a.png", "b.png", "r.nii.gz", "q.nii.gz"):
        (tmp_path / name).touch()
    table.write_text("\n".join(["subject,side,visit,xray,mri", *rows]))
    problems = make_plan(table, PairOptions(split_shares={"train": 1.0})).pairing.problems
    for line, words in zip(problems, said, strict=True):
        kind, name = words.split(": ")
        assert line.startswith(f"{kind} listed at several visits")
        assert line.endswith(f": 1, the first: {tmp_path.resolve() / name} at V00, V03")


def test_the_remedy_for_an_empty_split_is_what_made_the_splits(tmp_path):
    source = listed_pairs(tmp_path, "p1,right,a.png,r.nii.gz")
    (tmp_path / "splits.csv").write_text("subject,split\np1,train\np9,test\n")
    with pytest.raises(InputError, match=r"'test' has none of the 1 subjects: .*--splits=.*csv"):
        make_plan(source, PairOptions(splits=str(tmp_path / "splits.csv")))
    with pytest.raises(InputError, match=r"none of the 1 subjects: .*--split_shares"):
        make_plan(source, PairOptions())


def test_subjects_that_differ_in_letter_case_are_noted(tmp_path):
    knees = [f"{name},left,{i}.png,{i}.nii.gz" for i, name in enumerate(("P1", "p1", "p2"))]
    source = listed_pairs(tmp_path, *knees)
    pairing = make_plan(source, PairOptions(split_shares={"train": 1.0})).pairing
    said = "the subjects 'P1' and 'p1' differ only in letter case and count as 2"
    assert {pair.subject: pair.note for pair in pairing.pairs} == {"P1": said, "p1": said, "p2": ""}
    assert pairing.problems == (said,) and f"  {said}" in pairing.summary()
