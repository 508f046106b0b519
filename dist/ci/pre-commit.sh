#!/bin/sh
# A pre-commit hook of git: what is about to be committed is checked as one configuration. It is the index that is checked, and
# not the files as they lie there.
#
#   ln -s ../../dist/ci/pre-commit.sh .git/hooks/pre-commit
#
# REWIRE_DOCUMENTS is the directory of the documents, from the top of the repository (default: net).
set -eu
documents=${REWIRE_DOCUMENTS:-net}
cd "$(git rev-parse --show-toplevel)"
if git diff --cached --quiet -- "$documents"; then
    exit 0
fi
staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT
git checkout-index --all --prefix="$staged/"
cd "$staged"
"${REWIRE:-rewire}" check "$documents"
