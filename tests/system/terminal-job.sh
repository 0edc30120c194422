# A background job that writes to its terminal moves away; fg brings it to the front, where
# it can be interrupted; and one that reads in the background stops, for its shell too.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../tmux.sh"
lab_up
cat >"$LAB_DIR/job.py" <<'END'
import time
for n in range(100000):
    if n % 10 == 0:
        print("line", n, flush=True)
    time.sleep(0.02)
END
terminal A 'bash --norc --noprofile'
keys 'PS1="shell% "' Enter
prompt 'shell%'
keys "python3 $LAB_DIR/job.py & PROMPT_COMMAND=" Enter
shows 'line 10'
TASK_HOST=A
TASK_PID=$(on A pgrep -x python3)
hop B
shows 'line 70'
keys 'clear; jobs' Enter
shows "[1]+  Running                 python3 $LAB_DIR/job.py &"
keys 'fg' Enter
shows "python3 $LAB_DIR/job.py"
keys C-c
shows KeyboardInterrupt
prompt 'shell%'
keys 'echo "status $?"' Enter
shows 'status 130'
# python3 may be a program that executes another: it has begun when it says so
keys "clear; python3 -c \"import time; print(); print('be' + 'gun', flush=True); time.sleep(3); print(input() * 2)\" &" Enter
shows begun
TASK_HOST=A
TASK_PID=$(on A pgrep -x python3)
hop B
wait_for 10 eval 'keys "" Enter; screen | grep -q "Stopped"' || {
	screen >&2
	fail "a reader in the background does not stop"
}
keys 'fg' Enter
sleep 0.5       # a shell takes what is typed while it gives the terminal away
keys 'word' Enter
shows wordword
terminal_end
