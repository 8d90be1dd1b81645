#!/bin/sh
# State of a PBS job in the words of snakemake-executor-plugin-cluster-generic: running, success or failed.
# -x shows finished jobs too, as long as the server keeps them (job_history_enable).
record=$(qstat -x -f "$1" 2>/dev/null) || { echo running; exit 0; } # the server does not answer: ask again
state=$(printf '%s\n' "$record" | sed -n 's/^ *job_state = //p')
code=$(printf '%s\n' "$record" | sed -n 's/^ *Exit_status = //p')
case "$state" in
  F | C) if [ "$code" = 0 ]; then echo success; else echo failed; fi ;;
  *) echo running ;;
esac
