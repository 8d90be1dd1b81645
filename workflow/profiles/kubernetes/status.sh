#!/bin/sh
# State of a Kubernetes Job, NAMESPACE/NAME, as snakemake-executor-plugin-cluster-generic wants it.
state=$(kubectl get job -n "${1%%/*}" "${1#*/}" -o 'jsonpath={.status.conditions[?(@.status=="True")].type}' 2>&1) || {
  # A Job that is gone was deleted; a server that does not answer is asked again.
  case "$state" in *NotFound*) echo failed ;; *) echo running ;; esac
  exit 0
}
case "$state" in
  *Failed*) echo failed ;;
  *Complete*) echo success ;;
  *) echo running ;;
esac
