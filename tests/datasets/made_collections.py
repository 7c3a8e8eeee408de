"""Made collections in the three layouts that are read: image release, NIMH archive, manifest."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from made_knees import MadeKnees, link
from made_subjects import MadeSubject

FILM = "Bilateral PA Fixed Flexion Knee"
# The barcodes of the films that the SAS table names, else counted.
FILM_BARCODES = {"0000099": "00839603", "9000100": "00839604"}
# Visit: month of the folder, releases of radiographs and MRI, date.
RELEASES = {
    "V00": ("00m", "0.C.2", "0.E.1", "20040914"),
    "V01": ("12m", "1.C.2", "1.E.1", "20050920"),
    "V03": ("24m", "3.C.2", "3.E.1", "20061003"),
}
Item = tuple[str, str, str, str, Path | None]  # barcode, visit, description, side, file or folder


def items(made: MadeKnees, subject: MadeSubject, barcodes: Iterator[int]) -> Iterator[Item]:
    """What a subject has on the disk; where it is listed only, the file is None."""
    if subject.film:
        kind, visit = subject.film
        barcode = FILM_BARCODES.get(subject.name) or f"{next(barcodes):08d}"
        yield barcode, visit, FILM + " ", "", made.film(subject.knees, kind)
    for side, (kind, visit) in subject.mri.items():
        name = f"SAG_3D_DESS_{side.upper()}"
        if kind == "other":
            name, kinds = f"COR_IW_TSE_{side.upper()}", ["dess"]
        elif kind == "twice":
            # Only subject 1's left knee has a truncated series.
            kinds = ["truncated", "dess"]
        else:
            kinds = [kind]
        for each in kinds:
            folder = None if each == "absent" else made.series(subject.knees, side, each)
            yield f"{next(barcodes):08d}", visit, name, side, folder


def write_release(root: Path, made: MadeKnees, subjects: tuple[MadeSubject, ...]) -> None:
    """ROOT/OAI_<months>/<release>/<ID>/<date>/<barcode>/NNN, a contents.csv a visit, a KL table."""
    rows: dict[str, list[str]] = {visit: [] for visit in RELEASES}
    barcodes = itertools.count(1001)
    for subject in subjects:
        for barcode, visit, description, _, source in items(made, subject, barcodes):
            months, films, scans, date = RELEASES[visit]
            release = films if description.startswith(FILM) else scans
            folder = f"{release}/{subject.name}/{date}/{barcode}"
            cells = (folder, subject.name, date, barcode, "OAI^MR^ENROLLMENT ", description)
            rows[visit].append(",".join(cells))
            target = root / f"OAI_{months}" / folder
            if source is not None:
                link(source, target if source.is_dir() else target / "001")
    rows["V00"].append("0.E.1/9000103/20040914/00000999,9000103,20040914,00000999,x,AX_T1_THIGH")
    for visit, lines in rows.items():
        header = "Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"
        header = header.upper() if visit == "V03" else header
        folder = root / f"OAI_{RELEASES[visit][0]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "contents.csv").write_text("\n".join([header, *lines]) + "\n")
    for visit in ("V00", "V01"):
        table = [f"ID|side|ReadPrj|{visit.lower()}XRKL|{visit}XRJSM"]
        for subject in subjects:
            for side, project, cell in grades(subject, visit):
                label = "1: Right" if side == "right" else "2"
                table.append(f"{subject.name}|{label}|{project}|{cell}|0: 0")
        name = f"kxr_sq_bu{visit[1:]}.txt"
        (root / name).write_text("\n".join(table) + "\n")


def write_archive(root: Path, made: MadeKnees, subjects: tuple[MadeSubject, ...]) -> None:
    """A package: image03.txt, oai_xrmeta01.txt, oai_kxrsemiquant01.txt, a tar.gz a series."""
    images, xrays, readings = [], [], []
    barcodes = itertools.count(2001)
    for subject in subjects:
        film = ""
        for barcode, visit, description, _, source in items(made, subject, barcodes):
            months, films, scans, date = RELEASES[visit]
            release = films if description.startswith(FILM) else scans
            place = f"{months}/{release}/{subject.name}/{date}/{barcode}.tar.gz"
            study = f"OAI Image Release {release} "
            accession = "0166" + barcode
            address = f"s3://NDAR_Central_1/submission_12345/{place}"
            images.append(("K", subject.name, address, description, study, visit, accession))
            if description.startswith(FILM):
                film = accession
                xrays.append((subject.name, visit, "3: Both", FILM, accession))
            if source is not None:
                link(made.packed(source), root / "image03" / place)
        for visit in ("V00", "V01"):
            for side, project, cell in grades(subject, visit):
                code = "1" if side == "right" else "2: Left"
                readings.append((subject.name, visit, project, code, cell, film))
    tables = {
        "image03.txt": (
            ("subjectkey", "SRC_SUBJECT_ID", "image_file", "image_description", "study", "visit",
             "accession_number"), images),
        "oai_xrmeta01.txt": (
            ("src_subject_id", "visit", "side", "examtype", "barcode"), xrays),
        "oai_kxrsemiquant01.txt": (
            ("src_subject_id", "visit", "READPRJ", "side", "xrkl", "barcode"), readings),
    }  # fmt: skip
    for name, (columns, rows) in tables.items():
        lines = [columns, [f"About {column}" for column in columns], *rows]
        text = "\n".join("\t".join(f'"{cell}"' for cell in line) for line in lines)
        (root / name).write_text(text + "\n")


def write_manifest(root: Path, made: MadeKnees, subjects: tuple[MadeSubject, ...]) -> Path:
    """ROOT/manifest.csv with folders, archives and files beside it, and places.csv."""
    lines = ["Subject;Side;VISIT;xray;mri;KL;sequence;spacing"]
    places = ["file,side,row,col"]
    barcodes = itertools.count(3001)
    for subject in subjects:
        seen = {visit: dict.fromkeys(("right", "left"), False) for _, visit in subject.expected}
        film, listed = None, list(items(made, subject, barcodes))
        for barcode, visit, description, side, source in listed:
            if not side:
                assert source is not None
                film = visit, f"{subject.name}/{barcode}.dcm"
                link(source, root / film[1])
                for each in ("right", "left"):
                    row, column = made.place(subject.knees, each).centre_px
                    places.append(f"{film[1]},{each},{row:.3f},{column:.3f}")
                continue
            name = f"{subject.name}/{barcode}"
            # Every second series lies there as an archive.
            if source is not None and int(barcode) % 2:
                name, source = f"{name}.tar.gz", made.packed(source)
            if source is not None:
                link(source, root / name)
            xray = film[1] if film and film[0] == visit else ""
            grade = _grade(subject, side)
            sequence = description.rpartition("_")[0]
            letter = side[0].upper() if side == "left" else side
            lines.append(f"{subject.name};{letter};{visit};{xray};{name};{grade};{sequence};")
            seen[visit][side] = True
        for visit, sides in seen.items():
            for side, done in sides.items():
                if not done:
                    xray = film[1] if film and film[0] == visit else ""
                    lines.append(f"{subject.name};{side};{visit};{xray};;{_grade(subject, side)};;")
    (root / "manifest.csv").write_text("\n".join(lines) + "\n")
    (root / "places.csv").write_text("\n".join(places) + "\n")
    return root / "manifest.csv"


def grades(subject: MadeSubject, visit: str) -> Iterator[tuple[str, int, str]]:
    """The rows (side, project, cell) of a subject in the KL table of a visit."""
    if visit == (subject.film[1] if subject.film else "V00"):
        for side, rows in subject.grades.items():
            for project, cell in rows:
                yield side, project, cell


def _grade(subject: MadeSubject, side: str) -> str:
    kl = subject.kl.get(side, -1)
    return "" if kl < 0 or subject.name in FILM_BARCODES else str(kl)
