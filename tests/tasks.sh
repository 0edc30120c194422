# Tasks in a lab: the self-checking programs of tests/programs, and real ones.
# Sourced by system tests; sources lab.sh.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
set -eu

TASK=           # name of its files in the host's directory
TASK_HOST=      # where it is now
TASK_PID=       # its PID there
TASK_OUT=

# start HOST PROGRAM [ARG...]: and waits for its first round.
start()
{
	local host=$1 program=$2

	shift 2
	TASK=$program
	TASK_HOST=$host
	TASK_OUT=$LAB_DIR/$host/$program
	spawn "$host" "$program" "$program" -p "$TASK_OUT.beat" "$@"
	TASK_PID=$SPAWNED
	if ! wait_for 30 test -s "$TASK_OUT.beat"; then
		cat "$TASK_OUT.out" "$TASK_OUT.err" >&2
		[ -s "$TASK_OUT.out" ] && grep -q '^skip: ' "$TASK_OUT.out" &&
			skip "$(sed -n 's/^skip: //p' "$TASK_OUT.out")"
		fail "$program did not begin"
	fi
}

# start_foreign HOST NAME COMMAND...: the same for a program that is none of ours. It is given the
# file for its beat as its last argument.
start_foreign()
{
	local host=$1

	TASK=$2
	TASK_HOST=$host
	TASK_OUT=$LAB_DIR/$host/$TASK
	shift 2
	spawn "$host" "$TASK" "$@" "$TASK_OUT.beat"
	TASK_PID=$SPAWNED
	wait_for 30 test -s "$TASK_OUT.beat" || { cat "$TASK_OUT.err" >&2; fail "$TASK did not begin"; }
}

# start_in HOST DIR PROGRAM [ARG...]: the same in a directory of the host's, where its
# output goes too; only its beat is common to the hosts. TASK_USER: as that user.
# shellcheck disable=SC2016
start_in_main='
	cd "$1" || exit 1
	out=$1/$2 program=$2 beat=$3
	user=$4
	shift 4
	[ -z "$user" ] || set -- --reuid "$user" --regid "$user" --clear-groups "$program" -p "$beat" "$@"
	[ -z "$user" ] || { setsid setpriv "$@" </dev/null >"$out.out" 2>"$out.err" & echo $!; exit; }
	setsid "$program" -p "$beat" "$@" </dev/null >"$out.out" 2>"$out.err" &
	echo $!'
start_in()
{
	local host=$1 dir=$2 program=$3

	shift 3
	TASK=$program
	TASK_HOST=$host
	TASK_DIR=$dir
	TASK_OUT=$LAB_DIR/$host/$program
	TASK_PID=$(on "$host" bash -c "$start_in_main" start "$dir" "$program" "$TASK_OUT.beat" "${TASK_USER:-}" "$@")
	if ! wait_for 30 test -s "$TASK_OUT.beat"; then
		on "$host" cat "$dir/$program.out" "$dir/$program.err" >&2
		fail "$program did not begin"
	fi
}

# finish_in: ends the task of start_in, and reads its verdict on the host HOME.
finish_in()
{
	on "$TASK_HOST" kill -TERM "$TASK_PID"
	wait_for 30 gone "$TASK_HOST" "$TASK_PID" || fail "$TASK does not end"
	on "$1" cat "$TASK_DIR/$TASK.out" "$TASK_DIR/$TASK.err" >"$TASK_OUT.said"
	cat "$TASK_OUT.said"
	tail -n 1 "$TASK_OUT.said" | grep -q '^ok ' ||
		fail "$(tail -n 1 "$TASK_OUT.said" | sed 's/^FAIL //')"
}

beat()
{
	local n

	read -r n <"$TASK_OUT.beat" || n=0
	echo $((10#${n:-0}))
}

# It may be read while it is written.
beat_passed()
{
	[ "$(beat)" -ge "$1" ]
}

# rounds N: until the task has done N more rounds where it is now.
rounds()
{
	local want=$(($(beat) + $1)) host

	if ! wait_for 30 beat_passed "$want"; then
		cat "$TASK_OUT.out" "$TASK_OUT.err" >&2
		on "$TASK_HOST" ps -eLo pid,tid,stat,wchan,comm >&2 || :
		[ -z "${PEER:-}" ] || tail -n 3 "$LAB_DIR"/*/"$VISIT".err "$LAB_DIR"/*/"$VISIT".out >&2 || :
		[ -z "${PEER:-}" ] || for host in "${LAB_HOSTS[@]}"; do
			on "$host" sh -c "ip neigh; ss -tuanoi" >&2 || :
		done
		fail "$TASK on host $TASK_HOST does not go on"
	fi
}

# go TO [OPT...]: moves the task there, and it is no longer where it was.
go()
{
	local to=$1 from=$TASK_HOST pid=$TASK_PID

	shift
	move "$from" "$pid" "$to" "$@"
	TASK_HOST=$to
	TASK_PID=$MOVED
	wait_for 5 gone "$from" "$pid" || fail "PID $pid is still on host $from"
	alive "$to" "$TASK_PID" || {
		cat "$TASK_OUT.out" "$TASK_OUT.err" >&2
		fail "$TASK is not on host $to as PID $TASK_PID"
	}
}

# occupy HOST N: a process there has that PID from now on. Numbers are given in turn: the next one
# is made to be it.
occupy()
{
	local taken

	# shellcheck disable=SC2016 # there
	taken=$(on "$1" sh -c 'echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid
		sleep 1000 </dev/null >/dev/null 2>&1 & echo $!' sh "$2")
	[ "$taken" = "$2" ] || fail "PID $2 could not be taken on host $1, only $taken"
}

# Ends the task and reads its verdict.
finish()
{
	on "$TASK_HOST" kill -TERM "$TASK_PID"
	if ! wait_for 30 gone "$TASK_HOST" "$TASK_PID"; then
		cat "$TASK_OUT.out" "$TASK_OUT.err" >&2
		on "$TASK_HOST" ps -eLo pid,tid,stat,wchan,comm >&2 || :
		fail "$TASK does not end"
	fi
	cat "$TASK_OUT.err" >&2
	tail -n 1 "$TASK_OUT.out"
	tail -n 1 "$TASK_OUT.out" | grep -q '^ok ' ||
		fail "$(tail -n 1 "$TASK_OUT.out" | sed 's/^FAIL //')"
}

# there_and_back PROGRAM [ARG...]: the shape of most tests.
there_and_back()
{
	to_and_fro 1 "$@"
}

# to_and_fro TIMES PROGRAM [ARG...]: the same again and again, in the midst of what it does.
to_and_fro()
{
	local times=$1 i

	shift
	lab_up
	start A "$@"
	for ((i = 0; i < times; i++)); do
		go B
		rounds 3
		go A
		rounds 3
	done
	finish
	lab_end
}

# cases PROGRAM "$@": answers the runner's question for a program's kinds.
cases()
{
	if [ "${2:-}" = --cases ]; then
		"$COR_BUILD/tests/programs/$1" -l
		exit 0
	fi
}
