# Credentials: another user, groups, capabilities, no_new_privs.
. "$(dirname "$0")/../tasks.sh"
there_and_back identity drop
