#!/bin/sh
# Delete Kubernetes Jobs, each NAMESPACE/NAME.
for job in "$@"; do kubectl delete job -n "${job%%/*}" "${job#*/}" --wait=false; done
