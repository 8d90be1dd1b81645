"""The command line: one thin command per stage. Heavy imports happen inside the commands."""

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
    help="Complete a patient cohort: find which of H&E slide, RNA profile and clinical text is missing, generate it "
    "from the others, check it, and write it marked as SYNTHETIC.",
    epilog="Typical use: `mupd status --configfile my.yaml` shows what would be done, "
    "`snakemake --cores all --configfile my.yaml` does it. Snakemake calls the commands of the stages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cases_app)

ConfigFile = Annotated[
    Path, typer.Option("--configfile", help="Run configuration (YAML); every key is explained in config/README.md.")
]
Shard = Annotated[int, typer.Option("--shard", min=0, help="Number of the shard, from 0; see `mupd status`.")]


class Gate(StrEnum):
    """Points at which expectations can stop a run."""

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
        If the configuration has faults or no such shard.
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
    html: Annotated[
        Path | None, typer.Option(help="Write the inventory as one self-contained page to this file.")
    ] = None,
    thumbnails: Annotated[int, typer.Option(min=0, help="Most slides that the page shows.")] = 200,
) -> None:
    """Show what each case has (measured, missing, or unusable and why) and what would be generated. Runs nothing."""
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
        str | None, typer.Option(help="Snakemake profile of the run: a folder, or the name of a shipped profile.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check machine, model, folders and cluster before a run: PASS, WARN or FAIL, with what to do.

    Exit code: 0 if no check fails, else 1.
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
    jobs: Annotated[int, typer.Option(min=1, help="Jobs at a time: half the cores here, nodes on a cluster.")] = 1,
    calibration: Annotated[Path | None, typer.Option(help="Figures of another machine, from --measure there.")] = None,
    recalibrate: Annotated[bool, typer.Option("--recalibrate", help="Measure this machine again.")] = False,
    measure: Annotated[
        Path | None, typer.Option(help="Measure this machine, write the figures to this file; make no forecast.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the forecast as JSON.")] = False,
) -> None:
    """Estimate what a run will take: tasks, CPU and GPU hours, wall time, disk, memory per job.

    The first time, this measures the machine with the configured model (about a minute if the machine is idle).
    """
    from mupd.run.forecast.command import Options, run

    run(configfile, Options(jobs, calibration, recalibrate, measure, as_json))


@app.command()
def intake(
    configfile: ConfigFile,
    shard: Shard,
    jobs: Annotated[int, typer.Option(min=1, help="Inputs read at a time, each in its own process.")] = 1,
) -> None:
    """Read the inputs of a shard and write its inventory: the status of each modality, with the reason."""
    config = _shard_config(configfile, shard)
    from functools import partial

    from mupd.contracts.stage_record import recorded
    from mupd.stages.intake import run_shard

    print(recorded("intake", partial(run_shard, jobs=jobs), config, shard))


@app.command()
def generate(configfile: ConfigFile, shard: Shard) -> None:
    """Generate what the cases of a shard lack. Finished draws are kept, so a killed run resumes."""
    config = _shard_config(configfile, shard)
    from mupd.contracts.stage_record import recorded
    from mupd.stages.generate import run_shard

    print(recorded("generate", run_shard, config, shard))


@app.command()
def check(configfile: ConfigFile, shard: Shard) -> None:
    """Check the generated draws of a shard; accept or reject each, with the reason."""
    config = _shard_config(configfile, shard)
    from mupd.contracts.stage_record import recorded
    from mupd.stages.check import run_shard

    print(recorded("check", run_shard, config, shard))


@app.command()
def export(configfile: ConfigFile, shard: Shard) -> None:
    """Write the accepted draws of a shard as DICOM-WSI, AnnData and reports, all marked as synthetic."""
    config = _shard_config(configfile, shard)
    from mupd.contracts.stage_record import recorded
    from mupd.stages.export import run_shard

    print(recorded("export", run_shard, config, shard))


@app.command()
def cohort(configfile: ConfigFile) -> None:
    """Write the manifest, the completed cohort (MuData) and the report over all shards."""
    from mupd.config import load_config
    from mupd.stages.cohort import run

    for path in run(load_config(configfile)):
        print(path)


@app.command()
def expect(
    gate: Annotated[Gate, typer.Argument(help="inputs: before generation; draws: before export; run: at the end.")],
    configfile: ConfigFile,
) -> None:
    """Evaluate the expectation suites over all shards; fail if one is not met and `expectations.on_failure` is `stop`.

    Only runs with `stop` call this. In others, the cohort command evaluates all suites and reports.
    """
    from mupd.config import load_config
    from mupd.expectations.meet import pass_gate

    print(pass_gate(gate.value, load_config(configfile)))


@app.command()
def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Slides, tables, reports and pictures: files, zarr stores, or folders of them."),
    ],
    manifest: Annotated[
        Path | None, typer.Option(help="manifest.tsv with the hashes; default: one beside or above the file.")
    ] = None,
    public_key: Annotated[Path | None, typer.Option(help="Public key (PEM) of the manifest's signature.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Report whether files are synthetic, by which model, from which inputs, and whether they were altered.

    Exit code: 0 searched and nothing synthetic, 3 synthetic and intact, 4 synthetic but altered or stripped of marks,
    5 unknown (a kind of file whose content cannot be searched, such as PDF, WebP or GIF), 1 unreadable. For several
    paths, the first of 1, 4, 5, 3, 0 that applies to any.
    """
    from mupd.synthetic.verify.verify import exit_code, paths_to_verify, verify_path
    from mupd.synthetic.verify.words import render

    findings = [verify_path(file, manifest, public_key) for path in paths for file in paths_to_verify(path)]
    render(findings, as_json=as_json)
    raise typer.Exit(exit_code(findings))


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="File for the private key; the public key goes to PATH.pub.")],
    passphrase_env: Annotated[
        str,
        typer.Option(help="Environment variable with the passphrase that encrypts the key; if unset, no encryption."),
    ] = "MUPD_SIGN_PASSPHRASE",
) -> None:
    """Make a key pair for signing manifests (`sign.key`) and print the fingerprint of the public key."""
    from mupd.synthetic.signature import passphrase_from, write_key_pair

    print(write_key_pair(path, passphrase_from(passphrase_env)))


@app.command()
def push(
    configfile: ConfigFile,
    dicomweb: Annotated[str, typer.Option(help="Root of a DICOMweb server, e.g. https://pacs.example.org/dicom-web.")],
    case: Annotated[list[str] | None, typer.Option(help="Only this case; can be repeated.")] = None,
) -> None:
    """Send the DICOM artifacts that `mupd verify` finds synthetic and intact to a DICOMweb server (STOW-RS).

    Credentials come from MUPD_DICOMWEB_TOKEN, from MUPD_DICOMWEB_USER and MUPD_DICOMWEB_PASSWORD, or from ~/.netrc.
    Exit code: 0 if every file is on the server now, else 1.
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
        typer.Option(
            help="codecs, vae, trunk or calibrate (for a stainer: pairs, vae, trunk or metrics); all = each in order."
        ),
    ] = "all",
) -> None:
    """Train the parts of a model on paired data. Resumes from the last checkpoint."""
    from mupd.training.run import run_training

    run_training(config, part)


def main() -> None:
    """Entry point. Prints errors that a user can act on without a traceback."""
    try:
        app()
    except MupdError as error:
        print(f"mupd: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"mupd: {error.filename or 'a file'}: {error.strerror}; free some space, then start again", file=sys.stderr
        )
        sys.exit(1)
