#!/usr/bin/env python3
"""Submit a Snakemake job script as a Kubernetes Job; prints NAMESPACE/NAME, by which status.sh and cancel.sh know it.

Snakemake writes what a job asks for into its script, in the line that begins with ``# properties = ``.
"""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

_MARK = "# properties = "


def manifest(script: Path) -> dict:
    """The Kubernetes Job that runs a job script."""
    line = next(line for line in script.read_text(encoding="utf-8").splitlines() if line.startswith(_MARK))
    properties = json.loads(line[len(_MARK) :])
    wanted = properties["resources"]
    size = {"cpu": str(properties["threads"]), "memory": f"{wanted['mem_mb']}M"}
    if wanted.get("gpu"):
        size[wanted["k8s_gpu"]] = str(wanted["gpu"])
    container = {
        "name": "job",
        "image": wanted["k8s_image"],
        "command": ["sh", str(script.resolve())],
        "workingDir": os.getcwd(),
        "resources": {"requests": size, "limits": size},
        "volumeMounts": [{"name": "data", "mountPath": wanted["k8s_mount"]}],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": wanted["k8s_claim"]}}
    name = f"mupd-{properties['rule']}-{uuid.uuid4().hex[:10]}"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": wanted["k8s_namespace"]},
        "spec": {
            # Snakemake itself tries again, with more memory and time.
            "backoffLimit": 0,
            "activeDeadlineSeconds": 60 * wanted["runtime"],
            "ttlSecondsAfterFinished": 86400,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}},
        },
    }


if __name__ == "__main__":
    job = manifest(Path(sys.argv[1]))
    subprocess.run(
        ["kubectl", "apply", "-f", "-"],
        input=json.dumps(job),
        text=True,
        stdout=sys.stderr,
        check=True,
    )
    print(f"{job['metadata']['namespace']}/{job['metadata']['name']}")
