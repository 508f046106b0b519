#!/bin/sh
# Checks a directory of documents as one configuration, all of it, and compiles it as a gateway does when it starts.
# What is wrong is said with file and line. Exit codes: those of rewire (2: a document is wrong).
#
#   validate.sh DOCUMENTS
set -eu
documents=${1:?usage: validate.sh DOCUMENTS}
exec "${REWIRE:-rewire}" check --full "$documents"
