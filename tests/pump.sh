# Pipelines whose middle is moved, for system tests. Sourced after tasks.sh.

# pipeline HOST: give | pass | take there (tests/programs/stream.c); the task is pass.
# shellcheck disable=SC2016
pipeline()
{
	local host=$1 dir=$LAB_DIR/$1

	PIPE_HOST=$host
	spawn "$host" pipeline bash -c '
		stream give 2>"$1/give.says" |
		stream -p "$1/pass.beat" pass 2>"$1/pass.says" |
		stream take 2>"$1/take.says"' pipeline "$dir"
	TASK=pass
	TASK_HOST=$host
	TASK_OUT=$dir/pass
	wait_for 30 test -s "$TASK_OUT.beat" || fail "the pipeline does not begin"
	TASK_PID=$(on "$host" pgrep -f '^stream -p .* pass$')
	PIPE_GIVE=$(on "$host" pgrep -xf 'stream give')
	touch "$TASK_OUT.out" "$TASK_OUT.err"
}

# flow TO: as go, but the shell that waits for the pipeline has a stand-in where it began.
flow()
{
	move "$TASK_HOST" "$TASK_PID" "$1"
	TASK_HOST=$1
	TASK_PID=$MOVED
	alive "$1" "$TASK_PID" || fail "pass is not on host $1 as PID $TASK_PID"
}

# pipeline_end: what was given has been taken, byte by byte, wherever pass is now.
pipeline_end()
{
	local dir=$LAB_DIR/$PIPE_HOST role

	on "$PIPE_HOST" kill -TERM "$PIPE_GIVE"
	wait_for 30 grep -q . "$dir/take.says" || {
		on "$PIPE_HOST" ps -eo pid,ppid,stat,wchan,args >&2
		fail "take does not see the end"
	}
	wait_for 10 gone "$TASK_HOST" "$TASK_PID" || fail "pass does not end"
	cat "$dir"/*.says
	for role in give pass take; do
		grep -q "^ok stream: $role " "$dir/$role.says" || fail "$(cat "$dir/$role.says")"
	done
	[ "$(grep -ho '[0-9]* bytes' "$dir"/*.says | sort -u | wc -l)" -eq 1 ] ||
		fail "not all bytes have come through"
}
