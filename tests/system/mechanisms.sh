# cases
# Each mechanism switched off, for one migration and by the destination's
# configuration: what needs it is refused by its name before the freeze and runs on;
# what does not need it moves as ever.
. "$(dirname "$0")/../tasks.sh"
if [ "${1:-}" = --cases ]; then
	printf '%s\n' files events pipes sockets tcp udp
	exit 0
fi
mechanism=$1
other=regular
case $mechanism in
files)   needs=regular ;;
events)  needs=epoll ;;
pipes)   needs=pipe ;;
sockets) needs=unix-listen ;;
tcp)     needs=tcp-listen other=udp ;;
udp)     needs=udp other=tcp-listen ;;
esac

# refused WHY [OPT...]: nothing was frozen, and the task goes on.
refused()
{
	local why=$1 status=0

	shift
	migrate A "$TASK_PID" B "$@" || status=$?
	[ $status -eq 1 ] || fail "exit status $status instead of 1"
	result .error | grep -q "^descriptor .* needs the mechanism $mechanism, which $why" ||
		fail "the error is: $(result .error)"
	[ "$(result .freeze_us)" = null ] || fail "it was frozen before it was refused"
	rounds 3
}

# The processor time that the task has had, in clock ticks.
ticks()
{
	on "$TASK_HOST" awk '{ sub(/.*\) /, ""); print $12 }' "/proc/$TASK_PID/stat"
}

ticked_past()
{
	[ "$(ticks)" -gt "$1" ]
}

# goes_on: it computes where it is now. plain has no file that it could write to.
goes_on()
{
	if [ "$mechanism" = files ]; then
		wait_for 10 ticked_past "$(ticks)" || fail "plain does not go on"
	else
		rounds 3
	fi
}

lab_up
start A files "$needs"
refused "this migration goes without" --without "$mechanism"
on B kill -TERM "${LAB_CORD[B]}"
wait_for 10 gone B "${LAB_CORD[B]}" || fail "cord does not end"
LAB_CONFIG="[mechanisms]
$mechanism = no" lab_cord B
lab_mark
refused "B does not have or has switched off"
on B cor status --json | jq -e ".mechanisms[\"$mechanism\"].on == false" >/dev/null ||
	fail "cor status does not show that $mechanism is off"
finish
if [ "$mechanism" = files ]; then
	# the others write their progress and their verdict to files
	TASK=plain TASK_HOST=A
	spawn A plain sh -c 'exec plain >/dev/null 2>&1'
	TASK_PID=$SPAWNED
else
	start A files "$other"
fi
go B --without "$mechanism"
result ".mechanisms[\"$mechanism\"]" | grep -q 'off for this migration' ||
	fail "the result does not show that $mechanism was off"
goes_on
go A
goes_on
if [ "$mechanism" = files ]; then
	on A kill -TERM "$TASK_PID"
	wait_for 10 gone A "$TASK_PID" || fail "plain does not end"
	wait_for 5 grep -q "task $TASK_PID exited with status 0" "$LAB_DIR/A/cord.err" ||
		fail "plain has found an error"
else
	finish
fi
lab_end
