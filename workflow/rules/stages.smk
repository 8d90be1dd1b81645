# One rule a stage; intake to export run once a shard, cohort once. What a rule depends on of the
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
        digest=CONFIG.digest("expectations", "intake", "tables", "model"),
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
        model=MODEL_FILES,
    output:
        OUT / "generated/{shard}.json",
    params:
        digest=CONFIG.digest("seed", "draws", "slide", "sampler", "model", "intake", "check.abstain_below"),
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
        reference=model_facts("reference.json"),
    output:
        OUT / "checked/{shard}.parquet",
    params:
        digest=CONFIG.digest("check", "expectations"),
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
        reliability=model_facts("reliability.json"),
    output:
        OUT / "exported/{shard}.json",
    params:
        digest=CONFIG.digest("slide"),
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
    output:
        manifest=OUT / "manifest.tsv",
        cohort=OUT / "cohort/cohort.h5mu",
        report=OUT / "report.html",
        card=OUT / "data_card.md",
        crate=OUT / "ro-crate-metadata.json",
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
