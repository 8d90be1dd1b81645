# One rule a stage; intake to export run once a shard, cohort once. Only where expectations may stop the run
# (expectations.on_failure), it has rules for that too, at the end. What a rule depends on of the
# configuration stands in its `digest`. MUPD and SETTINGS are no params (though --lint would have
# it): another interpreter or output folder is no reason to run a stage again.


rule intake:
    input:
        files=files_of,
        genes=Path(CONFIG.model) / "genes.json",
    output:
        LAYOUT.inventory("{shard}"),
    params:
        rows=rows_of,
        digest=CONFIG.digest("intake", "tables", "model"),
        shard=index_of,
    log:
        LAYOUT.log("intake", "{shard}"),
    threads: INTAKE_THREADS
    resources:
        mem_mb=memory_of("intake"),
        runtime=minutes_of("intake"),
    shell:
        "{MUPD} intake --configfile {SETTINGS:q} --shard {params.shard} --jobs {threads} > {log:q} 2>&1"


rule generate:
    input:
        inventory=LAYOUT.inventory("{shard}"),
        model=MODEL_FILES_OF["generate"],
        gate=behind_gate("inputs", "generate"),
    output:
        LAYOUT.generated("{shard}"),
    params:
        digest=CONFIG.digest(*SECTIONS["generate"]),
        shard=index_of,
    log:
        LAYOUT.log("generate", "{shard}"),
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
        generated=LAYOUT.generated("{shard}"),
        inventory=LAYOUT.inventory("{shard}"),
        reference=MODEL_FILES_OF["check"],
        gate=behind_gate("inputs", "check"),
    output:
        LAYOUT.checked("{shard}"),
    params:
        digest=CONFIG.digest(*SECTIONS["check"]),
        shard=index_of,
    log:
        LAYOUT.log("check", "{shard}"),
    resources:
        mem_mb=memory_of("check"),
        runtime=minutes_of("check"),
    shell:
        "{MUPD} check --configfile {SETTINGS:q} --shard {params.shard} > {log:q} 2>&1"


rule export:
    input:
        checked=LAYOUT.checked("{shard}"),
        generated=LAYOUT.generated("{shard}"),
        inventory=LAYOUT.inventory("{shard}"),
        reliability=MODEL_FILES_OF["export"],
        gate=behind_gate("draws", "export"),
    output:
        LAYOUT.exported("{shard}"),
    params:
        digest=CONFIG.digest(*SECTIONS["export"]),
        shard=index_of,
    log:
        LAYOUT.log("export", "{shard}"),
    resources:
        mem_mb=memory_of("export"),
        runtime=minutes_of("export"),
    shell:
        "{MUPD} export --configfile {SETTINGS:q} --shard {params.shard} > {log:q} 2>&1"


rule cohort:
    input:
        exported=expand(LAYOUT.exported("{shard}"), shard=SHARDS),
        checked=expand(LAYOUT.checked("{shard}"), shard=SHARDS),
        inventory=expand(LAYOUT.inventory("{shard}"), shard=SHARDS),
        metrics=model_facts("metrics.json"),
        suites=suite_files(CONFIG),
        gates=[LAYOUT.expectations(gate) for gate in ("inputs", "draws") if STOPS],
    output:
        manifest=LAYOUT.manifest,
        cohort=LAYOUT.cohort,
        report=LAYOUT.report,
        card=LAYOUT.data_card,
        crate=LAYOUT.crate,
        expectations=LAYOUT.expectations("cohort"),
        workflow=directory(LAYOUT.provenance),
        signatures=SIGNATURES,
    params:
        rows=rows_digest(SHEET.cases),
        digest=CONFIG.digest("report", "sign", "expectations"),
    log:
        LAYOUT.log("cohort"),
    resources:
        mem_mb=memory_of("cohort"),
        runtime=minutes_of("cohort"),
    shell:
        "{MUPD} cohort --configfile {SETTINGS:q} > {log:q} 2>&1"


rule expect_inputs:
    input:
        inventory=expand(LAYOUT.inventory("{shard}"), shard=SHARDS),
        suites=suite_files(CONFIG, "sheet", "inventory", "rna_profiles"),
    output:
        LAYOUT.expectations("inputs"),
    params:
        rows=rows_digest(SHEET.cases),
    log:
        LAYOUT.log("expect_inputs"),
    resources:
        mem_mb=memory_of("expect"),
        runtime=minutes_of("expect"),
    shell:
        "{MUPD} expect inputs --configfile {SETTINGS:q} > {log:q} 2>&1"


rule expect_draws:
    input:
        checked=expand(LAYOUT.checked("{shard}"), shard=SHARDS),
        suites=suite_files(CONFIG, "generated_rna"),
    output:
        LAYOUT.expectations("draws"),
    log:
        LAYOUT.log("expect_draws"),
    resources:
        mem_mb=memory_of("expect"),
        runtime=minutes_of("expect"),
    shell:
        "{MUPD} expect draws --configfile {SETTINGS:q} > {log:q} 2>&1"


rule expect_run:
    input:
        LAYOUT.expectations("cohort"),
    output:
        LAYOUT.met,
    log:
        LAYOUT.log("expect_run"),
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
        LAYOUT.expectations_settings("{stage}"),
    params:
        digest=lambda wildcards: CONFIG.digest(*SECTIONS[wildcards.stage]),
    shell:
        """printf '{{"digest": "%s"}}\\n' {params.digest} > {output:q}"""
