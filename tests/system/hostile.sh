# cases
# A peer, or somebody between two, who breaks the protocol once, in each state and in every
# way: the task runs on exactly one host in the end, the one that cor migrate says, with
# all of its bytes, and nothing is left of the attempt.
# timeout: 300
if [ "${1:-}" = --cases ]; then
	printf '%s\n' silence hello prepare image commit paging end
	exit 0
fi
. "$(dirname "$0")/../tasks.sh"

every='garbage empty unknown wrong version huge spoilt twice half'
case $1 in
silence) rules='>hello:never >prepare:never <prepared:never >image:never <ready:never <resumed:never <drained:never >released:never' ;;
hello)   rules=$(printf '>hello:%s\n<hello-reply:%s\n' $(for h in $every; do echo "$h" "$h"; done)) ;;
prepare) rules=$(printf '>prepare:%s\n<prepared:%s\n' $(for h in $every; do echo "$h" "$h"; done)) ;;
image)   rules=$(printf '>image:%s\n<ready:%s\n' $(for h in $every; do echo "$h" "$h"; done)) ;;
commit)  rules=$(printf '>commit:%s\n<resumed:%s\n' $(for h in $every; do echo "$h" "$h"; done)) ;;
paging)  rules=$(printf '<progress:%s\n' garbage unknown huge spoilt twice half) ;;
end)     rules=$(printf '<drained:%s\n>released:%s\n' $(for h in garbage unknown spoilt twice half; do echo "$h" "$h"; done)) ;;
esac

patience=5
[ "$1" != silence ] || patience=3
# a slow machine takes its time with those who do answer
LAB_CONFIG="[timeouts]
prepare-s = $((patience + ${COR_TIME_SCALE:-1} - 1))
freeze-ms = $((patience * 1000 + (${COR_TIME_SCALE:-1} - 1) * 1000))"
lab_up
start A pattern 2
port=7500
# pages that come only when they are touched, so that there is a progress to tell of
how=
[ "$1" != paging ] || how='--no-prefetch --wait resumed'

quiet()
{
	! on "$1" ps -eo comm= | grep -qE '^(cor-stub|cord-dest|cord-pager|cord-source|cord-server)'
}

not_there()
{
	! on B pgrep -x pattern >/dev/null
}

# one RULE
one()
{
	local rule=$1 status=0 name=meddler-$port pid=$TASK_PID

	spawn A "$name" meddler $port "${LAB_ADDR[B]}:$LAB_PORT" "$rule"
	wait_for 30 grep -q ready "$LAB_DIR/A/$name.out" || fail "the meddler did not begin"
	# shellcheck disable=SC2086
	on A timeout 120 cor migrate "$TASK_PID" "${LAB_ADDR[A]}:$port" --json $how </dev/null \
		>"$LAB_DIR/migrate.json" 2>"$LAB_DIR/migrate.err" || status=$?
	wait_for 30 grep -q 'did it' "$LAB_DIR/A/$name.out" || {
		cat "$LAB_DIR/migrate.json" >&2
		fail "$rule: there was no such message"
	}
	if [ $status -eq 0 ]; then
		TASK_HOST=B
		# who was told that it had arrived by the time he asked knows no PID
		TASK_PID=$(on B pgrep -x pattern) || fail "$rule: the task is not on host B"
		# while there are pages to come the ghost is there, and stands still
		[ -n "$how" ] || ! alive A "$pid" || fail "$rule: the task is on both hosts"
	else
		[ $status -eq 1 ] || fail "$rule: exit status $status: $(result .error)"
		# what was built there has its name, has never run, and goes
		wait_for 10 not_there || fail "$rule: the task is on host B as well"
	fi
	rounds 1
	[ "$TASK_HOST" = A ] || go A
	wait_for 20 quiet B || fail "$rule: something is left on host B"
	wait_for 20 quiet A || fail "$rule: something is left on host A"
	on A kill "$SPAWNED" 2>/dev/null || fail "$rule: the meddler has died"
	port=$((port + 1))
}

for rule in $rules; do
	one "$rule"
done
finish
lab_end
