# What the sheet and the configuration say, read once at parse time. No heavy imports here: every
# cluster job parses this again.
import os
import sys
from pathlib import Path

sys.path.insert(0, workflow.basedir)
# The commands run this same source, from whatever folder, also where the package is not installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(workflow.basedir), os.environ.get("PYTHONPATH")]))

import snakemake

from mupd.config import parse_config
from mupd.contracts.layout import Layout
from mupd.errors import MupdError
from mupd.base.files import write_json
from mupd.base.ids import shard_name
from mupd.run.job_resources import INTAKE_THREADS, gpus, mem_mb, runtime_min
from mupd.run.locks import claim_output, record_run, release_stale_lock
from mupd.sheet import cases_by_shard
from mupd.run.shards import (
    inputs_of,
    model_files,
    refuse_braces,
    rows_digest,
    stainer_files,
    suite_files,
)
from mupd.sheet import read_sheet
from mupd.contracts.stage_record import ENGINE_VARIABLE
from mupd.synthetic.signature import signature_files
from mupd.run.table_rows import table_rows

# What the run's provenance names as the engine that orchestrated it.
os.environ[ENGINE_VARIABLE] = f"Snakemake {snakemake.__version__}"

try:
    CONFIG = parse_config(dict(config), "configuration")
    SHEET = read_sheet(CONFIG, check_files=workflow.is_main_process)
    refuse_braces(SHEET, CONFIG)
    MODEL_FILES = model_files(CONFIG)
except MupdError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)

OUT = CONFIG.out
LAYOUT = Layout(OUT)
CASES = cases_by_shard(SHEET, CONFIG.shards)
SHARDS = {shard_name(index): index for index in CASES}
TABLE_ROWS = table_rows(SHEET.cases, CONFIG, Path(".snakemake"), examine=workflow.is_main_process)
# Whose RNA or text is a row of a cohort table, for run times.
IN_TABLES = TABLE_ROWS.case_ids(CONFIG)
MUPD = f"{sys.executable} -m mupd"
SIGNED = [LAYOUT.manifest, LAYOUT.crate] if CONFIG.sign.key else []
SIGNATURES = [str(path) for signed in SIGNED for path in signature_files(signed)]
# The effective configuration (file and command line merged), which every command reads. Not an
# output of a rule: that rule would be due after any change, and Snakemake does not look for other
# reasons in what comes after a job that is due, nor runs it where that input is `ancient`.
SETTINGS = LAYOUT.settings

if workflow.is_main_process:
    release_stale_lock(Path(".snakemake"))
    record_run(Path(".snakemake"))


def files_of(wildcards):
    """The shard's own input files: a changed slide reruns its shard alone."""
    return inputs_of(CASES[SHARDS[wildcards.shard]], CONFIG, TABLE_ROWS)


def rows_of(wildcards):
    """Digest of the shard's rows of the sheet and of the tables: a case added elsewhere reruns nothing here."""
    cases = CASES[SHARDS[wildcards.shard]]
    return [rows_digest(cases), TABLE_ROWS.digest(cases, CONFIG)]


# What a stage's job depends on of the configuration. Without stains it is what it was before there were any.
STAINS = ("stains",) if CONFIG.stains else ()
SECTIONS = {
    "generate": ("seed", "draws", "slide", "sampler", "model", "intake", "check.abstain_below", *STAINS),
    "check": ("check", *STAINS),
    "export": ("slide", *STAINS),
}
# Where a run stops if expectations are not met: between stages, and at the end. None are due else.
STOPS = CONFIG.expectations.on_failure == "stop"
MET = [LAYOUT.met] if STOPS else []


def behind_gate(gate, stage):
    """Inputs of a stage that a gate stands before.

    The gate's results are `ancient`: where a suite changed, what follows is held up and not run again. Snakemake then
    looks for no other reason in what follows; so the stage's own reasons are a file too, which a rule of its own writes.
    """
    if not STOPS:
        return []
    return [ancient(LAYOUT.expectations(gate)), LAYOUT.expectations_settings(stage)]


def index_of(wildcards):
    return SHARDS[wildcards.shard]


def memory_of(stage):
    """Megabytes that a job of a stage asks for: more at each attempt."""
    return lambda wildcards, attempt: mem_mb(stage, CONFIG, attempt)


def minutes_of(stage):
    """Minutes that a job of a stage asks for, by its shard's cases (all of them where it has no shard)."""

    def minutes(wildcards, attempt):
        cases = CASES[SHARDS[wildcards.shard]] if "shard" in wildcards.keys() else SHEET.cases
        return runtime_min(stage, cases, CONFIG, attempt, IN_TABLES)

    return minutes


def model_facts(name):
    """A file of figures in the model's folder, where it has one: new figures change verdicts and pages."""
    path = Path(CONFIG.model) / name
    return [path] if path.exists() else []


# Files of the model that a stage reads.
MODEL_FILES_OF = {
    "generate": MODEL_FILES + stainer_files(CONFIG),
    "check": model_facts("reference.json") + model_facts("trained_on.json"),
    "export": model_facts("reliability.json") + model_facts("trained_on.json"),
}


wildcard_constraints:
    stage="generate|check|export",
    shard=r"shard-\d{4}",
