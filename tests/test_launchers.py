"""Tests that the shell and cluster launchers parse and name what exists."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from xr2mri_jax.training import recipes

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


def batch_size(command):
    """The batch of all hosts that a training command asks for, or that of its recipe."""
    flags = dict(word.partition("=")[::2] for word in command.split() if word.startswith("--"))
    assert {"--workdir", "--config.data.data_dir", "--config.cae_workdir"} <= flags.keys()
    config = recipes.load(flags["--config"])
    return int(flags.get("--config.data.batch_size", config.data.batch_size))


def test_the_batch_of_the_slurm_command_is_divided_among_its_tasks():
    script = (LAUNCH / "slurm.sh").read_text()
    nodes, tasks = (
        int(re.search(rf"#SBATCH --{name}=(\d+)", script)[1])
        for name in ("nodes", "ntasks-per-node")
    )
    docs = (LAUNCH.parent / "docs" / "use" / "train.md").read_text()
    (documented,) = re.findall(r"^sbatch launch/slurm.sh (.*)$", docs, re.MULTILINE)
    for command in (documented, script.replace("\\\n#", "")):
        assert batch_size(command) % (nodes * tasks) == 0


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
    gpus = spec["completions"] * container["resources"]["limits"]["nvidia.com/gpu"]
    assert batch_size(script) % gpus == 0
