#!/bin/sh
# Posts a comment on the merge request that the job is of, where REWIRE_NOTE_TOKEN lets it.
#
#   gitlab-note.sh COMMENT
set -eu
comment=${1:?usage: gitlab-note.sh COMMENT}
if [ -z "${REWIRE_NOTE_TOKEN:-}" ]; then
    echo "no REWIRE_NOTE_TOKEN: the comment is in $comment"
    exit 0
fi
exec "${CURL:-curl}" --fail --silent --show-error --output /dev/null \
    --header "PRIVATE-TOKEN: $REWIRE_NOTE_TOKEN" --data-urlencode "body@$comment" \
    "$CI_API_V4_URL/projects/$CI_PROJECT_ID/merge_requests/$CI_MERGE_REQUEST_IID/notes"
