"""`mupd cases`: sample sheets made from what is on disk. Heavy imports happen inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mupd.config.section import MPP_RANGE

app = typer.Typer(
    name="cases",
    help="Make a sample sheet from files on disk: from a GDC download, or from a folder whose file names hold the ids.",
    no_args_is_help=True,
)

Output = Annotated[Path, typer.Option("--output", "-o", help="The sheet to write (.tsv or .csv).")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing sheet.")]


@app.command("from-gdc")
def from_gdc(
    sample_sheet: Annotated[Path, typer.Argument(help="gdc_sample_sheet.DATE.tsv, from the portal's cart.")],
    files: Annotated[Path, typer.Option(help="Folder that gdc-client filled (FILE_ID/FILE_NAME), or a flat one.")],
    output: Output = Path("cases.tsv"),
    clinical: Annotated[Path | None, typer.Option(help="clinical.tsv of the portal, for diagnoses.")] = None,
    all_slides: Annotated[bool, typer.Option("--all-slides", help="All diagnostic slides of a case, not one.")] = False,
    force: Force = False,
) -> None:
    """Turn a GDC sample sheet and its downloaded files into a sample sheet.

    Takes slides (.svs) and STAR-counts tables of primary tumours, and pathology reports. If a case has several slides,
    diagnostic ones (DX) are preferred to frozen ones, and lower numbers to higher. The summary lists what was chosen,
    what was not and why, and what is not on disk. Organ and diagnosis follow from the project, or the diagnosis from
    --clinical.

    Example:

        gdc-client download -m gdc_manifest.txt -d gdc/

        mupd cases from-gdc gdc_sample_sheet.tsv --files gdc/ --clinical clinical.tsv -o cases.tsv
    """
    from mupd.sheet.make.gdc import cases_from_gdc
    from mupd.sheet.make.write import print_summary, write_sheet

    made = cases_from_gdc(sample_sheet, files, clinical, all_slides)
    print_summary(made, output)
    write_sheet(made, output, force)


@app.command("from-folder")
def from_folder(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder below which the files lie.")],
    he: Annotated[str | None, typer.Option(help="Pattern of slides, e.g. 'slides/{case}_*.svs'.")] = None,
    rna: Annotated[str | None, typer.Option(help="Pattern of RNA profiles, e.g. 'rna/{case}.tsv'.")] = None,
    text: Annotated[str | None, typer.Option(help="Pattern of reports, e.g. 'reports/{case}.pdf'.")] = None,
    he_mpp: Annotated[
        float | None,
        typer.Option(
            min=MPP_RANGE[0], max=MPP_RANGE[1], help="Micrometres per pixel of all slides, if the files lack it."
        ),
    ] = None,
    output: Output = Path("cases.tsv"),
    force: Force = False,
) -> None:
    """Turn a folder into a sample sheet. {case} in a pattern stands for the case's id.

    Patterns are relative to DIR; * and ? match other differences. Each id that a pattern matches becomes a case. If a
    case has several slides, all are taken; if it has several files of RNA or text, none is, and the summary says so.

    Example (quote the patterns, so that the shell leaves them alone):

        mupd cases from-folder cohort/ --he 'slides/{case}_*.svs' --rna 'rna/{case}.tsv' --text 'reports/{case}.pdf'
    """
    from mupd.base.ids import Modality
    from mupd.sheet.make.folder import cases_from_folder
    from mupd.sheet.make.write import print_summary, write_sheet

    options: dict[Modality, str | None] = {"he": he, "rna": rna, "text": text}
    patterns = {modality: pattern for modality, pattern in options.items() if pattern}
    made = cases_from_folder(folder, patterns, he_mpp)
    print_summary(made, output)
    write_sheet(made, output, force)
