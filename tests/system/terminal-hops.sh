# A line that is being typed moves along, in the middle of the line, to a second and a third
# host and back to the terminal's own; it is echoed once, can still be edited, and ends up
# whole. Control-D at last is an end of file.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../tmux.sh"
lab_up A B C
terminal A 'bash --norc --noprofile'
keys 'PS1="shell% "; cat' Enter
wait_for 10 on A pgrep -x cat >"$LAB_DIR/pid" || fail "cat does not begin"
TASK_HOST=A
TASK_PID=$(<"$LAB_DIR/pid")
keys 'one, '
shows 'one,'
hop B
keys 'twx'
shows 'one, twx'
hop C
keys BSpace 'o, '
shows 'one, two,'
hop A
keys 'three' Enter
wait_for 10 eval '[ "$(screen | grep -cx "one, two, three")" = 2 ]' || {
	screen >&2
	fail "the line does not come back"
}
keys C-d
prompt 'shell%'
terminal_end
