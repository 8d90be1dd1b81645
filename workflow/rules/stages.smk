# One rule a stage; intake to export run once a shard, cohort once. Only where expectations may stop the run
# (expectations.on_failure), it has rules for that too, at the end. What a rule depends on of the
# configuration stands in its `digest`. MUPD and SETTINGS are no params (though --lint would have
# it): another interpreter or output folder is no reason to run a stage again.


rule intake:
    input:
        files=files_of,
        genes=Path(CONFIG.model) / "genes.json",
    output:
        OUT / "intake/{shard}.parquet",
    params:
        rows=rows_of,
        digest=CONFIG.digest("intake", "tables", "model"),
        shard=index_of,
    log:
        OUT / "logs/intake/{shard}.log",
    threads: INTAKE_THREADS
    resources:
        mem_mb=memory_of("intake"),
        runtime=minutes_of("intake"),
    shell:
        "{MUPD} intake --configfile {SETTINGS:q} --shard {params.shard} --jobs {threads} > {log:q} 2>&1"


rule generate:
    input:
        inventory=OUT / "intake/{shard}.parquet",
        model=MODEL_FILES_OF["generate"],
        gate=behind_gate("inputs", "generate"),
    output:
        OUT / "generated/{shard}.json",
    params:
        digest=CONFIG.digest(*SECTIONS["generate"]),
        shard=index_of,
    log:
        OUT / "logs/generate/{shard}.log",
    threads: 2
    resources:
        mem_mb=memory_of("generate"),
        runtime=minutes_of("generate"),
        gpu=gpus(CONFIG),
    shell:
        "OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=PASSIVE "
        "{MUPD} generate --configfile {SETTINGS:q} --shard {params.shard} > {log:q} 2>&1"


rule check:
    input:
        generated=OUT / "generated/{shard}.json",
        inventory=OUT / "intake/{shard}.parquet",
        reference=MODEL_FILES_OF["check"],
        gate=behind_gate("inputs", "check"),
    output:
        OUT / "checked/{shard}.parquet",
    params:
        digest=CONFIG.digest(*SECTIONS["check"]),
        shard=index_of,
    log:
        OUT / "logs/check/{shard}.log",
    resources:
        mem_mb=memory_of("check"),
        runtime=minutes_of("check"),
    shell:
        "{MUPD} check --configfile {SETTINGS:q} --shard {params.shard} > {log:q} 2>&1"


rule export:
    input:
        checked=OUT / "checked/{shard}.parquet",
        generated=OUT / "generated/{shard}.json",
        inventory=OUT / "intake/{shard}.parquet",
        reliability=MODEL_FILES_OF["export"],
        gate=behind_gate("draws", "export"),
    output:
        OUT / "exported/{shard}.json",
    params:
        digest=CONFIG.digest(*SECTIONS["export"]),
        shard=index_of,
    log:
        OUT / "logs/export/{shard}.log",
    resources:
        mem_mb=memory_of("export"),
        runtime=minutes_of("export"),
    shell:
        "{MUPD} export --configfile {SETTINGS:q} --shard {params.shard} > {log:q} 2>&1"


rule cohort:
    input:
        exported=expand(OUT / "exported/{shard}.json", shard=SHARDS),
        checked=expand(OUT / "checked/{shard}.parquet", shard=SHARDS),
        inventory=expand(OUT / "intake/{shard}.parquet", shard=SHARDS),
        metrics=model_facts("metrics.json"),
        suites=suite_files(CONFIG),
        gates=[OUT / f"expectations/{gate}.json" for gate in ("inputs", "draws") if STOPS],
    output:
        manifest=OUT / "manifest.tsv",
        cohort=OUT / "cohort/cohort.h5mu",
        report=OUT / "report.html",
        card=OUT / "data_card.md",
        crate=OUT / "ro-crate-metadata.json",
        expectations=OUT / "expectations/cohort.json",
        workflow=directory(OUT / "provenance"),
        signatures=SIGNATURES,
    params:
        rows=rows_digest(SHEET.cases),
        digest=CONFIG.digest("report", "sign", "expectations"),
    log:
        OUT / "logs/cohort.log",
    resources:
        mem_mb=memory_of("cohort"),
        runtime=minutes_of("cohort"),
    shell:
        "{MUPD} cohort --configfile {SETTINGS:q} > {log:q} 2>&1"


rule expect_inputs:
    input:
        inventory=expand(OUT / "intake/{shard}.parquet", shard=SHARDS),
        suites=suite_files(CONFIG, "sheet", "inventory", "rna_profiles"),
    output:
        OUT / "expectations/inputs.json",
    params:
        rows=rows_digest(SHEET.cases),
    log:
        OUT / "logs/expect_inputs.log",
    resources:
        mem_mb=memory_of("expect"),
        runtime=minutes_of("expect"),
    shell:
        "{MUPD} expect inputs --configfile {SETTINGS:q} > {log:q} 2>&1"


rule expect_draws:
    input:
        checked=expand(OUT / "checked/{shard}.parquet", shard=SHARDS),
        suites=suite_files(CONFIG, "generated_rna"),
    output:
        OUT / "expectations/draws.json",
    log:
        OUT / "logs/expect_draws.log",
    resources:
        mem_mb=memory_of("expect"),
        runtime=minutes_of("expect"),
    shell:
        "{MUPD} expect draws --configfile {SETTINGS:q} > {log:q} 2>&1"


rule expect_run:
    input:
        OUT / "expectations/cohort.json",
    output:
        OUT / "expectations/met.json",
    log:
        OUT / "logs/expect_run.log",
    resources:
        mem_mb=memory_of("expect"),
        runtime=minutes_of("expect"),
    shell:
        "{MUPD} expect run --configfile {SETTINGS:q} > {log:q} 2>&1"


localrules:
    settings_of_stage,


rule settings_of_stage:
    input:
        lambda wildcards: MODEL_FILES_OF[wildcards.stage],
    output:
        OUT / "expectations/settings/{stage}.json",
    params:
        digest=lambda wildcards: CONFIG.digest(*SECTIONS[wildcards.stage]),
    shell:
        """printf '{{"digest": "%s"}}\\n' {params.digest} > {output:q}"""
