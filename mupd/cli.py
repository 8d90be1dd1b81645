"""The command line: one thin command a stage. Heavy imports happen inside the commands."""

from __future__ import annotations

import errno
import json
import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mupd import __version__
from mupd.errors import Fault, InputFaults, MupdError
from mupd.sheet.make.commands import app as cases_app

if TYPE_CHECKING:
    from mupd.config import Config

app = typer.Typer(
    name="mupd",
    help="Complete a patient cohort: find which of H&E slide, RNA profile or clinical text is missing, generate it "
    "from what is there, check it, and write it marked as SYNTHETIC.",
    epilog="Typical use: `mupd status --configfile my.yaml` to see what would be done, then "
    "`snakemake --cores all --configfile my.yaml` to do it. The stage commands are what Snakemake calls.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cases_app)

ConfigFile = Annotated[
    Path, typer.Option("--configfile", help="Run configuration (YAML); every key is explained in config/README.md.")
]
Shard = Annotated[int, typer.Option("--shard", min=0, help="Bucket of cases, from 0; see `mupd status`.")]


class Gate(StrEnum):
    """Where a run can be stopped by expectations."""

    inputs = "inputs"
    draws = "draws"
    run = "run"


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mupd {__version__}")
        raise typer.Exit


def _shard_config(configfile: Path, shard: int) -> Config:
    """The configuration of a stage that runs on one shard.

    Raises
    ------
    InputFaults
        If it cannot be used, or has no such shard.
    """
    from mupd.config import load_config

    config = load_config(configfile)
    if shard >= config.shards:
        fault = Fault("--shard", str(shard), f"0 to {config.shards - 1}: {configfile} has shards: {config.shards}")
        raise InputFaults("command line", [fault])
    return config


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)


@app.command()
def status(
    configfile: ConfigFile = Path("config/config.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the inventory as JSON instead of a table.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write it as one self-contained page to this file.")] = None,
    thumbnails: Annotated[int, typer.Option(min=0, help="Slides that the page pictures at most.")] = 200,
) -> None:
    """Show what each case has (measured / missing / unusable and why) and what would run. Runs nothing."""
    from mupd.config import load_config
    from mupd.run.status.terminal import render_status
    from mupd.stages.intake import status_rows

    config = load_config(configfile)
    if any(vars(config.expectations.suites).values()):
        from mupd.expectations.meet import refuse_wrong_arguments

        refuse_wrong_arguments(config)
    cases = status_rows(config)
    if html is not None:
        from mupd.run.status.page import write_page

        write_page(html, cases, config, thumbnails)
    if as_json:
        from mupd.run.status.plain import status_json

        print(json.dumps(status_json(cases, config), indent=2, ensure_ascii=False))
    elif html is None:
        render_status(cases, config)
    else:
        print(html)


@app.command()
def doctor(
    configfile: ConfigFile = Path("config/config.yaml"),
    profile: Annotated[
        str | None, typer.Option(help="Snakemake profile that the run will use: a folder, or one of ours by its name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check this machine, the model, the folders and the cluster for a run: PASS, WARN or FAIL, each with its fix.

    Exit code: 0 nothing fails, 1 something does.
    """
    from mupd.run.doctor.finding import exit_code
    from mupd.run.doctor.run import as_json as plain
    from mupd.run.doctor.run import examine, render

    findings = examine(configfile, profile)
    if as_json:
        print(json.dumps(plain(findings), indent=2, ensure_ascii=False))
    else:
        render(findings)
    raise typer.Exit(exit_code(findings))


@app.command()
def forecast(
    configfile: ConfigFile = Path("config/config.yaml"),
    jobs: Annotated[int, typer.Option(min=1, help="Jobs that run at a time: cores / 2 here, nodes on a cluster.")] = 1,
    calibration: Annotated[
        Path | None, typer.Option(help="Figures of another machine, written there with --calibrate-only --write.")
    ] = None,
    no_calibrate: Annotated[
        bool, typer.Option("--no-calibrate", help="Use what was measured before, or fail.")
    ] = False,
    recalibrate: Annotated[bool, typer.Option("--recalibrate", help="Measure this machine again.")] = False,
    calibrate_only: Annotated[
        bool, typer.Option("--calibrate-only", help="Measure this machine, no forecast.")
    ] = False,
    write: Annotated[Path | None, typer.Option(help="Where --calibrate-only writes its figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the forecast as JSON.")] = False,
) -> None:
    """Say what a run will take before it is submitted: tasks, CPU- and GPU-hours, wall time, disk, memory a job.

    The first time it measures this machine with the configured model, about one minute on a free one.
    """
    from mupd.run.forecast.command import run

    run(
        configfile,
        jobs=jobs,
        calibration=calibration,
        no_calibrate=no_calibrate,
        recalibrate=recalibrate,
        calibrate_only=calibrate_only,
        write=write,
        json_wanted=as_json,
    )


@app.command()
def intake(
    configfile: ConfigFile,
    shard: Shard,
    jobs: Annotated[int, typer.Option(min=1, help="Inputs read at a time, each by a process of its own.")] = 1,
) -> None:
    """Read a shard's inputs and write its inventory: the status of each modality, with the reason."""
    config = _shard_config(configfile, shard)
    from functools import partial

    from mupd.contracts.stage_record import recorded
    from mupd.stages.intake import run_shard

    print(recorded("intake", partial(run_shard, jobs=jobs), config, shard))


@app.command()
def generate(configfile: ConfigFile, shard: Shard) -> None:
    """Generate what a shard's cases lack. Finished draws are kept: a killed run goes on where it was."""
    config = _shard_config(configfile, shard)
    from mupd.contracts.stage_record import recorded
    from mupd.stages.generate import run_shard

    print(recorded("generate", run_shard, config, shard))


@app.command()
def check(configfile: ConfigFile, shard: Shard) -> None:
    """Check a shard's generated draws and accept or reject each, with the reason."""
    config = _shard_config(configfile, shard)
    from mupd.contracts.stage_record import recorded
    from mupd.stages.check import run_shard

    print(recorded("check", run_shard, config, shard))


@app.command()
def export(configfile: ConfigFile, shard: Shard) -> None:
    """Write a shard's accepted draws as DICOM-WSI, AnnData and reports, all marked as synthetic."""
    config = _shard_config(configfile, shard)
    from mupd.contracts.stage_record import recorded
    from mupd.stages.export import run_shard

    print(recorded("export", run_shard, config, shard))


@app.command()
def cohort(configfile: ConfigFile) -> None:
    """Write the manifest, the completed cohort (MuData) and the report, over all shards."""
    from mupd.config import load_config
    from mupd.stages.cohort import run

    for path in run(load_config(configfile)):
        print(path)


@app.command()
def expect(
    gate: Annotated[Gate, typer.Argument(help="inputs: before generation; draws: before export; run: at the end.")],
    configfile: ConfigFile,
) -> None:
    """Evaluate the expectation suites over all shards; with `expectations.on_failure: stop` fail where one is not met.

    Only a run with `stop` calls it: else the cohort command evaluates all suites by itself and reports.
    """
    from mupd.config import load_config
    from mupd.expectations.meet import pass_gate

    print(pass_gate(gate.value, load_config(configfile)))


@app.command()
def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Slides, tables, reports and pictures: files, zarr stores, folders that hold such."),
    ],
    manifest: Annotated[
        Path | None, typer.Option(help="manifest.tsv to check hashes against; else looked for beside and above.")
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="Public key (PEM) that the manifest should be signed with.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say whether files are synthetic, by which model, from what, and whether they were altered.

    Exit code: 0 nothing synthetic, 3 synthetic and intact, 4 synthetic but altered or stripped of marks, 1 unreadable;
    of several paths the gravest: 1 before 4 before 3 before 0.
    """
    from mupd.synthetic.verify.verify import exit_code, paths_to_verify, verify_path
    from mupd.synthetic.verify.words import render

    findings = [verify_path(file, manifest, public_key) for path in paths for file in paths_to_verify(path)]
    render(findings, as_json=as_json)
    raise typer.Exit(exit_code(findings))


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="Where the private key goes; the public one goes to PATH.pub.")],
    passphrase_env: Annotated[
        str, typer.Option(help="Environment variable whose passphrase encrypts the key; unset: not encrypted.")
    ] = "MUPD_SIGN_PASSPHRASE",
) -> None:
    """Make a key pair to sign manifests with (configuration: sign.key). Prints the public key's fingerprint."""
    from mupd.synthetic.signature import passphrase_from, write_key_pair

    print(write_key_pair(path, passphrase_from(passphrase_env)))


@app.command()
def push(
    configfile: ConfigFile,
    dicomweb: Annotated[str, typer.Option(help="Root of a DICOMweb server, e.g. https://pacs.example.org/dicom-web.")],
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given several times.")] = None,
) -> None:
    """Send the run's DICOM artifacts to a server (STOW-RS): those that `mupd verify` finds synthetic and intact.

    Credentials come from MUPD_DICOMWEB_TOKEN, from MUPD_DICOMWEB_USER and MUPD_DICOMWEB_PASSWORD, or from ~/.netrc.
    Exit code: 0 every file is on the server now, 1 some are not.
    """
    from mupd.config import load_config
    from mupd.push import push as send

    account = send(load_config(configfile), dicomweb, case or ())
    print(account)
    raise typer.Exit(account.exit_code)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="Training configuration, e.g. config/train/mupd-mini.yaml.")],
    part: Annotated[
        str,
        typer.Option(help="codecs, vae, trunk, calibrate (of a stainer: pairs, vae, trunk, metrics), or all in order."),
    ] = "all",
) -> None:
    """Train the parts of a model on paired data. Resumes from its last checkpoint."""
    from mupd.training.run import run_training

    run_training(config, part)


def main() -> None:
    """Entry point: errors that a user can act on are printed without a traceback."""
    try:
        app()
    except MupdError as error:
        print(f"mupd: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"mupd: {error.filename or 'a file'}: {error.strerror}; make space, then start again", file=sys.stderr)
        sys.exit(1)
