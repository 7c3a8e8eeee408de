"""Tests that the shell and cluster launchers parse and name what exists."""

import subprocess
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parent.parent / "launch"


@pytest.mark.parametrize("path", sorted(LAUNCH.glob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_parse_and_say_their_use(path):
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert "#   " in path.read_text() or "Sourced" in path.read_text()


def test_a_tpu_pod_needs_its_name():
    done = subprocess.run(
        ["bash", LAUNCH / "tpu_pod.sh"], capture_output=True, text=True, check=False, env={}
    )
    assert done.returncode != 0 and "expected TPU=NAME" in done.stderr


def test_kubernetes_job_and_service_fit_each_other():
    service, job = yaml.safe_load_all((LAUNCH / "kubernetes.yaml").read_text())
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert int(variables["JAX_NUM_PROCESSES"]) == spec["completions"]
    host, port = variables["JAX_COORDINATOR_ADDRESS"].split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}" and int(port)
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"]["job-name"] == job["metadata"]["name"]
    (script,) = container["args"]
    arguments = [word for word in script.split() if word.startswith("--config=")]
    assert (LAUNCH.parent / arguments[0].removeprefix("--config=")).is_file()
