# short
# An interactive python3 under tmux, in a shell, moves and does not notice: what is typed
# before and after, ^Z and fg, ^C, the window's size, the exit status, and the terminal's
# modes for the shell behind it.
. "$(dirname "$0")/../tasks.sh"
. "$(dirname "$0")/../tmux.sh"
lab_up
terminal A 'bash --norc --noprofile'
keys 'PS1="shell% "' Enter
prompt 'shell%'
keys 'python3 -q' Enter
prompt '>>>'
TASK_HOST=A
TASK_PID=$(on A pgrep -x python3)
keys 'x = 41; import os, time' Enter
hop B
keys 'x + 1' Enter
shows 42
keys 'print("same", os.getpid() == os.tcgetpgrp(0), os.get_terminal_size().columns)' Enter
shows 'same True 80'
keys C-z
shows '[1]+  Stopped                 python3 -q'
prompt 'shell%'
keys 'echo $((40 + 3))' Enter
shows 43
keys fg Enter
shows 'python3 -q'
keys 'x + 3' Enter
shows 44
keys 'time.sleep(100)' Enter
sleep 0.3       # it is to be in the middle of that
keys C-c
shows KeyboardInterrupt
on A tmux -S "$LAB_DIR/tmux" resize-window -x 100 -y 30
keys Enter
wait_for 5 eval 'keys "os.get_terminal_size().columns" Enter; sleep 0.3; has_line 100' ||
	fail "the new size does not arrive"
keys 'exit(3)' Enter
prompt 'shell%'
keys 'echo "status $?"' Enter
shows 'status 3'
keys 'stty -a | grep -ow -e "-*icanon" -e "-*echo" -e "-*opost" | paste -s' Enter
shows "opost   icanon  echo"
terminal_end
