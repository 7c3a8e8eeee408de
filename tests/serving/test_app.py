"""The app's routes: foreign and hostile requests are refused, nothing is kept."""

import errno
import io
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from werkzeug.datastructures import FileStorage

from xr2mri_jax.presentation.statement import MEANING
from xr2mri_jax.serving import jobs as jobs_module
from xr2mri_jax.serving import predict_upload
from xr2mri_jax.serving.app import make_app
from xr2mri_jax.serving.guard import file_name
from xr2mri_jax.serving.jobs import Jobs
from xr2mri_jax.tools.fuzzing.mutate import mutated
from xr2mri_jax.tools.fuzzing.seeds import made_seeds

HOST = "127.0.0.1:8765"
MOST_MB = 0.2


class User:
    """A browser: knows the page's token."""

    def __init__(self, app):
        self.client = app.test_client()
        text = self.client.get("/", headers={"Host": HOST}).text
        self.token = text.partition('csrf-token" content="')[2].partition('"')[0]

    def get(self, path):
        return self.client.get(path, headers={"Host": HOST}, buffered=True)

    def post(self, content=b"x", name="knee.png", fields=(), **headers):
        headers = {"Host": HOST, "X-CSRF-Token": self.token, **headers}
        data = {"radiograph": (io.BytesIO(content), name), **dict(fields)}
        return self.client.post("/jobs", data=data, headers=headers, buffered=True)

    def ended(self, job):
        for _ in range(2000):
            state = self.get(f"/jobs/{job}").json
            if state["error"] or state["step"] == "done":
                return state
            time.sleep(0.005)
        raise TimeoutError(state)


@pytest.fixture
def jobs():
    """Uploads of a server without a model: what shows a knee fails, all else is refused before."""
    with Jobs(predictor=None) as made:
        yield made


@pytest.fixture
def user(jobs):
    return User(make_app(jobs, frozenset([HOST]), MOST_MB))


def test_the_page_says_what_a_prediction_means(user):
    text = user.get("/").text
    assert MEANING in text and "not for diagnosis" in text


def test_two_hundred_hostile_uploads_are_refused_with_a_line_each(user, jobs):
    seeds, rng = made_seeds(), np.random.default_rng(0)
    names = ("a.png", "../../etc/passwd", "C:\\x.dcm", "\x1b[2J.png", "é" * 300, ".", "a\nb")
    for i in range(200):
        _, files = mutated(seeds[int(rng.integers(len(seeds)))], rng)
        content = files[str(rng.choice(sorted(files)))]
        answer = user.post(content, names[i % len(names)])
        if answer.status_code == 202:
            said = user.ended(answer.json["job"])["error"]
        else:
            said = answer.json["error"]
        assert said and "\n" not in said and len(said) <= 500
        assert "xr2mri-serve-" not in said and "see the server's log" not in said
    # The radiographs are gone before anybody asks.
    assert [p for p in Path(jobs._root.name).rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example:8765"}, 403),
        ({"Host": "127.0.0.1:8766"}, 403),
        ({"X-CSRF-Token": ""}, 403),
        ({"X-CSRF-Token": "é"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"}, 202),
    ],
)
def test_requests_of_other_pages_are_refused(user, headers, code):
    answer = user.post(**headers)
    assert answer.status_code == code
    assert ("error" in answer.json) == (code == 403)


def test_a_rebound_name_gets_not_even_the_page(user):
    answer = user.client.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 403 and "csrf" not in answer.text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ({"content": bytes(400_000)}, 413, "exceeds the capacity limit"),
        ({"content": b""}, 400, "found a file of 0 bytes"),
        ({"name": ""}, 400, "found no file"),
        ({"fields": {"side": "up"}}, 400, "side: found 'up', expected left"),
        ({"fields": {"spacing": "nan"}}, 400, "spacing: found 'nan', expected 0.01 to 5 mm"),
        ({"fields": {"spacing": "x" * 99}}, 400, "spacing: found"),
        ({"fields": {f"f{i}": "x" for i in range(20)}}, 413, ""),
    ],
)
def test_wrong_uploads_are_refused(user, arguments, code, said):
    answer = user.post(**arguments)
    assert answer.status_code == code
    assert said in answer.json["error"] and "\n" not in answer.json["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/0", "/jobs/../x", "/jobs/0/files/x/volume.nii.gz", "/static/../pages.py",
        "/static/%2e%2e/pages.py", "/static/niivue/../../pages.py", "/etc/passwd",
        "/jobs/0/cases/x.js",
    ],
)  # fmt: skip
def test_other_paths_do_not_exist(user, path):
    answer = user.get(path)
    assert answer.status_code == 404 and "error" in answer.json


def test_files_of_a_job_are_those_that_it_lists(user, jobs):
    job = jobs.new("knee.png", None, None)
    files = job.folder / "files" / "k-left"
    files.mkdir(parents=True)
    (files / "record.json").write_text("{}")
    (files / "secret").write_text("s")
    job.downloads["k-left"] = ["record.json"]
    answer = user.get(f"/jobs/{job.name}/files/k-left/record.json")
    assert answer.text == "{}"
    assert answer.headers["Content-Disposition"].endswith("filename=knee_left_record.json")
    for path in ("k-left/secret", "k-left/..", "../upload", "k-left/..%2f..%2fknee.png"):
        assert user.get(f"/jobs/{job.name}/files/{path}").status_code == 404
    deleted = user.client.delete(
        f"/jobs/{job.name}", headers={"Host": HOST, "X-CSRF-Token": user.token}
    )
    assert deleted.status_code == 204 and not job.folder.exists()
    assert user.get(f"/jobs/{job.name}").status_code == 404


def test_too_many_waiting_uploads(user, jobs):
    waiting = [jobs.new("x", None, None) for _ in range(jobs_module.MOST_WAITING)]
    answer = user.post()
    assert answer.status_code == 503 and "too many waiting uploads" in answer.json["error"]
    waiting[0].error = "refused"
    assert user.post().status_code == 202


def test_old_results_are_removed_without_a_further_upload(monkeypatch):
    monkeypatch.setattr(jobs_module, "SECONDS_KEPT", -1.0)
    monkeypatch.setattr(jobs_module, "SECONDS_BETWEEN", 0.01)
    with Jobs(None) as jobs:
        ended, waiting = (jobs.new("x", None, None) for _ in range(2))
        ended.error = "refused"
        end = time.monotonic() + 20
        while ended.folder.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert jobs.find(ended.name) is None
        assert waiting.folder.exists() and jobs.find(waiting.name) is waiting


def test_uploads_that_cannot_be_stored_leave_their_slots(user, jobs, monkeypatch):
    def full(self, *arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FileStorage, "save", full)
        for _ in range(jobs_module.MOST_WAITING):
            answer = user.post()
            assert answer.status_code == 500 and "No space left" in answer.json["error"]
    assert list(Path(jobs._root.name).iterdir()) == []
    assert user.post().status_code == 202


@pytest.mark.parametrize("slow", ["predicted", "write_downloads"])
def test_nothing_of_an_upload_that_is_deleted_meanwhile_is_kept(tmp_path, monkeypatch, slow):
    entered, deleted = threading.Event(), threading.Event()

    def write(folder, *_):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "volume.nii.gz").write_bytes(b"patient")
        return ["volume.nii.gz"]

    steps = {
        "knees": lambda *_: [SimpleNamespace(side="right")],
        "predicted": lambda *_: None,
        "show": lambda *_: SimpleNamespace(title="knee"),
        "write_downloads": write,
    }

    def waiting(*arguments):
        entered.set()
        assert deleted.wait(10)
        return steps[slow](*arguments)

    for name, step in steps.items():
        monkeypatch.setattr(predict_upload, name, waiting if name == slow else step)
    with Jobs(None, tmp_path) as jobs:
        removed, kept = jobs.new("a.png", None, None), jobs.new("b.png", None, None)
        removed.upload.write_bytes(b"x")
        jobs.start(removed)
        assert entered.wait(10)
        jobs.remove(removed.name)
        deleted.set()
        kept.upload.write_bytes(b"x")
        jobs.start(kept)
        jobs._pool.shutdown()
        assert not removed.folder.exists() and kept.folder.exists() and not kept.error
        assert [path.name for path in tmp_path.iterdir()] == [kept.name]
        assert (tmp_path / kept.name / f"{kept.name[:8]}-right" / "volume.nii.gz").is_file()
        jobs.remove(kept.name)
        assert (tmp_path / kept.name).exists() and not kept.folder.exists()


@pytest.mark.parametrize("name", ["files", "cases", "upload", "work"])
def test_a_radiograph_may_have_the_name_of_a_folder_of_results(monkeypatch, name):
    monkeypatch.setattr(predict_upload, "knees", lambda *_: [SimpleNamespace(side="right")])
    monkeypatch.setattr(predict_upload, "predicted", lambda *_: None)

    def show(folder, *_):
        (folder / "cases").mkdir()
        (folder / "work").mkdir()
        return SimpleNamespace(title="knee")

    monkeypatch.setattr(predict_upload, "show", show)
    monkeypatch.setattr(predict_upload, "write_downloads", lambda *_: ["record.json"])
    with Jobs(None) as jobs:
        job = jobs.new(name, None, None)
        job.upload.write_bytes(b"x")
        jobs.start(job)
        jobs._pool.shutdown()
        assert (job.step, job.error) == ("done", "")
        assert not job.upload.exists() and (job.folder / "files").is_dir()


def test_answers_forbid_frames_and_foreign_scripts(user):
    headers = user.get("/").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store" and "Set-Cookie" not in headers


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("9006140L.png", "9006140L.png"),
        ("../../a b.png", "a_b.png"),
        ("C:\\Users\\x\\knee.dcm", "knee.dcm"),
        ("...", "radiograph"),
        (None, "radiograph"),
        ("é.png", "_.png"),
        ("x" * 300 + ".png", "x" * 76 + ".png"),
    ],
)
def test_names_of_uploads_are_plain(given, name):
    assert file_name(given) == name
