# mupd: complete a cohort with missing H&E, RNA or clinical text.
#
#   snakemake --cores all                                the example cohort
#   snakemake --cores all --configfile my.yaml           your own
#
# Every rule is one call of a `mupd` command. The DAG follows from the sample sheet alone.
from snakemake.utils import min_version

min_version("9.18")

if "cases" not in config:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/train.smk"


onstart:
    try:
        if workflow.executor_plugin.name == "slurm":
            from mupd.run.doctor.submission import refuse_impossible

            refuse_impossible(workflow.resource_settings, SHEET, CONFIG, IN_TABLES)
        claim_output(OUT)
    except MupdError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    write_json(SETTINGS, CONFIG.to_dict())


rule all:
    default_target: True
    input:
        rules.cohort.output,
        MET,
