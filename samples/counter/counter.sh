#!/bin/sh
# A stateful actor: counts its messages, each once, and keeps the count in its state.
set -eu

# The state comes as Python's text form, {'count': 2, 'last': '...'}; {} before the first message.
state=${_abaco_actor_state:-}
count=$(printf '%s' "$state" | sed -n "s/.*'count': \([0-9][0-9]*\).*/\1/p")
last=$(printf '%s' "$state" | sed -n "s/.*'last': '\([^']*\)'.*/\1/p")
count=${count:-0}

# When server or engine died after the state was written, the same execution runs again.
if [ "$last" = "$_abaco_execution_id" ]; then
    echo "execution $_abaco_execution_id is counted already: $count"
    exit 0
fi

count=$((count + 1))
url="${_abaco_api_server%/}/actors/v2/$_abaco_actor_id/state"
set -- -q -O /dev/null --header 'Content-Type: application/json' \
    --post-data "{\"count\": $count, \"last\": \"$_abaco_execution_id\"}"
# With access control the actor proves who it is: --token when it was registered.
if [ -n "${_abaco_access_token:-}" ]; then
    set -- "$@" --header "Authorization: Bearer $_abaco_access_token"
fi
if ! wget "$@" "$url"; then
    echo "the state cannot be written at $url" >&2
    exit 1
fi
echo "message number $count: $MSG"
