"""Made packages of the NIMH Data Archive: tables and packed series."""

import io
import tarfile

KNEES = "Bilateral PA Fixed Flexion Knee"
IMAGE_COLUMNS = (
    "subjectkey",
    "src_subject_id",
    "image_file",
    "image_description",
    "study",
    "visit",
    "accession_number",
)
XRAY_COLUMNS = ("src_subject_id", "visit", "side", "examtype", "barcode")
GRADE_COLUMNS = ("src_subject_id", "visit", "readprj", "side", "xrkl", "barcode")
ADDRESS = "s3://NDAR_Central_1/submission_12345/00m/0.C.2/{subject}/20040914/{name}.tar.gz"


def write_nda(path, columns, rows):
    """A table as the archive writes it: quoted, tab separated, a second row of descriptions."""
    lines = [columns, [f"Description of {column}" for column in columns], *rows]
    text = "\n".join("\t".join(f'"{cell}"' for cell in line) for line in lines)
    path.write_text(text + "\n", encoding="utf-8")


def write_tar(path, members):
    """A tar.gz of (name, content) or TarInfo entries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def image(subject, name, description, visit="V00", study="OAI Image Release 0.C.2", accession=None):
    address = ADDRESS.format(subject=subject, name=name)
    return ("K", subject, address, description, study, visit, accession or "0166" + name)


def package(root, images, xrays=(), grades=(), present=True):
    root.mkdir(parents=True, exist_ok=True)
    write_nda(root / "image03.txt", IMAGE_COLUMNS, images)
    if xrays:
        write_nda(root / "oai_xrmeta01.txt", XRAY_COLUMNS, xrays)
    if grades:
        write_nda(root / "oai_kxrsemiquant01.txt", GRADE_COLUMNS, grades)
    for entry in images if present else ():
        relative = entry[2].partition("submission_12345/")[2]
        write_tar(root / "image03" / relative, [("./001", b"pixels")])
    return root
