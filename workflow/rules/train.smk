# Training of a model on the user's own cases or public data: `snakemake train --configfile my.yaml` with
# `train: PATH of a training configuration`. No part of `all`: nothing is trained unless it is asked for.
import yaml
from snakemake.exceptions import WorkflowError

TRAINING = {}
if CONFIG.train is not None:
    try:
        TRAINING = yaml.safe_load(Path(CONFIG.train).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        print(f"configuration [train]: {CONFIG.train}: {error}", file=sys.stderr)
        sys.exit(2)
    if not isinstance(TRAINING, dict) or not isinstance(TRAINING.get("out"), str):
        print(f"configuration [train]: {CONFIG.train} names no folder `out`", file=sys.stderr)
        sys.exit(2)


def trained_model(wildcards):
    if not TRAINING:
        raise WorkflowError("configuration [train]: found nothing; expected the path of a training configuration")
    return str(Path(TRAINING["out"]) / "genes.json")


rule train:
    input:
        trained_model,


if TRAINING:

    # Killed or out of time, it goes on from the checkpoints in the training's `work` folder when run again.
    rule train_model:
        input:
            CONFIG.train,
        output:
            Path(TRAINING["out"]) / "genes.json",
        log:
            LAYOUT.log("train"),
        threads: TRAINING.get("threads", 2)
        resources:
            mem_mb=16000,
            runtime=1440,
            gpu=1,
        shell:
            "export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=PASSIVE; "
            "if [ {resources.gpu} -gt 1 ]; then "
            "{sys.executable} -m accelerate.commands.launch --multi_gpu --num_processes {resources.gpu} "
            "-m mupd train {input:q} > {log:q} 2>&1; "
            "else {MUPD} train {input:q} > {log:q} 2>&1; fi"
