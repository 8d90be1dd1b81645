# One rule a stage; intake to export run once a shard, cohort once.


rule settings:
    # The effective configuration (file and command line merged), which every command reads.
    output:
        OUT / "config.json",
    params:
        config=CONFIG.to_dict(),
    log:
        OUT / "logs/settings.log",
    run:
        write_json(Path(output[0]), params.config)


rule intake:
    input:
        files=inputs_of,
        config=ancient(OUT / "config.json"),
    output:
        OUT / "intake/{shard}.parquet",
    params:
        rows=rows_of,
        digest=CONFIG.digest("intake", "tables"),
        shard=index_of,
        mupd=MUPD,
    log:
        OUT / "logs/intake/{shard}.log",
    resources:
        mem_mb=4000,
        runtime=60,
    shell:
        "{params.mupd} intake --configfile {input.config:q} --shard {params.shard} > {log:q} 2>&1"


rule generate:
    input:
        inventory=OUT / "intake/{shard}.parquet",
        config=ancient(OUT / "config.json"),
        model=Path(CONFIG.model) / "model_index.json",
    output:
        OUT / "generated/{shard}.json",
    params:
        digest=CONFIG.digest("seed", "draws", "slide", "sampler", "model", "intake"),
        shard=index_of,
        mupd=MUPD,
    log:
        OUT / "logs/generate/{shard}.log",
    threads: 2
    resources:
        mem_mb=6000,
        runtime=720,
    shell:
        "OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=PASSIVE "
        "{params.mupd} generate --configfile {input.config:q} --shard {params.shard} > {log:q} 2>&1"


rule check:
    input:
        generated=OUT / "generated/{shard}.json",
        inventory=OUT / "intake/{shard}.parquet",
        config=ancient(OUT / "config.json"),
    output:
        OUT / "checked/{shard}.parquet",
    params:
        digest=CONFIG.digest("check"),
        shard=index_of,
        mupd=MUPD,
    log:
        OUT / "logs/check/{shard}.log",
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "{params.mupd} check --configfile {input.config:q} --shard {params.shard} > {log:q} 2>&1"


rule export:
    input:
        checked=OUT / "checked/{shard}.parquet",
        generated=OUT / "generated/{shard}.json",
        inventory=OUT / "intake/{shard}.parquet",
        config=ancient(OUT / "config.json"),
    output:
        OUT / "exported/{shard}.json",
    params:
        digest=CONFIG.digest("slide"),
        shard=index_of,
        mupd=MUPD,
    log:
        OUT / "logs/export/{shard}.log",
    resources:
        mem_mb=2000,
        runtime=120,
    shell:
        "{params.mupd} export --configfile {input.config:q} --shard {params.shard} > {log:q} 2>&1"


rule cohort:
    input:
        exported=expand(OUT / "exported/{shard}.json", shard=SHARDS),
        checked=expand(OUT / "checked/{shard}.parquet", shard=SHARDS),
        inventory=expand(OUT / "intake/{shard}.parquet", shard=SHARDS),
        config=ancient(OUT / "config.json"),
    output:
        manifest=OUT / "manifest.tsv",
        cohort=OUT / "cohort/cohort.h5mu",
        report=OUT / "report.html",
    params:
        rows=rows_digest(SHEET, CONFIG, None),
        digest=CONFIG.digest("report"),
        mupd=MUPD,
    log:
        OUT / "logs/cohort.log",
    resources:
        mem_mb=4000,
        runtime=60,
    shell:
        "{params.mupd} cohort --configfile {input.config:q} > {log:q} 2>&1"
