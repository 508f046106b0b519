# What the demo is told with: steps, commands that are shown, checks that say what they saw. To be sourced.
# shellcheck shell=bash

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' blue=$'\e[36m' plain=$'\e[0m'
else
    bold='' dim='' red='' green='' blue='' plain=''
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/rewire-demo.XXXXXX")
declare -A pids=()         # what runs in the background, by name
declare -a titles=() done_checks=() good_checks=() seconds=() failures=()
step=-1 step_began=0 demo_began=${EPOCHREALTIME/./}

# elapsed SINCE: the time since then (in µs, as $EPOCHREALTIME without its point), in seconds.
elapsed() {
    local ms=$(((${EPOCHREALTIME/./} - $1) / 1000))
    printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

# step TITLE WHAT-FOR...: begins the next step.
step() {
    end_step
    step=$((step + 1)) step_began=${EPOCHREALTIME/./}
    titles[step]=$1 done_checks[step]=0 good_checks[step]=0
    printf '\n%s%2d  %s%s\n' "$bold" $((step + 1)) "$1" "$plain"
    shift
    [[ $# -eq 0 ]] || printf "    $dim%s$plain\n" "$@"
}

end_step() {
    [[ $step -lt 0 ]] || seconds[step]=$(elapsed "$step_began")
}

# passed WHAT SAW / failed WHAT SAW: one line about something that was looked at.
passed() {
    done_checks[step]=$((done_checks[step] + 1)) good_checks[step]=$((good_checks[step] + 1))
    printf '    %s✓%s %s%s\n' "$green" "$plain" "$1" "${2:+ $dim· ${2%%$'\n'*}$plain}"
}
failed() {
    done_checks[step]=$((done_checks[step] + 1))
    failures+=("step $((step + 1)): $1")
    printf '    %s✗ %s%s\n' "$red" "$1" "$plain"
    [[ -z ${2:-} ]] || sed 's/^/        /' <<<"$2"
}

# check WHAT COMMAND...: the command says by its exit code whether it is so, and by its output what it saw.
check() {
    local what=$1 saw
    shift
    if saw=$("$@" 2>&1); then passed "$what" "$saw"; else failed "$what" "${saw:-(no output)}"; fi
}

# show COMMAND...: as one would type it.
show() {
    local word line=''
    for word in "$@"; do
        if [[ $word == *[[:space:]]* ]]; then line+=" \"$word\""; else line+=" $word"; fi
    done
    printf '    %s$%s%s\n' "$blue" "$line" "$plain"
}

quote() { sed "s/^/      $dim│$plain /"; }

# run EXIT-CODE COMMAND...: shows the command and its output (which stays in $output), and checks how it ended.
run() {
    local expected=$1 code=0
    shift
    show "$@"
    output=$("$@" 2>&1) || code=$?
    [[ -z $output ]] || quote <<<"$output"
    if [[ $code -eq $expected ]]; then
        done_checks[step]=$((done_checks[step] + 1)) good_checks[step]=$((good_checks[step] + 1))
    else
        failed "\"$*\" ends with exit code $expected" "it ended with $code"
    fi
}

# must COMMAND...: without it there is nothing to show.
must() {
    local saw
    saw=$("$@" 2>&1) || die "\"$*\" failed" "$saw"
}
die() {
    failed "$@"
    summary
    exit 1
}

# on HOST COMMAND...: in that host's network namespace.
on() {
    local host=$1
    shift
    ip netns exec "rw-$host" "$@"
}

# background NAME HOST COMMAND...: started there; its output goes into $work/NAME.log.
background() {
    local name=$1 host=$2
    shift 2
    # File 9 is the lock that keeps a second demo out: nobody else shall hold it.
    ip netns exec "rw-$host" "$@" </dev/null >"$work/$name.log" 2>&1 9>&- &
    pids[$name]=$!
}

# finish NAME [SIGNAL]: waits for its end, after the signal if there is one; the exit code is its own.
finish() {
    local pid=${pids[$1]} code=0
    [[ -z ${2:-} ]] || kill "-$2" "$pid" 2>/dev/null
    wait "$pid" || code=$?
    unset "pids[$1]"
    return $code
}

# ends_well WHAT NAME [SIGNAL]: the same, as a check that its exit code is 0.
ends_well() {
    local code=0
    finish "${@:2}" || code=$?
    if [[ $code -eq 0 ]]; then passed "$1"; else failed "$1" "exit code $code"; fi
}

# within SECONDS COMMAND...: until the command succeeds, asked every 50 ms.
within() {
    local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@" >/dev/null 2>&1; do
        [[ ${EPOCHREALTIME/./} -lt $deadline ]] || return 1
        sleep 0.05
    done
}

clean_up() {
    local name
    trap '' INT TERM
    for name in "${!pids[@]}"; do
        kill "${pids[$name]}" 2>/dev/null
    done
    for name in "${!pids[@]}"; do
        # Whoever does not go within 3 s is made to.
        within 3 not kill -0 "${pids[$name]}" || kill -KILL "${pids[$name]}" 2>/dev/null
    done
    "$here/network.sh" down 2>/dev/null
    rm -rf "$work"
}
not() { ! "$@"; }

summary() {
    local i good=0 all=0 mark
    end_step
    printf '\n%s    %-62s %7s %8s%s\n' "$bold" "summary" "checks" "seconds" "$plain"
    for i in "${!titles[@]}"; do
        mark="$green✓$plain"
        [[ ${good_checks[i]} -eq ${done_checks[i]} ]] || mark="$red✗$plain"
        printf ' %s %2d %-61s %7s %8s\n' "$mark" $((i + 1)) "${titles[i]}" "${good_checks[i]}/${done_checks[i]}" "${seconds[i]}"
        good=$((good + good_checks[i])) all=$((all + done_checks[i]))
    done
    echo
    if [[ ${#failures[@]} -eq 0 ]]; then
        printf '%sAll %d checks passed, in %s s.%s\n' "$green$bold" "$all" "$(elapsed "$demo_began")" "$plain"
        return 0
    fi
    printf '%s%d of %d checks failed:%s\n' "$red$bold" $((all - good)) "$all" "$plain"
    printf '  %s\n' "${failures[@]}"
    [[ ! -s $work/gateway.log ]] || {
        echo "the gateway's last words:"
        tail -n 40 "$work/gateway.log" | sed 's/^/  /'
    }
    return 1
}
